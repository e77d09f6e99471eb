"""From a DICOM file's stored values to what a viewer shows."""

import math
from contextlib import suppress

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from xrj.datamodules.dicom_header import numbers, text, whole
from xrj.datamodules.greys import Decoded, Floats, as_bytes, between, grey_range, histogram
from xrj.errors import DataError

Stored = npt.NDArray[np.int64]
_BROKEN_RESCALING = (
    "broken rescaling: Rescale Slope or Rescale Intercept is no number that can be used; export "
    "it again"
)


def show(pixels: npt.NDArray[np.integer], dataset: Dataset) -> Decoded:
    """Apply what the header says of stored values, to each value once.

    Modality LUT or rescaling, then VOI LUT or window, the first that is usable, then MONOCHROME1
    inverted. Without a usable one of these, values of 8 bits keep their order and distances over
    the whole range, and those of more are stretched; see `greys.grey_range`.

    Args:
        pixels: (H, W), of up to 16 bits stored, signed or not.
        dataset: The header.

    Raises:
        DataError: A field says nothing that can be followed. The message begins with its name.
    """
    pixels = pixels.astype(f"{pixels.dtype.kind}{min(pixels.itemsize, 2)}")
    codes = pixels.view(f"u{pixels.itemsize}")
    stored: Stored = (
        np.arange(1 << (8 * pixels.itemsize)).astype(codes.dtype).view(pixels.dtype)
    ).astype(np.int64)
    values = _modality(stored, dataset)
    shares, doubts = _voi(values, dataset)
    if shares is None:
        bits = whole(dataset, "BitsStored")
        least = -(1 << bits) >> 1 if pixels.dtype.kind == "i" else 0
        counts = ((stored >= least) & (stored < least + (1 << bits))).astype(np.int64)
        if bits > 8:
            counts = histogram(codes) * ~_is_padding(stored, dataset)
            black, white = grey_range(values, counts)
        else:
            black, white = values[counts > 0].min(), values[counts > 0].max()
        shares = between(values, black, white)
    if not np.isfinite(shares).all():
        raise DataError(_BROKEN_RESCALING)
    grey = as_bytes(shares)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return Decoded(grey[codes], doubts)


def _modality(stored: Stored, dataset: Dataset) -> Floats:
    if dataset.get("ModalityLUTSequence"):
        try:
            return _look_up(stored, dataset, "ModalityLUTSequence")
        except Exception as error:  # pydicom raises nearly anything on a broken field
            raise DataError("Modality LUT Sequence is broken; export it again") from error
    slope, intercept = (
        (numbers(dataset, keyword) or [usual])[0]
        for keyword, usual in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope):
        raise DataError(_BROKEN_RESCALING)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(stored * slope + intercept, dtype=np.float64)


def _voi(values: Floats, dataset: Dataset) -> tuple[Floats | None, tuple[str, ...]]:
    """Return where VOI LUT or window put values between black, 0, and white, 1; None without.

    Beside them a sentence where one is there and cannot be used.
    """
    doubts: tuple[str, ...] = ()
    if dataset.get("VOILUTSequence"):
        with suppress(Exception):  # as above
            shown = _look_up(np.rint(values).astype(np.int64), dataset, "VOILUTSequence")
            return shown / max(shown.max(), 1.0), ()
        doubts = ("VOI LUT Sequence is broken and was passed over.",)
    centres, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    windows = [
        (centre, width)
        for centre, width in zip(centres, widths, strict=False)
        if math.isfinite(centre) and math.isfinite(width) and width > 0
    ]
    if not windows:
        if centres and widths:
            doubts += (
                "Window Center or Window Width is no number that can be used; grey values were "
                "stretched instead.",
            )
        return None, doubts
    centre, width = windows[0]
    function = text(dataset, "VOILUTFunction")
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-4 * (values - centre) / width)), doubts
    if function != "LINEAR_EXACT":
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return (values - centre) / width + 0.5, doubts


def _look_up(values: Stored, dataset: Dataset, sequence: str) -> Floats:
    """Return what a sequence's first table gives for values; its ends count beyond them."""
    item = dataset[sequence].value[0]
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        packed = bits <= 8 and len(data) < 2 * (entries or 1 << 16)
        data = np.frombuffer(data, "u1" if packed else f"{order}u2")
    table = np.asarray(data, dtype=np.float64)[: entries or 1 << 16]
    if len(table) < (entries or 1 << 16):
        raise ValueError("a table that is shorter than it says")
    return table[np.clip(values - first, 0, len(table) - 1)]


def _is_padding(stored: Stored, dataset: Dataset) -> npt.NDArray[np.bool_]:
    """Return which stored values mean that there is no picture."""
    found = numbers(dataset, "PixelPaddingValue")
    if not found or not math.isfinite(found[0]):
        return np.zeros(len(stored), dtype=bool)
    limits = numbers(dataset, "PixelPaddingRangeLimit")
    ends = found[0], limits[0] if limits and math.isfinite(limits[0]) else found[0]
    if stored.min() < 0:  # devices write signed values as unsigned ones
        ends = ends[0] - 65536 * (ends[0] > 32767), ends[1] - 65536 * (ends[1] > 32767)
    return (stored >= min(ends)) & (stored <= max(ends))
