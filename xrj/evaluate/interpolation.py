"""Walks through the text embedding space from one caption to another."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xrj.datamodules.vocabulary import Vocabulary
from xrj.nets.text import TextDecoder, TextEncoder

Described = tuple[str | None, list[str]]


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Interpolate on the unit sphere along the shorter great circle.

    Args:
        a: Unit vector (v,).
        b: Unit vector (v,).
        t: Places from 0 at `a` to 1 at `b`, (S,).

    Returns:
        Unit vectors (S, v).
    """
    angle = torch.acos((a @ b).clamp(-1, 1))
    if angle < 1e-4:
        return torch.nn.functional.normalize(torch.lerp(a, b, t[:, None]), dim=1)
    weights = torch.stack([torch.sin((1 - t) * angle), torch.sin(t * angle)], dim=1)
    return weights / torch.sin(angle) @ torch.stack([a, b])


@torch.no_grad()
def interpolate(
    encoder: TextEncoder,
    decoder: TextDecoder,
    vocabulary: Vocabulary,
    ends: tuple[Described, Described],
    steps: int,
    length: int,
) -> list[Described]:
    """Decode evenly spaced codes from one description to another.

    Args:
        encoder: E.
        decoder: D.
        vocabulary: Of both.
        ends: Label and words of both descriptions.
        steps: Codes to decode, both ends included.
        length: Most tokens to decode.
    """
    device = next(encoder.parameters()).device
    start, end = (
        encoder(torch.tensor([vocabulary.encode(label, words)], device=device))[0]
        for label, words in ends
    )
    codes = slerp(start, end, torch.linspace(0, 1, steps, device=device))
    return [vocabulary.decode(row) for row in decoder.decode(codes, length).tolist()]


def as_text(number: int, ends: tuple[Described, Described], walk: Sequence[Described]) -> str:
    """Return a walk for a terminal, between the two true captions."""
    lines = [f"{number}. from  {_describe(ends[0])}"]
    lines += [
        f"   {index / (len(walk) - 1):.2f}  {_describe(step)}" for index, step in enumerate(walk)
    ]
    lines.append(f"   to    {_describe(ends[1])}")
    return "\n".join(lines)


def _describe(description: Described) -> str:
    label, words = description
    return f"{label or '(unlabelled)'}: {' '.join(words) or '(no words)'}"
