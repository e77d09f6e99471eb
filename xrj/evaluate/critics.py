"""Wasserstein estimates by independent critics, fitted on validation and read on test (table 2).

Danihelka et al. 2017: a critic that the generator never met is fitted to tell validation X-rays
from generated ones and read on the test split, where it can no longer gain by heart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xrj.losses import critic_loss, gradient_penalty
from xrj.nets.critic import PairCritic
from xrj.seeding import derive, torch_generator

SPLITS = ("train", "val", "test")
READINGS = 10
"""How often the held out part of validation is read while the critic learns."""
HELD_OUT = 0.2
"""Share of validation that the critic is not fitted on, but chosen by."""
PART = 256


@dataclass(frozen=True)
class CriticSettings:
    """How critics are fitted.

    Attributes:
        steps: Of Adam, betas 0.5 and 0.9, with a rate that falls to zero.
        batch: Real and as many generated pairs a step.
        width: Channels of the critic's first layer.
        rate: Learning rate.
        penalty: Weight of the gradient penalty.
        draws: Generated pairs for each real one, each with noise of its own.
    """

    steps: int
    batch: int
    width: int
    rate: float
    penalty: float
    draws: int


@dataclass(frozen=True)
class Pairs:
    """A split: real X-rays with what stands for their captions, and their rivals.

    Attributes:
        real: Images, flat, each followed by its condition where there is one, (N, D).
        drawn: Rivals of each, several times, (K, N, D).
    """

    real: Tensor
    drawn: Tensor

    def pick(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return one of the rivals of each of these rows."""
        return self.drawn[torch.randint(len(self.drawn), (len(rows),), generator=generator), rows]


@dataclass(frozen=True)
class Estimate:
    """What one critic found.

    Attributes:
        gaps: By split, for each X-ray the critic's score less the mean score of what was drawn for
            it; their mean is the estimate, of either sign.
        steps: At which the held out X-rays were read.
        held_out: Estimate on them.
    """

    gaps: Mapping[str, NDArray[np.float64]]
    steps: tuple[int, ...]
    held_out: tuple[float, ...]

    @property
    def test(self) -> float:
        """The estimate on the test split."""
        return float(self.gaps["test"].mean())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        gaps = {split: values.tolist() for split, values in self.gaps.items()}
        return {"gaps": gaps, "steps": list(self.steps), "held_out": list(self.held_out)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Estimate":
        """Read the JSON form."""
        gaps = {split: np.array(values, np.float64) for split, values in value["gaps"].items()}
        return cls(gaps, tuple(value["steps"]), tuple(value["held_out"]))


def estimate(
    splits: Mapping[str, Pairs],
    condition: int,
    shape: tuple[int, int],
    settings: CriticSettings,
    seed: int,
) -> tuple[Estimate, Callable[[Tensor], Tensor]]:
    """Estimate the Wasserstein-1 distance between real and drawn pairs: sup E f(real) - E f(drawn).

    f is fitted on most of validation, kept at the step where the rest of it finds the largest
    estimate, and read as it is on every split. Under a penalty its slope only comes near 1, and the
    more it can gain the further beyond; so the estimate is divided by the root mean square slope
    between real and drawn pairs of the fit.

    Args:
        splits: "train", "val" and "test".
        condition: Width of the condition behind the pixels.
        shape: Channels and side of the images.
        settings: Of the critic.
        seed: Of its start and of all draws.

    Returns:
        What the critic found, and its score of pairs (B, D), divided by its slope.
    """
    generator = torch_generator(seed, "critic", "draws")
    val, device = splits["val"], splits["val"].real.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "critic", "start"))
        critic = PairCritic(condition, settings.width, size=shape[1], channels=shape[0])
    critic = critic.to(device)
    order = torch.randperm(len(val.real), generator=generator)
    held = max(1, round(HELD_OUT * len(order))) if len(order) > 1 else 0
    fit, kept_out = order[held:], order[:held] if held else order
    optimizer = torch.optim.Adam(critic.parameters(), settings.rate, betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    every = max(1, settings.steps // READINGS)
    curve: list[tuple[int, float]] = []
    best: tuple[float, float, dict[str, Any]] | None = None
    for step in range(1, settings.steps + 1):
        rows = fit[torch.randint(len(fit), (settings.batch,), generator=generator)]
        real, drawn = val.real[rows], val.pick(rows, generator)
        mix = torch.rand(len(rows), generator=generator).to(device)
        loss = critic_loss(critic(real), critic(drawn))
        loss = loss + settings.penalty * gradient_penalty(critic, real, drawn, mix)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % every == 0 or step == settings.steps:
            slope = _slope(critic, val, fit, generator)
            value = float(_gaps(critic, val, kept_out).mean() / slope)
            curve.append((step, value))
            if best is None or value > best[0]:
                state = {key: item.clone() for key, item in critic.state_dict().items()}
                best = (value, slope, state)
    assert best is not None  # noqa: S101  # there is at least one step
    critic.load_state_dict(best[2])
    slope = best[1]
    critic.requires_grad_(False)
    gaps = {
        split: _gaps(critic, pairs, torch.arange(len(pairs.real))) / slope
        for split, pairs in splits.items()
    }
    steps, values = zip(*curve, strict=True)
    return Estimate(gaps, steps, values), lambda pairs: critic(pairs) / slope


def _slope(critic: PairCritic, pairs: Pairs, rows: Tensor, generator: torch.Generator) -> float:
    """Return the root mean square gradient norm between real and drawn pairs."""
    squares = []
    for part in rows.split(PART):
        mix = torch.rand(len(part), 1, generator=generator).to(pairs.real.device)
        between = mix * pairs.real[part] + (1 - mix) * pairs.pick(part, generator)
        between.requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between)
        squares.append(gradient.square().sum(dim=1))
    return max(float(torch.cat(squares).mean().sqrt()), 1e-6)


@torch.no_grad()
def _gaps(critic: PairCritic, pairs: Pairs, rows: Tensor) -> NDArray[np.float64]:
    found = []
    for part in rows.split(PART):
        drawn = torch.stack([critic(rivals[part]) for rivals in pairs.drawn])
        found.append((critic(pairs.real[part]) - drawn.mean(dim=0)).double().cpu())
    gaps: NDArray[np.float64] = torch.cat(found).numpy()
    return gaps
