"""The refinement between I and M: the noise part of r fitted to its X-ray.

The embedding is held, so that diagnosis and caption stay what they are; the noise, which says who
the patient is, is moved until G(r) is nearer to this patient.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xrj import losses
from xrj.justify.lbfgs import LbfgsSettings, minimise

HISTORY, FIRST = 10, 1.0
"""Of the optimiser; see `LbfgsSettings`."""


@dataclass(frozen=True)
class RefinementSettings:
    """How the noise part is fitted.

    Attributes:
        steps: Iterations of the optimiser; with 0 there is nothing to do and `refine` is not to be
            called.
        noise_weight: Weight of the mean square of the noise beside the mean square error: N(0, 1)
            as a prior, with a residual of variance `noise_weight` pixels / dimensions of noise.
    """

    steps: int = 15
    noise_weight: float = 3e-3


@dataclass(frozen=True)
class Refinement:
    """A representation whose noise part was refined.

    Attributes:
        error_before: Mean square error of G(r) in [-1, 1] at the size of stage I, before.
        error_after: The same, after.
        evaluations: Evaluations of the loss and its gradient.
        seconds: Wall-clock time; of a batch, this image's share by its evaluations.
        r: The refined representation, (1, v + n).
    """

    error_before: float
    error_after: float
    evaluations: int
    seconds: float
    r: Tensor


def refine(
    generate: Callable[[Tensor], Tensor],
    r: Tensor,
    image: Tensor,
    embedding: int,
    settings: RefinementSettings,
) -> list[Refinement]:
    """Fit the noise part of each r to its X-ray.

    Args:
        generate: r (B, v + n) to images like `image`.
        r: Representations of the X-rays, (B, v + n).
        image: The X-rays, (B, C, h, w) in [-1, 1].
        embedding: Width v of the part of r that is held.
        settings: How.

    Returns:
        One for each row.
    """
    began = time.perf_counter()
    code, noise = r.detach().split([embedding, r.shape[1] - embedding], dim=1)

    def error(noise: Tensor, rows: Tensor) -> Tensor:
        return losses.similarity(generate(torch.cat([code[rows], noise], dim=1)), image[rows])

    found = minimise(
        lambda noise, rows: error(noise, rows) + settings.noise_weight * noise.square().mean(dim=1),
        noise,
        LbfgsSettings(settings.steps, HISTORY, tolerance=0, window=1, gradient=0, first=FIRST),
    )
    every = torch.arange(len(r), device=r.device)
    with torch.no_grad():
        before, after = error(noise, every).tolist(), error(found.x, every).tolist()
    refined = torch.cat([code, found.x], dim=1)
    seconds = (time.perf_counter() - began) * found.evaluations / found.evaluations.sum()
    return [
        Refinement(
            error_before=before[row],
            error_after=after[row],
            evaluations=int(found.evaluations[row]),
            seconds=seconds[row].item(),
            r=refined[row : row + 1],
        )
        for row in range(len(r))
    ]
