"""How much an X-ray is like those that a chain learned from, and what is wrong where it is not."""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LAYOUT, GRID, BANDS = 16, 8, 16
"""Pixels a side at which what lies where is compared; places a side whose fine detail is; bands of
spatial frequency, from the whole picture to its finest detail."""
DIRECTIONS = 64
"""Principal directions in which kinds of pictures are told apart."""
SHRINK = 0.02
"""Share of a covariance that is replaced by its mean variance (Ledoit & Wolf 2004)."""
PASS = 0.99
"""Share of the validation X-rays that lie below each limit's quantile."""
SLACK = 0.1
"""How far a limit lies beyond it, of its distance from the median: validation may be small."""
CLOSE = 3.0
"""Mean square distance of a direction up to which a picture is said to be of a kind."""


def _half(start: int, axis: int) -> Callable[[Tensor], Tensor]:
    def cut(x: Tensor) -> Tensor:
        length = x.shape[axis] // 2
        part = x.narrow(axis, start * length, length)
        return F.interpolate(part, x.shape[2:], mode="bilinear", align_corners=False)

    return cut


def _blurred(x: Tensor) -> Tensor:
    places = torch.arange(-4.0, 5.0, device=x.device)
    kernel = (-(places**2) / 4.5).exp()
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    padded = F.pad(x.mean(dim=1, keepdim=True), (4, 4, 4, 4), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel), kernel.transpose(2, 3))


KINDS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "a negative": lambda x: -x,
    "upside down": lambda x: x.flip(2),
    "on its side": lambda x: x.rot90(1, (2, 3)),
    "on its other side": lambda x: x.rot90(3, (2, 3)),
    "a left half": _half(0, 3),
    "a right half": _half(1, 3),
    "an upper half": _half(0, 2),
    "a lower half": _half(1, 2),
    "blurred": _blurred,
}
"""What is done to X-rays, by what they then look like."""


