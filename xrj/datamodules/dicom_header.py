"""Fields of a DICOM header, read from whatever devices write into them."""

import re
from contextlib import suppress

import numpy as np
from pydicom import Dataset
from pydicom.charset import decode_bytes
from pydicom.datadict import dictionary_description, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from xrj.errors import DataError

BINARY = ("US", "SS", "UL", "SL", "FD", "FL", "UV", "SV", "SQ")


def whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return a field's whole number.

    Args:
        dataset: The file's.
        keyword: The field's.
        default: Of a field that is missing or empty; without it, such a field is refused.

    Raises:
        DataError: The field holds none. The message begins with its name.
    """
    found = numbers(dataset, keyword)
    if not found and default is not None:
        return default
    if not found or not float(found[0]).is_integer():
        raise DataError(
            f"{title(keyword)} is {'no whole number' if found else 'missing'}; export it again"
        )
    return int(found[0])


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """Return a field's numbers; NaN for what is none, nothing where it is missing or empty.

    A decimal comma counts as a point.
    """
    raw = _text_bytes(dataset, keyword)
    if raw is not None:
        return [_number(part) for part in raw.decode("latin-1").split("\\") if part.strip(" \0")]
    with suppress(Exception):  # pydicom raises nearly anything on a value that is none of its type
        value = dataset.get(keyword)
        return [] if value is None else [float(one) for one in np.atleast_1d(value)]
    return [float("nan")]


def text(dataset: Dataset, keyword: str) -> str:
    """Return a field's text in capitals, in the character set that it is written in.

    Devices declare none, or another, and pydicom reads code strings as Latin-1.
    """
    raw = _text_bytes(dataset, keyword)
    found = ""
    with suppress(Exception):  # as above
        if raw is None:
            found = str(dataset.get(keyword) or "")
        elif b"\x1b" in raw:  # ISO 2022, which looks like ASCII
            found = _declared(raw, dataset)
        else:
            found = raw.decode()
    if raw and not found:
        found = _declared(raw, dataset)
    return found.strip(" \0").upper()


def _declared(raw: bytes, dataset: Dataset) -> str:
    encodings = dataset.original_character_set or "latin-1"
    return decode_bytes(raw, [encodings] if isinstance(encodings, str) else list(encodings), set())


def meanings(dataset: Dataset, sequence: str) -> str:
    """Return value and meaning of the first code in a sequence."""
    with suppress(Exception):  # as above
        item = dataset[sequence].value[0]
        return f"{item.get('CodeValue', '')} {item.get('CodeMeaning', '')}".strip()
    return ""


def title(keyword: str) -> str:
    """Return a field's name in words, such as "Bits Stored"."""
    return re.sub(r"\(s\)|'s\b", "", dictionary_description(keyword))


def _text_bytes(dataset: Dataset, keyword: str) -> bytes | None:
    """Return a field's bytes as the file holds them; None for one that is not written as text."""
    tag = Tag(keyword)
    element = dataset.get_item(tag) if tag in dataset else None
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        return None
    return None if (element.VR or dictionary_VR(tag)[:2]) in BINARY else element.value


def _number(part: str) -> float:
    try:
        return float(part.strip(" \0").replace(",", "."))
    except ValueError:
        return float("nan")
