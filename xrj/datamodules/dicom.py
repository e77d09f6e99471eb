"""DICOM radiographs as grey values; nothing of a file but its pixels is passed on or quoted."""

import logging
import math
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from struct import unpack_from

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset, config, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders import gdcm
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from xrj.datamodules.body_parts import body_part
from xrj.datamodules.dicom_greys import show
from xrj.datamodules.dicom_header import meanings, text, whole
from xrj.datamodules.greys import Decoded, NeedsProcessError
from xrj.datamodules.views import lateral_by
from xrj.errors import DataError

TAGS = [
    *("SOPClassUID", "Modality", "PresentationIntentType", "BurnedInAnnotation"),
    *("BodyPartExamined", "AnatomicRegionSequence", "ViewPosition", "ViewCodeSequence"),
    *("PatientOrientation", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames"),
    *("PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "RescaleIntercept", "RescaleSlope", "PresentationLUTShape"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth", "PixelData"),
]
"""What is read of a file; no tag that says who the patient is."""
RADIOGRAPHS = ("CR", "DX", "DR", "RG", "XR", "OT", "SC")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
IN_PROCESS = ("", "pillow")
"""Decoders that are safe: none, for pictures that are not compressed, and Pillow."""
ENDLESS = 0xFFFFFFFF
"""The length of what ends where a delimiter says so."""
GREY = ("MONOCHROME1", "MONOCHROME2")
SHAPES = {"IDENTITY": "MONOCHROME2", "INVERSE": "MONOCHROME1"}
"""Photometric Interpretation by Presentation LUT Shape."""
SLACK = 0.01
"""Share of the pixel data by which they may be longer than the picture, as padding."""
SIDE_TO_SIDE, HEAD_TO_FOOT = ("L", "R"), ("F", "H")
"""Directions in the patient; of several letters the first is the main one."""
BROKEN = "broken DICOM file; export it again"


def decode_dicom(data: bytes, name: str, max_pixels: int, *, expendable: bool) -> Decoded:
    """Decode a DICOM radiograph as a viewer shows it.

    Grey as in `dicom_greys.show`; colour becomes luma. A picture that is mirrored, upside down or
    on its side by its Patient Orientation is set upright.

    What the header states is believed: another view than a frontal one, another body part than
    the chest, another modality than radiography, raw detector data and annotations burned into
    the picture are refused. What it leaves open passes, and what it says of the body part in words
    that are not known is a doubt.

    Args:
        data: The file's bytes.
        name: What an error calls the file.
        max_pixels: More are refused before anything is allocated for them.
        expendable: All decoders may run in this process. Broken pictures make GDCM end its process,
            and hostile ones swell without bound.

    Raises:
        DataError: The file is broken, cut short or no such radiograph, or the decoder that its
            compression needs is not installed. The message holds no text of the file's.
        NeedsProcessError: It is not `expendable`, and no other decoder can read the file.
    """
    with _silence():
        try:
            dataset = _open(data, max_pixels)
            doubts = _check_content(dataset)
            decoder = _check_picture(dataset, max_pixels)
            pixels = _decode(dataset, decoder, expendable=expendable)
            if dataset.PhotometricInterpretation in COLOUR:
                shown = Decoded(np.asarray(Image.fromarray(pixels).convert("L")))
            else:
                shown = show(pixels, dataset)
            return Decoded(_upright(shown.grey, dataset), doubts + shown.doubts)
        except NeedsProcessError:
            raise
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        except Exception as error:  # pydicom raises nearly anything, and its messages quote values.
            raise DataError(f"{name}: {BROKEN}") from error


def picture_bytes(dataset: Dataset) -> bytes:
    """Return a data set as a file that holds what `decode_dicom` reads of it, and no more.

    Raises:
        DataError: It cannot be written.
    """
    with _silence():
        try:
            part = Dataset()
            for tag in TAGS:
                if tag in dataset:
                    part[tag] = dataset[tag]
            meta = getattr(dataset, "file_meta", {})
            syntax = meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)
            part.file_meta = FileMetaDataset()
            part.file_meta.TransferSyntaxUID = syntax
            part.preamble = b"\0" * 128
            buffer = BytesIO()
            dcmwrite(buffer, part)
            return buffer.getvalue()
        except Exception as error:  # pydicom raises nearly anything, and its messages quote values.
            raise DataError("data set: not whole enough to be read; give its file") from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keep pydicom and GDCM from printing: what they warn of quotes values, names among them."""
    config.settings.reading_validation_mode = config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    if gdcm := sys.modules.get("gdcm"):
        gdcm.Trace.WarningOff()
        gdcm.Trace.ErrorOff()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _open(data: bytes, max_pixels: int) -> Dataset:
    """Return the header, of which nothing but the transfer syntax is checked."""
    if _inflates_beyond(data, 6 * max_pixels):
        raise DataError("its deflated data are too large; make it smaller")
    dataset = dcmread(BytesIO(data), specific_tags=TAGS, force=True)
    if "PixelData" not in dataset:
        kind = _name(dataset.get("SOPClassUID"))
        raise DataError(
            f"no pixel data in it ({kind}, or cut short); choose a file that holds a picture"
        )
    element = dataset.get_item("PixelData")
    stated = getattr(element, "length", 0)
    if "TransferSyntaxUID" not in dataset.file_meta:
        if stated == ENDLESS:
            raise DataError(
                "compressed, and its Transfer Syntax UID, which says how, is missing; export it "
                "uncompressed"
            )
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    if len(element.value or b"") < stated < ENDLESS:
        raise DataError("cut short: its pixel data say that they are longer; export it again")
    return dataset


def _inflates_beyond(data: bytes, limit: int) -> bool:
    """Return whether a deflated file's data set is larger than `limit` bytes, or never ends."""
    stream = BytesIO(data)
    stream.seek(132 if data[128:132] == b"DICM" else 0)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return False
    return len(zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(), limit)) == limit


