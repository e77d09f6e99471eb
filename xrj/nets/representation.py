"""The representation r: a text embedding joined to a noise vector (section 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

NoiseKind = Literal["normal", "uniform"]


@dataclass(frozen=True)
class Representation:
    """How codes and noise become r and come back.

    A unit-norm code of width v has a standard deviation of 1 / sqrt(v) per dimension, the noise 1;
    without `scale` the noise would carry v times the code's variance into the generator.

    Args:
        embedding: Width v of the code.
        noise: Width of the noise.
        noise_kind: "normal" for N(0, 1), "uniform" for U(-1, 1).
        scale: Factor on the code: sqrt(v) by default, 1 for the letter of the paper.
    """

    embedding: int
    noise: int
    noise_kind: NoiseKind
    scale: float

    @classmethod
    def of(cls, dims: Mapping[str, Any]) -> "Representation":
        """Return that of the sizes that stages share, the configuration's node `dims`."""
        embedding = int(dims["embedding"])
        scale = embedding**0.5 if dims["code_scale"] == "sqrt_dim" else 1.0
        return cls(embedding, int(dims["noise"]), dims["noise_kind"], scale)

    @property
    def size(self) -> int:
        """Width of r."""
        return self.embedding + self.noise

    def sample_noise(
        self, count: int, device: torch.device, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw noise (count, n); `generator` must live on the CPU."""
        if self.noise_kind == "normal":
            return torch.randn(count, self.noise, generator=generator).to(device)
        return torch.rand(count, self.noise, generator=generator).mul(2).sub(1).to(device)

    def join(self, code: Tensor, noise: Tensor) -> Tensor:
        """Return r (B, v + n) from codes (B, v) and noise (B, n)."""
        return torch.cat([code * self.scale, noise], dim=1)

    def code(self, r: Tensor) -> Tensor:
        """Return the code part of r, on the decoder's scale, (B, v)."""
        return r[:, : self.embedding] / self.scale

    def noise_part(self, r: Tensor) -> Tensor:
        """Return the noise part of r, (B, n)."""
        return r[:, self.embedding :]
