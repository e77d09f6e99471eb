"""What is justified: an X-ray as grey values, read from whatever a caller has of it."""

import io
import sys
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xrj.datamodules.decoders import check_content
from xrj.datamodules.decoding import MAX_PIXELS, anonymous_name, decode_image
from xrj.datamodules.greys import UInt8, as_bytes, stretch
from xrj.datamodules.images import read_image
from xrj.errors import DataError
from xrj.justify.intake import shown_name

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class XRay:
    """An X-ray that was read.

    Attributes:
        name: What outputs call it; its last part seeds the search for the alternative.
        picture: (H, W), 0 to 255.
        doubts: A sentence for each thing that is doubtful of how it was read.

    Raises:
        DataError: The picture is another array.
    """

    name: str
    picture: UInt8
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        picture = np.asarray(self.picture)
        if picture.ndim != 2 or picture.dtype != np.uint8 or not picture.size:
            raise DataError(
                f"{self.name}: array {picture.dtype} of shape {picture.shape}, not uint8 of (H, W);"
                " make it with xrj.read"
            )


Source: TypeAlias = Union[  # "Dataset" is a name yet
    XRay, str, PathLike[str], bytes, NDArray[Any], Image.Image, "Dataset"
]
"""What an X-ray is read from; see `read`."""


def read(source: Source, name: str | None = None) -> XRay:
    """Read an X-ray.

    Args:
        source: The path or the bytes of a PNG, JPEG or DICOM file; a pydicom data set; a PIL image;
            or an array (H, W) of grey values: uint8; uint16, which is stretched as a PNG of 16 bits
            is; or floating point from 0, black, to 1, white. An `XRay` is returned as it is.
        name: What outputs call it; by default its file's path, but for DICOM and what has no path,
            which are named by their content.

    Raises:
        DataError: It is none of these, cannot be decoded, is too large or shows nothing; see
            `decoding.decode_image`.
    """
    if isinstance(source, XRay):
        return source
    doubts: list[str] = []
    if isinstance(source, str | PathLike):
        path = Path(source).expanduser()
        if path.is_dir():
            raise DataError(f"{path}: is a folder; give its files, such as Path(...).glob('*.png')")
        return XRay(name or shown_name(path), read_image(path, doubts.append), tuple(doubts))
    if isinstance(source, bytes):
        data = source
    elif _is_dataset(source):
        from xrj.datamodules.dicom import picture_bytes

        data = picture_bytes(source)
    elif isinstance(source, Image.Image) and source.mode != "F":
        data = _png(source)
    else:
        return _read_array(source, name)
    name = name or anonymous_name(data)
    return XRay(name, decode_image(data, name, warn=doubts.append), tuple(doubts))


def is_source(given: object) -> TypeGuard[Source]:
    """Return whether something is one X-ray, rather than several."""
    one = isinstance(given, (XRay, str, PathLike, bytes, Image.Image))
    return one or hasattr(given, "__array__") or _is_dataset(given)


def _is_dataset(given: object) -> "TypeGuard[Dataset]":
    pydicom = sys.modules.get("pydicom")  # without which there is none
    return pydicom is not None and isinstance(given, pydicom.Dataset)


def _png(image: Image.Image) -> bytes:
    """Return a PIL image as a PNG that is read as the file that it came from would be."""
    buffer = io.BytesIO()
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        image = image.convert("RGB")
    image.save(buffer, "PNG", exif=image.getexif(), compress_level=1)
    return buffer.getvalue()


def _read_array(source: Any, name: str | None) -> XRay:
    if not (isinstance(source, Image.Image) or hasattr(source, "__array__")):
        raise DataError(
            f"{type(source).__name__}: is no X-ray; give a path, bytes, an array, a PIL image, a "
            "pydicom data set, or several of them"
        )
    values = np.asarray(source)
    called = f"array {values.dtype} of shape {values.shape}"
    if values.ndim != 2 or not values.size:
        colour = values.ndim == 3 and values.shape[2] in (3, 4)
        remedy = "take its luma" if colour else "give several as a list"
        raise DataError(f"{called}: an X-ray is grey, (H, W); {remedy}")
    if values.size > MAX_PIXELS:
        raise DataError(f"{called}: more than {MAX_PIXELS:,} pixels; make it smaller")
    if values.dtype == np.uint8:
        grey = np.ascontiguousarray(values)
    elif values.dtype == np.uint16:
        grey = stretch(values)
    elif np.issubdtype(values.dtype, np.floating):
        least, most = float(values.min()), float(values.max())
        if not 0 <= least <= most <= 1:
            raise DataError(
                f"{called}: values from {least:g} to {most:g}; scale them to 0, black, to 1, white"
            )
        grey = as_bytes(values.astype(np.float64))
    else:
        raise DataError(f"{called}: give uint8, uint16, or floating point from 0 to 1")
    check_content(grey, called, "choose another")
    return XRay(name or anonymous_name(grey.tobytes()), grey)
