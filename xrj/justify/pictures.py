"""The pictures of a justification: grey X-rays, maps of a change and heat maps laid over them."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from xrj.datamodules.images import Frame, UInt8

DARKER = (77, 163, 255)
"""Colour of what becomes darker: blue; no colour blindness takes it for orange."""
BRIGHTER = (255, 106, 61)
"""Colour of what becomes brighter: orange."""
LEAST_LIMIT = 16
"""Grey levels that full colour stands for at least, so that a map of nothing looks like nothing."""
BASE = 0.65
"""Brightness of the X-ray under the colours."""
HEAT = 0.7
"""Opacity of a heat map where it is highest."""
QUALITY = 85
"""Of WebP, 0 to 100."""
OUTLINE = 768
"""Pixels of the longer side of a picture that shows an outline."""
OUTLINE_BITS = 4
OUTLINE_PART = 1 << OUTLINE_BITS
"""Parts of a pixel in which the places of an outline are given."""
TILE, EDGE = 176, 2
"""Pixels a side of a picture in a strip, and of the black edge left and right of it."""


@dataclass(frozen=True)
class DifferenceMap:
    """A signed difference laid over an X-ray.

    Attributes:
        picture: (H, W, 3), 0 to 255.
        limit: Difference in grey levels, of 255, that full colour stands for.
    """

    picture: UInt8
    limit: int


def difference_map(
    before: UInt8, after: UInt8, over: UInt8, limit: int | None = None
) -> DifferenceMap:
    """Show what changes from one picture to another, over a third.

    The opacity of the colour is proportional to the difference, up to the limit.

    Args:
        before: (H, W), 0 to 255.
        after: (H, W), 0 to 255.
        over: The X-ray under the colours, (H, W), 0 to 255.
        limit: Of full colour; by default the difference's 99.5th percentile, rounded up to a
            multiple of 4.
    """
    difference = after.astype(np.float32) - before
    if limit is None:
        largest = float(np.percentile(np.abs(difference), 99.5))
        limit = max(LEAST_LIMIT, 4 * math.ceil(largest / 4))
    opacity = np.clip(np.abs(difference) / limit, 0, 1)[..., None]
    colour = np.where(difference[..., None] > 0, np.array(BRIGHTER), np.array(DARKER))
    mixed = (1 - opacity) * BASE * over[..., None] + opacity * colour
    return DifferenceMap(np.rint(mixed).astype(np.uint8), limit)


def heat_map(values: npt.NDArray[np.float32], over: UInt8) -> UInt8:
    """Lay a saliency map over an X-ray: the higher, the brighter and the more opaque.

    Args:
        values: (H, W) in [0, 1].
        over: (H, W), 0 to 255.

    Returns:
        (H, W, 3), 0 to 255.
    """
    levels = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    colour = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = HEAT * np.sqrt(levels[..., None] / 255)
    mixed = (1 - opacity) * BASE * over[..., None] + opacity * colour
    return np.rint(mixed).astype(np.uint8)


def outline(mask: npt.NDArray[np.float32], frame: Frame, shape: tuple[int, ...]) -> bytes:
    """Draw the border of a region over a picture of this shape, on nothing, as PNG.

    Args:
        mask: How much of each pixel belongs to it, (S, S) in [0, 1], of what the model sees.
        frame: The part of the picture that the model sees.
        shape: Of the picture, (H, W).
    """
    scale = OUTLINE / max(shape[:2])
    height, width = (max(round(scale * side), 1) for side in shape[:2])
    drawn = np.zeros((height, width, 4), np.uint8)
    borders, _ = cv2.findContours((mask > 0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    start, step = np.array([frame.left, frame.top]), np.array([frame.width, frame.height])
    for border in borders:
        places = scale * (start + (border + 0.5) / len(mask) * step) * OUTLINE_PART
        cv2.polylines(
            drawn, [places.astype(np.int32)], True, (*BRIGHTER, 255), 1, cv2.LINE_AA, OUTLINE_BITS
        )
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def tile(picture: UInt8) -> UInt8:
    """Return a picture (H, W) or (H, W, 3) with TILE pixels a side, (TILE, TILE) or with colour."""
    shrink = picture.shape[0] > TILE
    return cv2.resize(
        picture, (TILE, TILE), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    ).astype(np.uint8)


def strip(pictures: Sequence[UInt8]) -> UInt8:
    """Return pictures side by side, each with a thin black edge, (TILE, n * TILE, 3)."""
    tiles = [tile(picture) for picture in pictures]
    row = np.hstack([np.dstack([one] * 3) if one.ndim == 2 else one for one in tiles])
    columns = np.arange(row.shape[1]) % TILE
    row[:, (columns < EDGE) | (columns >= TILE - EDGE)] = 0
    return row


def png(picture: UInt8, description: str) -> bytes:
    """Return a picture (H, W) or (H, W, 3) as PNG with its description inside."""
    info = PngInfo()
    info.add_itxt("Description", description)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def webp(picture: UInt8) -> bytes:
    """Return a picture (H, W) or (H, W, 3) as a small WebP, to look at, not to measure."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()


def data_uri(data: bytes) -> str:
    """Return a PNG or WebP as a data URI, so that a page needs no other file."""
    kind = "webp" if data[8:12] == b"WEBP" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
