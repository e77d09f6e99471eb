"""Augmentation with albumentations, each image from its own seed."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import albumentations
import cv2
import numpy as np

from xrj.datamodules.images import UInt8
from xrj.errors import ConfigError

PREFIX = "albumentations."
TRIES = 4
"""How often augmentations are tried on a picture of full size before they are used."""

DRAWS, SMALL = 32, 48
"""How often each is tried on test pictures, and their side in pixels."""


class Augmentation:
    """A list of albumentations transforms, and after it a random crop to a fixed size.

    albumentations draws from generators of its own, which give every worker and every epoch the
    same numbers; here they are seeded anew for each image.

    Args:
        transforms: Mappings with `_target_: albumentations.<Transform>` and its arguments, among
            them further transforms for `OneOf` and its like.
        size: Pixels a side that go in.
        resolution: Pixels a side that come out.
        settings: Name of the setting that each transform comes from.

    Raises:
        ConfigError: A target is not an albumentations transform or refuses its arguments. Or, on
            test pictures, it mirrors, yields other than grey uint8 pictures of `resolution` to
            `size` pixels a side, or leaves next to nothing of them.
    """

    def __init__(
        self,
        transforms: Sequence[Mapping[str, Any]],
        size: int,
        resolution: int,
        settings: Sequence[str] | None = None,
    ) -> None:
        built = []
        for place, transform in enumerate(transforms):
            setting = settings[place] if settings else "data.augmentations"
            for name, single in _singles(transform, setting):
                _check(single, f"{setting}: {name}", size, resolution)
            built.append(_build(transform, setting))
        crop = albumentations.RandomCrop(resolution, resolution)
        self.compose = albumentations.Compose([*built, crop], mask_interpolation=cv2.INTER_LINEAR)
        picture = np.zeros((size, size), np.uint8)
        for seed in range(TRIES if built else 0):
            try:
                self(picture, seed)
            except Exception as error:  # whatever a transform raises, it cannot be used
                which = " and ".join(sorted(set(settings or ["data.augmentations"])))
                raise ConfigError(f"{which}: cannot follow one another: {_line(error)}") from error

    def __call__(self, image: UInt8, seed: int) -> UInt8:
        """Return the augmented image.

        Args:
            image: (size, size), 0 to 255.
            seed: The image's own; equal seeds give equal results.

        Returns:
            (resolution, resolution), 0 to 255.
        """
        return _apply(self.compose, image, seed)

    def with_masks(self, image: UInt8, masks: UInt8, seed: int) -> tuple[UInt8, UInt8]:
        """Return an augmented image and its masks, moved alike.

        Args:
            image: (size, size), 0 to 255.
            masks: (size, size, P), 0 to 255.
            seed: As for an image alone.

        Returns:
            (resolution, resolution) and (resolution, resolution, P).
        """
        self.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        drawn = self.compose(image=image, mask=masks)
        return drawn["image"], drawn["mask"]


def _apply(compose: albumentations.Compose, image: UInt8, seed: int) -> Any:
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
    return compose(image=image)["image"]


def _is_transform(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _nested(transform: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the transforms among a transform's arguments."""
    several = (item if isinstance(item, list | tuple) else [item] for item in transform.values())
    return [item for items in several for item in items if _is_transform(item)]


def _singles(
    transform: Mapping[str, Any], setting: str
) -> Iterator[tuple[str, albumentations.BasicTransform]]:
    """Yield each transform that holds no further ones, always applied, and its name."""
    if isinstance(built := _build(transform, setting), albumentations.BasicTransform):
        built.p = 1.0
        yield str(transform["_target_"]), built
    for inner in _nested(transform):
        yield from _singles(inner, setting)


