"""Augmentation with albumentations, each image from its own seed."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import albumentations
import cv2
import numpy as np
from albumentations.augmentations.crops.transforms import CropSizeError

from xrj.datamodules.images import UInt8
from xrj.errors import ConfigError

# The heart lies left: a mirrored X-ray is another diagnosis.
MIRRORING = frozenset({"HorizontalFlip", "Transpose", "D4", "SquareSymmetry", "VerticalFlip"})
PREFIX = "albumentations."


class Augmentation:
    """A list of albumentations transforms, and after it a random crop to a fixed size.

    albumentations draws from generators of its own, which give every worker and every epoch the
    same numbers; here they are seeded anew for each image.

    Args:
        transforms: Mappings with `_target_: albumentations.<Transform>` and its arguments; what
            they yield must be at least as large as the crop.
        size: Pixels a side that go in.
        resolution: Pixels a side that come out.

    Raises:
        ConfigError: A target is not an albumentations transform, refuses its arguments or mirrors
            the image, or leaves less than the crop.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]], size: int, resolution: int) -> None:
        crop = albumentations.RandomCrop(resolution, resolution)
        self.compose = albumentations.Compose(
            [*map(_build, transforms), crop], mask_interpolation=cv2.INTER_LINEAR
        )
        try:
            self(np.zeros((size, size), np.uint8), seed=0)
        except (ValueError, CropSizeError) as error:
            raise ConfigError(f"data.augmentations: {_one_line(error)}") from error

    def __call__(self, image: UInt8, seed: int) -> UInt8:
        """Return the augmented image.

        Args:
            image: (size, size), 0 to 255.
            seed: The image's own; equal seeds give equal results.

        Returns:
            (resolution, resolution), 0 to 255.
        """
        return self._drawn(seed, image=image)["image"]

    def with_masks(self, image: UInt8, masks: UInt8, seed: int) -> tuple[UInt8, UInt8]:
        """Return an augmented image and its masks, moved alike.

        Args:
            image: (size, size), 0 to 255.
            masks: (size, size, P), 0 to 255.
            seed: As for an image alone.

        Returns:
            (resolution, resolution) and (resolution, resolution, P).
        """
        drawn = self._drawn(seed, image=image, mask=masks)
        return drawn["image"], drawn["mask"]

    def _drawn(self, seed: int, **pictures: UInt8) -> dict[str, UInt8]:
        self.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        result: dict[str, UInt8] = self.compose(**pictures)
        return result


def _build(transform: Mapping[str, Any]) -> albumentations.BasicTransform:
    arguments = {str(key): value for key, value in transform.items()}
    target = str(arguments.pop("_target_", ""))
    name = target.removeprefix(PREFIX)
    if name in MIRRORING:
        raise ConfigError(f"data.augmentations: {target} would mirror the heart; leave it out")
    kind = getattr(albumentations, name, None) if target.startswith(PREFIX) else None
    if not (isinstance(kind, type) and issubclass(kind, albumentations.BasicTransform)):
        raise ConfigError(f"data.augmentations: {target!r} is no transform of albumentations")
    try:
        return kind(strict=True, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"data.augmentations: {target} refuses its arguments: {_one_line(error)}"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
