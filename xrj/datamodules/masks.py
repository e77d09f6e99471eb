"""Masks of heart and lungs beside X-rays, named in a CSV."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xrj.datamodules.decoding import MAX_PIXELS, image_format
from xrj.datamodules.images import UInt8
from xrj.datamodules.paths import inside
from xrj.datamodules.pictures import decode_picture
from xrj.datamodules.tabular import read_csv
from xrj.errors import DataError

MASKS = ("heart", "lungs")
"""Columns with the paths of masks; in this order wherever masks are stacked."""
INSIDE = 127
"""A pixel counts as inside above it."""


@dataclass(frozen=True)
class MaskRow:
    """An X-ray with what is known of its heart and lungs.

    Attributes:
        image: As the CSV names it.
        path: Of the X-ray.
        masks: Path of each mask by its column; without those that the CSV lacks.
        ctr: The cardiothoracic ratio; None without that column.
        patient_id: The image itself where the CSV names no patients.
        split: Empty where the CSV has none.
    """

    image: str
    path: Path
    masks: dict[str, Path]
    ctr: float | None
    patient_id: str
    split: str


def read_masks(path: Path, required: Sequence[str]) -> list[MaskRow]:
    """Read a CSV of X-rays with masks or ratios; paths are relative to its folder.

    Args:
        path: The CSV; columns `image`, `heart`, `lungs`, `ctr`, `patient_id`, `split`.
        required: Those of them that it must have, beside `image`, filled in each row.

    Raises:
        DataError: A column, a value or a file is missing, a path leads out of the folder, a ratio
            is no number, an image stands twice, or there is no row.
    """
    optional = [
        column for column in (*MASKS, "ctr", "patient_id", "split") if column not in required
    ]
    notes: list[str] = []
    rows = read_csv(path, ("image", *required), notes, unique="image", optional=optional)
    for note in notes:
        print(note)
    if not rows:
        raise DataError(f"{path}: holds no row; give an X-ray a row")
    found = []
    for row in rows:
        where = f"{path}: row {row.number} ({row['image']})"
        if empty := [column for column in ("image", *required) if not row[column]]:
            raise DataError(f"{where} has no {empty[0]}; fill the column or leave the row out")
        files = {
            column: inside(path.parent, row[column], path)
            for column in ("image", *MASKS)
            if row[column]
        }
        if missing := [name for name, file in files.items() if not file.is_file()]:
            raise DataError(
                f"{where}: there is no {missing[0]} {files[missing[0]]}; mend the path or leave "
                "the row out"
            )
        found.append(
            MaskRow(
                image=row["image"],
                path=files.pop("image"),
                masks=files,
                ctr=_ratio(row["ctr"], where) if row["ctr"] else None,
                patient_id=row["patient_id"] or row["image"],
                split=row["split"],
            )
        )
    return found


def _ratio(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise DataError(f"{where}: ctr is '{text}', not a ratio between 0 and 1; mend it")
    return value


def read_mask(path: Path, part: str, image: UInt8) -> UInt8:
    """Read a mask of an X-ray: 255 inside, 0 outside.

    Args:
        path: Of the mask.
        part: What it is of, for a message.
        image: The X-ray, (H, W).

    Returns:
        (H, W), 0 to 255.

    Raises:
        DataError: It cannot be read, has another size than the X-ray, or holds nothing.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if image_format(data) not in ("PNG", "JPEG"):
        raise DataError(f"{path}: a mask is a PNG or JPEG; give one")
    mask = decode_picture(data, str(path), MAX_PIXELS)
    if mask.shape != image.shape:
        (height, width), (h, w) = image.shape, mask.shape
        raise DataError(
            f"{path}: the mask of the {part} is {w} x {h} pixels and its X-ray {width} x {height}; "
            "give it the size of the X-ray"
        )
    if not np.any(mask > INSIDE):
        raise DataError(
            f"{path}: the mask of the {part} is empty; paint what lies inside with 255, or leave "
            "the row out"
        )
    return mask