def _build(transform: Mapping[str, Any], setting: str) -> Any:
    target = str(transform.get("_target_", ""))
    name = target.removeprefix(PREFIX)
    kind = getattr(albumentations, name, None) if target.startswith(PREFIX) else None
    kinds = (albumentations.BasicTransform, albumentations.BaseCompose)
    if not (isinstance(kind, type) and issubclass(kind, kinds)):
        raise ConfigError(f"{setting}: {target!r} is no transform of albumentations")
    if issubclass(kind, albumentations.BaseCompose) and not _nested(transform):
        raise ConfigError(f"{setting}: {target} holds no transform; give some, or leave it out")
    arguments = {
        str(key): _build_within(value, setting)
        for key, value in transform.items()
        if key != "_target_"
    }
    try:
        try:
            return kind(strict=True, **arguments)
        except TypeError as error:
            if "'strict'" not in str(error):
                raise
            return kind(**arguments)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ConfigError(f"{setting}: {target} refuses its arguments: {_line(error)}") from error


def _build_within(value: Any, setting: str) -> Any:
    if isinstance(value, list | tuple):
        return [_build_within(item, setting) for item in value]
    return _build(value, setting) if _is_transform(value) else value


def _check(transform: albumentations.BasicTransform, name: str, size: int, resolution: int) -> None:
    """Check by test pictures that a transform leaves X-rays what they are.

    Raises:
        ConfigError: It does not.
    """
    alone = albumentations.Compose([transform])
    across = _ramp(size)
    for seed in range(TRIES):
        try:
            picture = _apply(alone, across, seed)
        except Exception as error:  # whatever it raises, it cannot be used
            raise ConfigError(f"{name} cannot be used on grey X-rays: {_line(error)}") from error
        _check_form(picture, name, size, resolution)
    mirrors, spread = _effect(alone, min(SMALL, size), size)
    if mirrors and _effect(alone, size, size)[0]:
        raise ConfigError(f"{name} would mirror the heart; leave it out")
    if spread < 0.1 * across.std():
        raise ConfigError(f"{name} leaves next to nothing of the picture; set it weaker")


def _ramp(size: int) -> UInt8:
    return np.tile(np.linspace(64, 192, size).astype(np.uint8), (size, 1))


def _effect(alone: albumentations.Compose, side: int, size: int) -> tuple[bool, float]:
    """Return whether some draw mirrors, and the standard deviation that grey values keep.

    What a transform does to places is read off a ramp from left to right and one from top to
    bottom, less what it does to a picture of one grey: noise, shadows and holes are the same in all
    three. Small pictures show it, but for transforms that want those of full `size`.
    """
    across = _ramp(side)
    pictures = (across, np.ascontiguousarray(across.T), np.full_like(across, 128))
    mirrors, spreads = False, []
    try:
        for seed in range(DRAWS):
            made = (_apply(alone, picture, seed).astype(np.float64) for picture in pictures)
            right, down, level = made
            mirrors = mirrors or _turns_over(right - level, down - level)
            spreads.append(right.std())
    except Exception:  # such as a crop larger than the small picture
        if side == size:
            raise
        return _effect(alone, size, size)
    return mirrors, float(np.median(spreads))


def _check_form(picture: Any, name: str, size: int, resolution: int) -> None:
    kind = picture.dtype if isinstance(picture, np.ndarray) else type(picture).__name__
    if kind != np.uint8:
        raise ConfigError(
            f"{name} yields {kind} instead of uint8 from 0 to 255, which is brought to [-1, 1] "
            "after the augmentations; leave it out"
        )
    if picture.ndim != 2:
        raise ConfigError(
            f"{name} yields the shape {picture.shape} instead of one grey channel; leave it out"
        )
    least, most = min(picture.shape), max(picture.shape)
    if not resolution <= least <= most <= size:
        gap = f"the crop exceeds {least}" if least < resolution else f"{most} exceeds {size}"
        raise ConfigError(
            f"{name} yields {picture.shape[1]} x {picture.shape[0]} pixels ({gap}); "
            f"keep both sides between {resolution} and {size}"
        )


def _turns_over(right: Any, down: Any) -> bool:
    """Return whether a map of places, given by the images of both axes, has a mirror in it."""
    y, x = (axis - axis.mean() for axis in np.indices(right.shape, dtype=np.float64))
    by_x, by_y = x / (x * x).sum(), y / (y * y).sum()
    slopes = [[(image * by).sum() for by in (by_x, by_y)] for image in (right, down)]
    usual = 128 / (len(right) - 1)
    return bool(np.linalg.det(slopes) < -0.01 * usual**2)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
