"""An X-ray file's bytes as grey values, in this process. Imports no torch."""

import re

from PIL import Image

from xrj.datamodules.greys import Decoded, UInt8
from xrj.datamodules.pictures import JPEG, PNG, decode_picture
from xrj.errors import DataError

_DICM = slice(128, 132)
_BARE_DICOM = re.compile(
    # The group that comes first, then its length, or one of its first elements and either a VR or
    # a short length; or the same in big endian.
    rb"[\x02\x08]\0(?:\0\0(?:UL|\x04\0\0\0)|[\x01-\x18]\0(?:[A-Z]{2}|..\0\0))"
    rb"|\0[\x02\x08]\0[\0-\x18][A-Z]{2}",
    re.DOTALL,
)
FLAT = 0.99
"""Share of the pixels with one grey value from which a picture shows nothing."""


def image_format(data: bytes) -> str | None:
    """Return "PNG", "JPEG" or "DICOM" by a file's first 132 bytes; None for anything else.

    DICOM without its preamble, as old archives hold it, is known by its first element.
    """
    if data.startswith(PNG):
        return "PNG"
    if data.startswith(JPEG):
        return "JPEG"
    return "DICOM" if data[_DICM] == b"DICM" or _BARE_DICOM.match(data) else None


def decode_here(data: bytes, name: str, max_pixels: int, *, expendable: bool) -> Decoded:
    """Decode an X-ray in this process; see `decoding.decode_image`.

    Args:
        data: The file's bytes.
        name: What an error calls the file.
        max_pixels: More are refused before they are decoded.
        expendable: Decoders that can crash may run, too.

    Raises:
        DataError: The file is none that can be read, or holds no X-ray.
        NeedsProcessError: It is not `expendable`, and no other decoder can read the file.
    """
    if not data:
        raise DataError(f"{name}: the file is empty; replace it")
    kind = image_format(data)
    if kind is None:
        raise DataError(f"{name}: neither PNG, JPEG nor DICOM; convert it")
    if kind == "DICOM":
        from xrj.datamodules.dicom import decode_dicom  # pydicom takes as long as all the rest

        decoded = decode_dicom(data, name, max_pixels, expendable=expendable)
    else:
        decoded = Decoded(decode_picture(data, name, max_pixels))
    remedy = "export it with another window" if kind == "DICOM" else "choose another file"
    check_content(decoded.grey, name, remedy)
    return decoded


def check_content(grey: UInt8, name: str, remedy: str) -> None:
    """Check that a picture shows something.

    Raises:
        DataError: It does not.
    """
    if max(Image.fromarray(grey).histogram()) >= FLAT * grey.size:
        raise DataError(f"{name}: no X-ray in it, one grey value fills the picture; {remedy}")
