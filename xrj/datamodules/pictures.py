"""PNG and JPEG as grey values."""

import io
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import numpy.typing as npt
from PIL import Image

from xrj.datamodules.greys import UInt8, stretch
from xrj.errors import DataError

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")
"""What a picture needs; profiles, texts and further frames are left out."""
ORIENTATION = 0x0112
"""EXIF's tag."""
TURNS: dict[int, Callable[[UInt8], UInt8]] = {
    2: lambda grey: grey[:, ::-1],
    3: lambda grey: grey[::-1, ::-1],
    4: lambda grey: grey[::-1],
    5: lambda grey: grey.T,
    6: lambda grey: np.rot90(grey, -1),
    7: lambda grey: grey[::-1, ::-1].T,
    8: lambda grey: np.rot90(grey),
}
"""What sets a picture upright, by its EXIF orientation."""

Image.MAX_IMAGE_PIXELS = None  # `decode_picture` has its own limit, whose message says the size.


def decode_picture(data: bytes, name: str, max_pixels: int) -> UInt8:
    """Decode a PNG or JPEG as luma; see `decoding.decode_image`.

    Raises:
        DataError: It is broken, cut short or too large.
    """
    kind = "PNG" if data.startswith(PNG) else "JPEG"
    try:
        if kind == "PNG":
            data = b"".join(_needed_chunks(data))
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            width, height = image.size
            if width * height <= max_pixels:
                image.verify()
                return _upright(Image.open(io.BytesIO(data), formats=(kind,)), data)
    except Exception as error:  # Pillow's decoders raise nearly anything on a broken file.
        reason = " ".join(str(error).splitlines()) if str(error) else type(error).__name__
        if "BytesIO" in reason:  # Pillow cannot even tell what it is.
            reason = "its header cannot be read"
        raise DataError(f"{name}: broken image ({kind}: {reason}); replace it") from error
    raise DataError(
        f"{name}: {width} x {height} pixels are more than {max_pixels:,}; make it smaller"
    )


def _needed_chunks(png: bytes) -> Iterator[bytes]:
    view = memoryview(png)
    yield png[:8]
    at = 8
    while at + 8 <= len(png):
        end = at + 12 + int.from_bytes(view[at : at + 4])
        if view[at + 4 : at + 8] in PNG_CHUNKS:
            yield bytes(view[at:end])
        at = end


def _upright(image: Image.Image, data: bytes) -> UInt8:
    """Return a picture's luma as its EXIF orientation says; one that is broken says nothing."""
    turn = None
    with suppress(Exception):
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    grey = _luma(image, data)
    return np.ascontiguousarray(turn(grey)) if turn else grey


def _luma(image: Image.Image, data: bytes) -> UInt8:
    if image.mode.startswith("I"):
        return stretch(np.asarray(image).astype(np.uint16))
    if image.format == "PNG" and data[24] == 16:  # bits a sample
        return stretch(_deep_luma(data))
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, picture)
    return np.asarray(image.convert("L"))


def _deep_luma(png: bytes) -> npt.NDArray[np.uint16]:
    """Return luma of a PNG with colour or alpha of 16 bits, of which Pillow keeps the upper 8."""
    import cv2  # takes longer than all the rest, and such files are rare

    samples = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 3:
        raise ValueError("16 bits a sample that cannot be decoded")
    luma = np.zeros(samples.shape[:2], np.float32)
    for channel, weight in enumerate((0.114, 0.587, 0.299)):  # blue, green, red
        luma += np.float32(weight) * samples[..., channel]
    if samples.shape[2] == 4:
        luma *= samples[..., 3] / np.float32(65535)
    return np.rint(luma).astype(np.uint16)
