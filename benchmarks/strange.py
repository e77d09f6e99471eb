"""Pictures that are no frontal chest X-rays: other bodies on film, screens, patterns, noise."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator

from xrj.datamodules.images import UInt8
from xrj.datamodules.phantom_anatomy import Acquisition, draw_acquisition
from xrj.datamodules.phantom_physics import TOP, Ellipse, Plane, film, grid, ramp, root

SIZE = 288
"""Pixels a side of what is drawn."""
Point = tuple[float, float]


def _view(rng: Generator, field: float) -> tuple[Acquisition, Plane, Plane]:
    """Return how a picture is taken, and its coordinates in cm with (0, 0) in its middle."""
    view = replace(
        draw_acquisition(int(rng.integers(2**31)), "strange", 0, "frontal"),
        field=field * rng.uniform(0.9, 1.15),
        rotation=0.0,
        exposure=rng.uniform(-0.7, 0.4),
        contrast=rng.uniform(0.7, 1.3),
    )
    x, y = grid(view, SIZE)
    return view, x, y - np.float32(TOP + view.field / 2)


def _limb(x: Plane, y: Plane, start: Point, end: Point, radius: float) -> Plane:
    """Length of the rays inside a rod with round ends, cm."""
    along = np.array(end) - start
    share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along)
    share = np.clip(share, 0, 1)
    square = (x - start[0] - share * along[0]) ** 2 + (y - start[1] - share * along[1]) ** 2
    result: Plane = 2 * root(radius**2 - square)
    return result


def _bone(x: Plane, y: Plane, start: Point, end: Point, radius: float) -> Plane:
    """A long bone: a hard shaft around marrow, wider at both ends."""
    shaft = _limb(x, y, start, end, radius) - 0.75 * _limb(x, y, start, end, 0.62 * radius)
    ends = [0.45 * _limb(x, y, at, (at[0] + 0.01, at[1]), 1.35 * radius) for at in (start, end)]
    result: Plane = np.maximum(shaft, np.maximum(*ends))
    return result


def _expose(view: Acquisition, soft: Plane, bone: Plane, rng: Generator) -> UInt8:
    """Put lengths of tissue on film, turned a little and perhaps mirrored."""
    soft, bone = np.broadcast_arrays(soft, bone)
    turn = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), rng.uniform(-12, 12), 1.0)
    soft, bone = (
        cv2.warpAffine(part.astype(np.float32), turn, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
        for part in (soft, bone)
    )
    picture = film(soft, bone, np.zeros_like(soft), view)
    return np.ascontiguousarray(picture[:, ::-1]) if rng.random() < 0.5 else picture


def hand(rng: Generator) -> UInt8:
    """A hand with wrist: bright bones on black, five fingers."""
    view, x, y = _view(rng, rng.uniform(20, 28))
    soft, bone = np.zeros((SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE), np.float32)
    spread = rng.uniform(0.6, 1.5)
    wrist = (0.0, 4.5)
    lengths = ((4.2, 2.8, 2.2), (6.6, 3.9, 2.4, 1.8), (6.4, 4.4, 2.8, 1.9), (5.8, 4.1, 2.6, 1.9),
               (5.3, 3.3, 2.0, 1.7))  # fmt: skip
    for finger, (angle, parts) in enumerate(
        zip((-0.85, -0.28, -0.06, 0.16, 0.38), lengths, strict=True)
    ):
        turned = angle * spread
        at = (wrist[0] + 1.9 * math.sin(1.5 * angle), wrist[1] - 1.4)
        for number, length in enumerate(parts):
            end = (at[0] + length * math.sin(turned), at[1] - length * math.cos(turned))
            thick = (1.5 if number == 0 and finger else 0.95) - 0.06 * number
            soft = np.maximum(soft, _limb(x, y, at, end, thick))
            gap = tuple(a + 0.12 * (b - a) for a, b in zip(at, end, strict=True))
            bone = np.maximum(bone, _bone(x, y, (gap[0], gap[1]), end, 0.42 - 0.05 * number))
            at = end
    for _ in range(8):
        place = rng.uniform((-1.6, 3.0), (1.6, 5.0))
        bone = np.maximum(bone, 0.5 * Ellipse(*place, 0.75, 0.65, 0.7).thickness(x, y))
    for side, radius in ((-1.1, 0.75), (1.1, 0.55)):
        bone = np.maximum(bone, _bone(x, y, (side, 5.6), (side, 22), radius))
    soft = np.maximum(soft, _limb(x, y, wrist, (0, 24), rng.uniform(2.6, 3.2)))
    return _expose(view, 0.8 * soft, 2.2 * bone, rng)


def knee(rng: Generator) -> UInt8:
    """A knee or an elbow: long bones that meet in a soft limb."""
    view, x, y = _view(rng, rng.uniform(20, 34))
    soft = _limb(x, y, (0, -30), (0, 30), rng.uniform(5, 8))
    bones = (
        _bone(x, y, (0, -30), (0, -1.0), 1.7),
        _bone(x, y, (0, 1.2), (0, 30), 1.6),
        _bone(x, y, (2.9, 2.6), (2.9, 30), 0.7),
        0.4 * _limb(x, y, (-1.8, -0.8), (1.8, -0.8), 2.0),
        0.4 * _limb(x, y, (-1.9, 1.9), (1.9, 1.9), 1.7),
    )
    bone = bones[0]
    for part in bones[1:]:
        bone = np.maximum(bone, part)
    return _expose(view, soft, 1.5 * bone, rng)


def skull(rng: Generator) -> UInt8:
    """A head from the front: a shell of bone, orbits, sinuses, teeth, the neck below."""
    view, x, y = _view(rng, rng.uniform(24, 32))
    wide, high = rng.uniform(7, 8), rng.uniform(9, 10.5)
    head = Ellipse(0, -1.5, wide, high, 9)
    shell = head.thickness(x, y) - Ellipse(0, -1.5, wide - 0.7, high - 0.7, 8.3).thickness(x, y)
    bone = 1.2 * shell + 0.5 * Ellipse(0, 5.5, 4.5, 4.0, 4).thickness(x, y)
    air = sum(Ellipse(side * 3.1, 1.2, 2.0, 1.7, 2.2).thickness(x, y) for side in (-1, 1))
    air = air + Ellipse(0, 3.8, 1.0, 1.9, 3).thickness(x, y)
    teeth = 1.2 * ramp(1 - np.abs(y - 6.7) / 1.2) * ramp((3.0 - np.abs(x)) * 3)
    bone = bone + teeth * (np.abs(np.sin(x * 4.2)) > 0.25) + 0.5 * _limb(x, y, (0, 8), (0, 30), 1.6)
    soft = np.maximum(
        Ellipse(0, -1.5, wide + 0.7, high + 0.7, 9.5).thickness(x, y),
        _limb(x, y, (0, 4), (0, 30), 5.2),
    )
    return _expose(view, np.maximum(soft - 0.8 * air, 0), np.maximum(bone - 0.2 * air, 0), rng)


def abdomen(rng: Generator) -> UInt8:
    """A trunk below the chest: spine, iliac wings, gas in bowel loops."""
    view, x, y = _view(rng, rng.uniform(34, 42))
    wide = rng.uniform(15, 19)
    soft = 20 * root(1 - (x / wide) ** 4) + 0 * y
    spine = np.clip((2.1 - np.abs(x)) / 0.4, 0, 1) * ramp((10 - y) / 3)
    spine = spine * (1.6 + 0.5 * np.cos(2 * math.pi * y / 3.6))
    wings = sum(
        0.35 * Ellipse(side * 8.5, 13.5, 5.5, 6.5, 2.5, side * 0.5).thickness(x, y)
        for side in (-1, 1)
    )
    sacrum = 0.4 * Ellipse(0, 13, 4, 6, 3).thickness(x, y)
    gas = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(int(rng.integers(6, 26))):
        place = rng.uniform((-0.7 * wide, -12), (0.7 * wide, 12))
        a, b, tilt = rng.uniform((0.8, 0.8, 0), (3.5, 1.8, 3.1))
        gas = np.maximum(gas, Ellipse(*place, a, b, 2.2, tilt).thickness(x, y))
    return _expose(view, np.maximum(soft - gas, 0), spine + wings + sacrum, rng)


def screen(rng: Generator) -> UInt8:
    """A page of text or a plot, dark on bright or the other way."""
    picture = np.full((SIZE, SIZE), rng.integers(200, 256), np.uint8)
    if rng.random() < 0.5:
        letters = ["the", "heart", "is", "normal", "in", "size", "and", "contour", "0123456789"]
        for row in range(14, SIZE, int(rng.integers(10, 26))):
            line = " ".join(rng.choice(letters, 8))
            cv2.putText(picture, line, (8, row), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 20, 1, cv2.LINE_AA)
    else:
        cv2.rectangle(picture, (30, 20), (SIZE - 20, SIZE - 30), 20, 1)
        for shade in (20, 90, 140):
            steps = np.cumsum(rng.normal(0, 8, 60)) + SIZE / 2
            points = np.stack([np.linspace(30, SIZE - 20, 60), steps], axis=1)
            cv2.polylines(picture, [points.astype(np.int32)], False, shade, 2, cv2.LINE_AA)
    return picture if rng.random() < 0.5 else 255 - picture


def pattern(rng: Generator) -> UInt8:
    """A gradient, stripes, a checkerboard, one plain grey, or bright shapes on dark."""
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    kind, angle = rng.integers(5), rng.uniform(0, 2 * math.pi)
    along = rows * math.sin(angle) + columns * math.cos(angle)
    number = int(rng.integers(2, 16))
    if kind == 0:
        value = along - along.min()
    elif kind == 1:
        value = 0.5 + 0.5 * np.sin(2 * math.pi * number * along)
    elif kind == 2:
        value = (np.floor(rows * number) + np.floor(columns * number)) % 2
    elif kind == 3:
        value = np.full((SIZE, SIZE), rng.random())
    else:
        value = np.zeros((SIZE, SIZE))
        for _ in range(number):
            top, left = rng.integers(0, SIZE - 20, 2)
            value[top : top + rng.integers(10, 120), left : left + rng.integers(10, 120)] = (
                rng.random()
            )
    return np.clip(255 * value / max(value.max(), 1), 0, 255).astype(np.uint8)


def noise(rng: Generator) -> UInt8:
    """White noise, or noise that is smooth on some scale."""
    value = rng.normal(size=(SIZE, SIZE))
    scale = rng.choice((0.0, 2.0, 6.0, 15.0, 40.0))
    if scale:
        value = cv2.GaussianBlur(value, (0, 0), float(scale))
    return np.clip(128 + 60 * value / value.std(), 0, 255).astype(np.uint8)


DRAWN: Mapping[str, Callable[[Generator], UInt8]] = {
    "hands": hand,
    "knees and elbows": knee,
    "skulls": skull,
    "abdomens": abdomen,
    "text and plots": screen,
    "patterns": pattern,
    "noise": noise,
}
"""Kinds that are drawn, by name."""


def half(start: int, axis: int) -> Callable[[UInt8], UInt8]:
    """Return what cuts one half out of pictures."""

    def cut(picture: UInt8) -> UInt8:
        length = picture.shape[axis] // 2
        return np.take(picture, range(start * length, (start + 1) * length), axis=axis)

    return cut


CHANGED: Mapping[str, Callable[[UInt8], UInt8]] = {
    "inverted": lambda picture: 255 - picture,
    "upside down": lambda picture: picture[::-1],
    "on its side": lambda picture: np.rot90(picture),
    "on its other side": lambda picture: np.rot90(picture, 3),
    "left half": half(0, 1),
    "right half": half(1, 1),
    "upper half": half(0, 0),
    "lower half": half(1, 0),
}
"""What is done to frontal X-rays, by what they then are."""
