"""X-ray files as uint8 arrays, and those arrays at a network's size."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from xrj.datamodules.decoding import UInt8 as UInt8
from xrj.datamodules.decoding import decode_image
from xrj.errors import DataError

DICOM_SUFFIXES = (".dcm", ".dicom")
SUFFIXES = (".png", ".jpg", ".jpeg", *DICOM_SUFFIXES)
"""Of the files that are taken out of a folder."""
MAX_BYTES = 512_000_000
"""Of a file; more than the largest picture that is decoded fills without compression."""


def read_image(path: Path, warn: Callable[[str], object] | None = None) -> UInt8:
    """Read an X-ray from a PNG, JPEG or DICOM file as luma; see `decode_image`.

    Args:
        path: The file.
        warn: Gets a sentence for each doubt about a file that is read; by default they are logged.

    Returns:
        (H, W), 0 to 255.

    Raises:
        DataError: The file is missing or cannot be decoded.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size:,} bytes are more than {MAX_BYTES:,}; make it smaller")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return decode_image(data, str(path), warn=warn)


def resize(image: UInt8, size: int) -> UInt8:
    """Scale an image to (size, size).

    Height and width are scaled each by its own factor: nothing of the thorax is cut off, and the
    cardiothoracic ratio, a ratio of two widths, stays as it is. Pixels are averaged over their
    area when the image shrinks and interpolated linearly when it grows.

    Args:
        image: (H, W), 0 to 255.
        size: Pixels a side.
    """
    if image.shape == (size, size):
        return image
    interpolation = cv2.INTER_AREA if min(image.shape) >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), dtype=np.uint8)


def margin_size(resolution: int, margin: float) -> int:
    """Return the side of the image from which a crop of `resolution` is taken.

    Args:
        resolution: Pixels a side of the crop.
        margin: Share of `resolution` by which the image is larger: 0.09 makes 64 from 70 and 256
            from 280 pixels.
    """
    return resolution + 2 * round(resolution * margin / 2)


def centre_crop(images: UInt8, resolution: int) -> UInt8:
    """Cut the middle (..., resolution, resolution) out of square images (..., S, S)."""
    start = (images.shape[-1] - resolution) // 2
    return images[..., start : start + resolution, start : start + resolution]


def prepare(image: UInt8, resolution: int, margin: float) -> UInt8:
    """Return the view of an image that is used outside training: scaled, then its middle.

    Args:
        image: (H, W), 0 to 255, as `read_image` gives it.
        resolution: Pixels a side of the result.
        margin: As in `margin_size`.

    Returns:
        (resolution, resolution), 0 to 255.
    """
    return centre_crop(resize(image, margin_size(resolution, margin)), resolution)


@dataclass(frozen=True)
class Frame:
    """The part of a picture that a model sees, in pixels of that picture."""

    top: float
    left: float
    height: float
    width: float


def frame(shape: tuple[int, int], resolution: int, margin: float) -> Frame:
    """Return the part of a picture of this shape that `prepare` leaves."""
    side = margin_size(resolution, margin)
    start, kept = (side - resolution) // 2 / side, resolution / side
    height, width = shape
    return Frame(start * height, start * width, kept * height, kept * width)


def to_tensor(images: UInt8 | torch.Tensor) -> torch.Tensor:
    """Turn uint8 images (B, H, W) into float32 (B, 1, H, W) in [-1, 1], on their device."""
    pixels = torch.as_tensor(images)
    return pixels.unsqueeze(1).to(torch.float32).div_(127.5).sub_(1.0)