def _check_picture(dataset: Dataset, max_pixels: int) -> Decoder:
    """Check, and complete where that is safe, what decoding needs; return the decoder.

    Raises:
        DataError: The header cannot be followed, or its decoder is not installed.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if (frames := whole(dataset, "NumberOfFrames", 1) or 1) != 1:
        raise DataError(f"{frames} frames, not one picture; export a single frame")
    dataset.NumberOfFrames = 1
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    if not (0 < rows * columns <= max_pixels and rows > 0):
        raise DataError(
            f"{columns} x {rows} pixels are none or more than {max_pixels:,}; make it smaller"
        )
    photometric = text(dataset, "PhotometricInterpretation") or SHAPES.get(
        text(dataset, "PresentationLUTShape")
    )
    if not photometric:
        raise DataError(
            "Photometric Interpretation is missing, so that black and white may be swapped; export "
            "it again"
        )
    if photometric not in (*GREY, *COLOUR):
        raise DataError("its photometric interpretation is neither grey, RGB nor YBR; convert it")
    dataset.PhotometricInterpretation = photometric
    samples = 1 if photometric in GREY else 3
    if whole(dataset, "SamplesPerPixel", samples) != samples:
        raise DataError(
            "its samples a pixel do not fit its photometric interpretation; export it again"
        )
    allocated = whole(dataset, "BitsAllocated")
    if allocated not in ((8, 16, 32) if samples == 1 else (8,)):
        raise DataError(f"{allocated} bits allocated (Bits Allocated); export it with 8 or 16")
    stored = whole(dataset, "BitsStored", min(allocated, 16))
    if not 8 <= stored <= (16 if samples == 1 else 8):
        raise DataError(f"{stored} bits stored, not 8 to 16 of grey or 8 of colour; convert it")
    if stored > allocated:
        raise DataError(f"Bits Stored, {stored}, is more than Bits Allocated, {allocated}; mend it")
    if whole(dataset, "HighBit", stored - 1) != stored - 1:
        raise DataError("its values do not fill the lowest bits (High Bit); export it again")
    if (signed := whole(dataset, "PixelRepresentation", 0)) not in (0, 1):
        raise DataError("Pixel Representation is neither 0 nor 1; export it again")
    if samples == 3:
        dataset.PlanarConfiguration = whole(dataset, "PlanarConfiguration")
    dataset.SamplesPerPixel, dataset.Rows, dataset.Columns = samples, rows, columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, stored, stored - 1
    dataset.PixelRepresentation = signed
    return _check_data(dataset, syntax)


def _check_data(dataset: Dataset, syntax: UID) -> Decoder:
    """Return the decoder for pixel data that are as large as the header says.

    Raises:
        DataError: They are not, or there is no such decoder.
    """
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise DataError(
            f"its Transfer Syntax UID ({_name(syntax)}) is of no still picture that is known; "
            "export it uncompressed"
        ) from error
    if not decoder.is_available:
        raise DataError(
            f"compressed ({_name(syntax)}), for which no decoder is installed; "
            f"{_remedy(syntax, helpless=True)}"
        )
    if syntax.is_compressed:
        if not _frame_fits(dataset):
            raise DataError(
                "its compressed picture has another size than its header says; export it again"
            )
        return decoder
    samples = 2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else dataset.SamplesPerPixel
    size = dataset.Rows * dataset.Columns * samples * dataset.BitsAllocated // 8
    found = len(dataset.PixelData)
    if not size <= found <= size + max(1, math.floor(SLACK * size)):
        problem = "cut short, or a" if found < size else "a"
        raise DataError(
            f"its pixel data hold {found:,} bytes where Rows ({dataset.Rows}), Columns "
            f"({dataset.Columns}) and Bits Allocated ({dataset.BitsAllocated}) ask for {size:,}: "
            f"{problem} wrong header; export it again"
        )
    return decoder


def _decode(dataset: Dataset, decoder: Decoder, *, expendable: bool) -> npt.NDArray[np.integer]:
    """Return the stored values by the first decoder that can read them, the safe ones first."""
    plugins = decoder.available_plugins or ("",)
    for plugin in sorted(plugins, key=IN_PROCESS.__contains__, reverse=True):
        if plugin not in IN_PROCESS and not expendable:
            raise NeedsProcessError
        with suppress(Exception):
            return pixel_array(dataset, decoding_plugin=plugin)
    raise DataError(
        f"its picture ({_name(decoder.UID)}) is broken, cut short or unknown to the installed "
        f"decoders; {_remedy(decoder.UID, helpless=not gdcm.is_available(decoder.UID))}"
    )


def _remedy(syntax: UID, *, helpless: bool) -> str:
    """Return what to do with a picture; `helpless`: without the decoder that an extra installs."""
    if helpless and syntax in gdcm.DECODER_DEPENDENCIES:
        return "pip install 'xrj[dicom]', or export it uncompressed"
    return "export it uncompressed"


def _check_content(dataset: Dataset) -> tuple[str, ...]:
    """Return what is doubtful of a frontal chest radiograph for people to look at.

    Raises:
        DataError: The header states that it is none.
    """
    if (text(dataset, "Modality") or RADIOGRAPHS[0]) not in RADIOGRAPHS:
        raise DataError("no radiograph by its Modality; choose a chest X-ray")
    if text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        raise DataError(
            "raw detector data (Presentation Intent Type); export the picture for presentation"
        )
    if text(dataset, "BurnedInAnnotation") == "YES":
        raise DataError(
            "text that may name the patient is burned into it (Burned In Annotation); "
            "blank it out or export the picture without"
        )
    parts = {
        body_part(text(dataset, "BodyPartExamined")),
        body_part(meanings(dataset, "AnatomicRegionSequence")),
    }
    if "other" in parts and "chest" not in parts:
        raise DataError(
            "another body part than the chest (Body Part Examined); choose a chest X-ray"
        )
    view = text(dataset, "ViewPosition") or meanings(dataset, "ViewCodeSequence")
    across, down = _directions(dataset)
    if source := lateral_by(view, down if across in HEAD_TO_FOOT else across):
        tag = {"view_position": "View Position", "orientation": "Patient Orientation"}[source]
        raise DataError(f"a lateral view ({tag}); choose the frontal one")
    if "unknown" in parts and "chest" not in parts:
        return ("Its Body Part Examined is none that is known here; make sure it is a chest.",)
    return ()


def _directions(dataset: Dataset) -> tuple[str, str]:
    """Return where in the patient rows and columns run to, such as L and F; "" where unsaid."""
    stated = np.atleast_1d(dataset.get("PatientOrientation") or "")
    across, down, *_ = *(str(one).strip().upper()[:1] for one in stated), ""
    return across, down


def _upright(grey: npt.NDArray[np.uint8], dataset: Dataset) -> npt.NDArray[np.uint8]:
    """Turn a picture until rows run to the patient's left and columns to the feet.

    Where Patient Orientation does not say both directions of a frontal view, it stays as it is.
    """
    across, down = _directions(dataset)
    if across in HEAD_TO_FOOT and down in SIDE_TO_SIDE:
        grey, across, down = grey.T, down, across
    if across in SIDE_TO_SIDE and down in HEAD_TO_FOOT:
        grey = grey[:: 1 if down == "F" else -1, :: 1 if across == "L" else -1]
    return np.ascontiguousarray(grey)


def _name(uid: str | None) -> str:
    """Return the standard's name for a UID; nothing of a private one."""
    uid = UID(uid or "")
    return uid.name if uid.name != str(uid) else "unknown"


def _frame_fits(dataset: Dataset) -> bool:
    """Return whether a compressed frame is as large as the header says, without decoding it.

    A JP2 header before JPEG 2000, which DICOM forbids, is cut off: a broken one makes pydicom
    search for ever.
    """
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if dataset.file_meta.TransferSyntaxUID == RLELossless:
        # Says nothing of its size; but no honest encoder makes the data larger than they are.
        return len(frame) <= 64 + 2 * rows * columns * dataset.SamplesPerPixel * 2
    if (start := frame.find(b"\xff\x4f\xff\x51")) >= 0:  # JPEG 2000: SOC, SIZ
        dataset.PixelData = encapsulate([frame[start:]])
        right, bottom, left, top = unpack_from(">4I", frame, start + 8)
        return (bottom - top, right - left) == (rows, columns)
    at = 2
    while frame[at] == 0xFF:  # JPEG, JPEG-LS: segments up to a start of frame
        if 0xC0 <= frame[at + 1] <= 0xCF and frame[at + 1] not in (0xC4, 0xC8, 0xCC):
            break
        if frame[at + 1] == 0xF7:
            break
        at += 2 + unpack_from(">H", frame, at + 2)[0]
    return unpack_from(">2H", frame, at + 5) == (rows, columns)
