"""The pictures of a justification: grey X-rays and the map of what the mapping changed."""

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from xrj.datamodules.images import UInt8

DARKER = (77, 163, 255)
"""Colour of what is darker in the alternative: blue; no colour blindness takes it for orange."""
BRIGHTER = (255, 106, 61)
"""Colour of what is brighter in the alternative: orange."""
LEAST_LIMIT = 16
"""Grey levels that full colour stands for at least, so that a map of nothing looks like nothing."""
BASE = 0.65
"""Brightness of the X-ray under the colours."""


@dataclass(frozen=True)
class DifferenceMap:
    """A signed difference laid over an X-ray.

    Attributes:
        picture: (H, W, 3), 0 to 255.
        limit: Difference in grey levels, of 255, that full colour stands for.
    """

    picture: UInt8
    limit: int


def difference_map(reconstruction: UInt8, alternative: UInt8) -> DifferenceMap:
    """Show what changes from the reconstruction to the alternative, over the reconstruction.

    The opacity of the colour is proportional to the difference, up to the limit: its 99.5th
    percentile, rounded up to a multiple of 4.

    Args:
        reconstruction: (H, W), 0 to 255.
        alternative: (H, W), 0 to 255.
    """
    difference = alternative.astype(np.float32) - reconstruction
    largest = float(np.percentile(np.abs(difference), 99.5))
    limit = max(LEAST_LIMIT, 4 * math.ceil(largest / 4))
    opacity = np.clip(np.abs(difference) / limit, 0, 1)[..., None]
    colour = np.where(difference[..., None] > 0, np.array(BRIGHTER), np.array(DARKER))
    mixed = (1 - opacity) * BASE * reconstruction[..., None] + opacity * colour
    return DifferenceMap(np.rint(mixed).astype(np.uint8), limit)


def png(picture: npt.NDArray[np.uint8], description: str) -> bytes:
    """Return a picture (H, W) or (H, W, 3) as PNG with its description inside."""
    info = PngInfo()
    info.add_itxt("Description", description)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", pnginfo=info, optimize=True)
    return buffer.getvalue()


def data_uri(data: bytes) -> str:
    """Return a PNG as a data URI, so that a page needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
