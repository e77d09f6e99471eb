"""An X-ray file's bytes as grey values, whatever they are: nothing in them ends the program."""

import hashlib
from collections.abc import Callable

from xrj.datamodules.apart import decode_apart
from xrj.datamodules.decoders import decode_here
from xrj.datamodules.decoders import image_format as image_format
from xrj.datamodules.greys import NeedsProcessError
from xrj.datamodules.greys import UInt8 as UInt8

MAX_PIXELS = 64_000_000


def anonymous_name(data: bytes) -> str:
    """Return a name for an X-ray that depends on its file's bytes alone."""
    return f"xray-{hashlib.sha256(data).hexdigest()[:12]}"


def decode_image(
    data: bytes,
    name: str,
    max_pixels: int = MAX_PIXELS,
    *,
    warn: Callable[[str], object] | None = None,
) -> UInt8:
    """Decode an X-ray as luma.

    16-bit grey of a PNG is stretched to 0..255, since such files hold 10 to 16 significant bits
    and do not say how many; see `greys.grey_range`. Colour becomes luma, transparency is laid on
    black, palettes are resolved, and the orientation that EXIF states is applied; all other
    metadata are passed over. PNG checksums are verified, so that a file cut short or altered is
    never half an X-ray. Of DICOM, see `dicom.decode_dicom`. Decoders that can crash run in a
    process of their own.

    Args:
        data: The file's bytes.
        name: What an error calls the file.
        max_pixels: More are refused before they are decoded.
        warn: Gets a sentence for each doubt about a file that is read; by default they are logged.

    Returns:
        (H, W), 0 to 255.

    Raises:
        DataError: The file is empty, broken, cut short, of another format or too large, shows
            nothing but one grey value, or is a DICOM file that is no frontal chest radiograph.
        DecoderError: The process for decoders that can crash does not start.
    """
    try:
        return decode_here(data, name, max_pixels, expendable=False).told(name, warn)
    except NeedsProcessError:
        return decode_apart(data, name, max_pixels, warn=warn)
