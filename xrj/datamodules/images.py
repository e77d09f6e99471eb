"""X-ray files as uint8 arrays, and those arrays at a network's size."""

import io
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from xrj.errors import DataError

UInt8 = npt.NDArray[np.uint8]

MAX_PIXELS = 64_000_000


def read_image(path: Path) -> UInt8:
    """Read an X-ray from a PNG or JPEG file as luma.

    A 16-bit grey image is stretched from its own lowest and highest value to 0..255, since such
    files hold 10 to 16 significant bits and do not say how many. Colour becomes luma,
    transparency is laid on black, palettes are resolved, and the orientation that a JPEG states
    is applied. PNG checksums are verified, so that a file cut short or altered is never half an
    X-ray.

    Returns:
        (H, W), 0 to 255.

    Raises:
        DataError: The file is missing, empty, broken, cut short, of another format, or has more
            than `MAX_PIXELS` pixels.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if not data:
        raise DataError(f"{path}: the file is empty; replace it")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            width, height = image.size
            if width * height <= MAX_PIXELS:
                image.verify()
                return _luma(Image.open(io.BytesIO(data)))
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: neither PNG nor JPEG; convert it") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on a broken file.
        raise DataError(f"{path}: broken image ({error}); replace it") from error
    raise DataError(
        f"{path}: {width} x {height} pixels are more than {MAX_PIXELS:,}; make it smaller"
    )


def _luma(image: Image.Image) -> UInt8:
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float32)
        low, high = float(values.min()), float(values.max())
        stretched: UInt8 = np.rint((values - low) * (255.0 / max(high - low, 1.0))).astype(np.uint8)
        return stretched
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, picture)
    return np.asarray(ImageOps.exif_transpose(image).convert("L"))


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


def to_tensor(images: UInt8 | torch.Tensor) -> torch.Tensor:
    """Turn uint8 images (B, H, W) into float32 (B, 1, H, W) in [-1, 1], on their device."""
    pixels = torch.as_tensor(images)
    return pixels.unsqueeze(1).to(torch.float32).div_(127.5).sub_(1.0)
