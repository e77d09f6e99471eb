"""What a model says and shows of representations, as plain labels, words and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xrj.datamodules.images import UInt8
from xrj.justify.protocol import PART, Justifiable


@dataclass(frozen=True)
class Diagnosis:
    """What one representation says.

    Attributes:
        diagnosis: The most certain label.
        certainty: Of each label; they sum to 1.
        caption: Words decoded after the label.
    """

    diagnosis: str
    certainty: dict[str, float]
    caption: str


@dataclass(frozen=True)
class Reading(Diagnosis):
    """What one representation says and shows.

    Attributes:
        small: X-ray of stage I, (h, w), 0 to 255.
        large: X-ray of stage II, (H, W), 0 to 255.
    """

    small: UInt8
    large: UInt8


@dataclass(frozen=True)
class Step:
    """A place on the walk from r to r'.

    Attributes:
        certainty: Of each label; they sum to 1.
        picture: X-ray of stage II, (H, W), 0 to 255.
    """

    certainty: dict[str, float]
    picture: UInt8


def as_images(model: Justifiable, pictures: Sequence[UInt8]) -> Tensor:
    """Return pictures of any shape as images of the smaller size."""
    return model.to_images(np.stack([model.view(one, model.sizes[0]) for one in pictures]))


def to_pictures(images: Tensor) -> UInt8:
    """Return images (B, C, H, W) in [-1, 1] as grey values (B, H, W), 0 to 255."""
    grey = images.mean(dim=1).clamp(-1, 1).add(1).mul(127.5).round()
    return grey.cpu().numpy().astype(np.uint8)


@torch.no_grad()
def say(model: Justifiable, r: Tensor) -> list[Diagnosis]:
    """Decode representations (B, v + n)."""
    certainties = model.label_logits(r).softmax(dim=1).tolist()
    return [
        Diagnosis(label, dict(zip(model.labels, certainty, strict=True)), " ".join(words))
        for certainty, (label, words) in zip(certainties, model.captions(r), strict=True)
    ]


@torch.no_grad()
def diagnose_all(model: Justifiable, images: Sequence[UInt8]) -> list[Diagnosis]:
    """Diagnose X-rays (H, W), 0 to 255, and describe them; nothing is justified, so it is quick."""
    return say(model, model.encode(as_images(model, images)))


@torch.no_grad()
def draw_pictures(model: Justifiable, r: Tensor) -> tuple[UInt8, UInt8]:
    """Draw representations (B, v + n): (B, h, w) and (B, H, W), 0 to 255."""
    drawn = [[to_pictures(images) for images in model.draw(part)] for part in r.split(PART)]
    small, large = (np.concatenate(pictures) for pictures in zip(*drawn, strict=True))
    return small, large


@torch.no_grad()
def read_representations(model: Justifiable, r: Tensor) -> list[Reading]:
    """Decode and draw representations (B, v + n)."""
    small, large = draw_pictures(model, r)
    return [
        Reading(said.diagnosis, said.certainty, said.caption, small[row], large[row])
        for row, said in enumerate(say(model, r))
    ]


@torch.no_grad()
def walk(model: Justifiable, start: Tensor, end: Tensor, steps: int) -> tuple[Step, ...]:
    """Draw evenly spaced places on the line between two representations (1, v + n)."""
    places = torch.linspace(0, 1, steps, device=start.device)
    r = torch.lerp(start, end, places[:, None])
    certainties = model.label_logits(r).softmax(dim=1).tolist()
    return tuple(
        Step(dict(zip(model.labels, certainty, strict=True)), picture)
        for certainty, picture in zip(certainties, draw_pictures(model, r)[1], strict=True)
    )