class _Normal(nn.Module):
    """A normal distribution that is fitted to rows of values (N, d)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("root", torch.eye(width))
        self.mean: Tensor
        self.root: Tensor

    def fit(self, values: Tensor) -> None:
        covariance = torch.cov(values.T)
        even = covariance.diagonal().mean() * torch.eye(len(covariance), device=values.device)
        mixed = (1 - SHRINK) * covariance + SHRINK * even + 1e-6 * torch.eye(len(covariance))
        self.mean.copy_(values.mean(dim=0))
        self.root.copy_(torch.linalg.cholesky(mixed.inverse()))

    def distance(self, values: Tensor) -> Tensor:
        """Return squared Mahalanobis distances, (N,)."""
        return ((values - self.mean) @ self.root).square().sum(dim=1)

    def surprise(self, values: Tensor) -> Tensor:
        """Return twice the negative log density up to a constant, (N,)."""
        return self.distance(values) - 2 * self.root.diagonal().log().sum()


def _normals(width: int) -> nn.ModuleList:
    return nn.ModuleList(_Normal(width) for _ in KINDS)


def _each(normals: nn.ModuleList) -> list[_Normal]:
    return [cast(_Normal, one) for one in normals]


class Familiarity(nn.Module):
    """How far pictures lie from the X-rays of the training split.

    By the Mahalanobis distance of simple features (what lies where, how much detail is where, the
    power in bands of spatial frequency), and by how much better a picture goes with X-rays to which
    one of `KINDS` was done than with X-rays as they are (quadratic discriminants). No net that was
    trained to diagnose takes part: in a strange picture such a net sees what it knows.

    Args:
        size: Pixels a side of the pictures.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        width = LAYOUT * LAYOUT + GRID * GRID + BANDS
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("directions", torch.zeros(width, DIRECTIONS))
        self.register_buffer("limit", torch.ones(4))
        self.whole, self.power = _Normal(width), _Normal(BANDS)
        self.own, self.own_power = _Normal(DIRECTIONS), _Normal(BANDS)
        self.others, self.others_power = _normals(DIRECTIONS), _normals(BANDS)
        frequency = torch.fft.fftfreq(size).abs()
        radius = torch.hypot(frequency[:, None], frequency[None, : size // 2 + 1])
        band = (radius / 0.5 * BANDS).floor().clamp(max=BANDS - 1).long().flatten()
        self.register_buffer("band", band, persistent=False)
        self.centre: Tensor
        self.scale: Tensor
        self.directions: Tensor
        self.limit: Tensor
        self.band: Tensor

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[str | None]:
        """Say of images (B, C, size, size) in [-1, 1] what they look like; None of familiar ones.

        One of `KINDS`, or "unlike" those that the chain learned from.
        """
        parts, gain, near = self._parts(images)
        kinds = gain.argmax(dim=1, keepdim=True)
        beyond = (parts > self.limit).any(dim=1)
        alike = (gain.gather(1, kinds) > 0) & (near.gather(1, kinds) < CLOSE * DIRECTIONS)
        names = list(KINDS)
        return [
            None if not strange else names[kind] if known else "unlike"
            for strange, kind, known in zip(
                beyond.tolist(), kinds[:, 0].tolist(), alike[:, 0].tolist(), strict=True
            )
        ]

    @torch.no_grad()
    def fit(self, train: Tensor, validation: Tensor) -> None:
        """Learn what is familiar, and the limits from X-rays that were not learnt from.

        Args:
            train: X-rays (N, C, size, size) in [-1, 1].
            validation: The same, (M, C, size, size).
        """
        features = self._features(train)
        self.centre.copy_(features.mean(dim=0))
        self.scale.copy_(features.std(dim=0) + 1e-3)
        changed = [self._features(change(train)) for change in KINDS.values()]
        together = torch.cat([*changed, *[features] * 3])
        scatter = torch.cov(((together - self.centre) / self.scale).T)
        self.directions.copy_(torch.linalg.eigh(scatter).eigenvectors[:, -DIRECTIONS:])
        self.whole.fit((features - self.centre) / self.scale)
        self.power.fit(features[:, -BANDS:])
        for values, in_all, in_power in (
            (features, self.own, self.own_power),
            *zip(changed, _each(self.others), _each(self.others_power), strict=True),
        ):
            in_all.fit(self._reduced(values))
            in_power.fit(values[:, -BANDS:])
        parts = self._parts(validation)[0]
        most, middle = parts.quantile(PASS, dim=0), parts.median(dim=0).values
        self.limit.copy_(most + SLACK * (most - middle))

    def _reduced(self, features: Tensor) -> Tensor:
        return (features - self.centre) / self.scale @ self.directions

    def _parts(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the limits are for, (B, 4), and each kind's gain and distance, (B, K)."""
        features = self._features(images)
        reduced, power = self._reduced(features), features[:, -BANDS:]
        gain, gain_power = (
            torch.stack(
                [own.surprise(values) - one.surprise(values) for one in _each(others)], dim=1
            )
            for own, others, values in (
                (self.own, self.others, reduced),
                (self.own_power, self.others_power, power),
            )
        )
        whole = self.whole.distance((features - self.centre) / self.scale)
        parts = [whole, self.power.distance(power), gain.amax(dim=1), gain_power.amax(dim=1)]
        near = torch.stack([one.distance(reduced) for one in _each(self.others)], dim=1)
        return torch.stack(parts, dim=1), gain, near

    def _features(self, images: Tensor) -> Tensor:
        grey = images.float().mean(dim=1, keepdim=True)
        spread = grey.std(dim=(1, 2, 3), keepdim=True)
        grey = (grey - grey.mean(dim=(1, 2, 3), keepdim=True)) / (spread + 0.06)
        layout = F.adaptive_avg_pool2d(grey, LAYOUT).flatten(1)
        fine = grey - F.avg_pool2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), 3, 1)
        detail = (F.adaptive_avg_pool2d(fine.square(), GRID) + 1e-4).log().flatten(1)
        side = grey.shape[-1]
        window = torch.hann_window(side, device=grey.device)
        power = torch.fft.rfft2(grey[:, 0] * window[:, None] * window).abs().square().flatten(1)
        bands = power.new_zeros(len(power), BANDS).index_add(1, self.band, power)
        return torch.cat([layout, detail, (bands + 1e-3).log()], dim=1)
