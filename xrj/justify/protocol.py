"""What can be justified: the protocol through which everything else here knows a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xrj.datamodules.images import Frame, UInt8

PART = 8
"""Images of the larger size that nets work on at once; of the smaller size, whole batches."""


@dataclass(frozen=True)
class SaliencyMap:
    """Where a classifier looks.

    Attributes:
        method: One of `saliency.METHODS`.
        title: For people.
        target: The label that it explains; None: it explains none in particular.
        values: (H, W) in [0, 1], the size of the image.
    """

    method: str
    title: str
    target: str | None
    values: NDArray[np.float32]


class Justifiable(Protocol):
    """An encoder, a generator, a decoder and perhaps a classifier that share a representation r.

    All that `xrj.justify` asks of a model. Images are (B, C, h, w) in [-1, 1] on the model's
    device, pictures are (H, W) with 0 to 255. r is (B, v + n): first what decides diagnosis and
    caption, the embedding, then what they do not depend on, the noise. Nets are frozen and in
    evaluation mode; a result must not depend on the other rows of its batch.
    """

    @property
    def identity(self) -> Mapping[str, Any]:
        """What tells this model from others, for the JSON; at least {"name": str}."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the diagnoses, in the order of all certainties; at least two."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Pixels a side of the image that is encoded and of the one that is shown."""

    def view(self, picture: UInt8, size: int) -> UInt8:
        """Return a picture of any shape as the model sees it, (size, size)."""

    def frame(self, shape: tuple[int, int]) -> Frame:
        """Return the part of a picture of this shape, (H, W), that `view` shows."""

    def encode(self, images: Tensor) -> Tensor:
        """Return r of images of the smaller size."""

    def split(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedding (B, v), in the units that distances are given in, and the noise."""

    def label_logits(self, r: Tensor) -> Tensor:
        """Return the logits of the labels, (B, L); differentiable."""

    def unlike(self, images: Tensor) -> Sequence[str | None]:
        """Say of images of the smaller size how they are unlike those that the model learned from.

        Such as "a negative", or "unlike" in another way; None where they are not, or nobody knows.
        """

    def captions(self, r: Tensor) -> list[tuple[str, list[str]]]:
        """Return label and words for each r."""

    def generate(self, r: Tensor) -> Tensor:
        """Return images of the smaller size; differentiable."""

    def draw(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Return images of both sizes; called with at most `PART` rows."""

    def to_images(self, pictures: UInt8) -> Tensor:
        """Return pictures (B, H, W) as images on the model's device."""

    def classify(self, images: Tensor) -> Tensor | None:
        """Return an independent classifier's probabilities (B, L) for images of the larger size.

        None where there is no classifier; called with at most `PART` images, as the next.
        """

    def saliency(self, images: Tensor, targets: Sequence[str]) -> list[tuple[SaliencyMap, ...]]:
        """Return the classifier's saliency maps of images of the larger size.

        Each explains the image's target, a label, or none in particular; without a classifier
        there are none.
        """
