"""Which images are frontal: the Open-i files do not say.

`tools/iu_views.py` makes the package file `resources/iu_views.csv.gz`, whose README tells where the
facts come from.
"""

import csv
import gzip
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from xrj.datamodules.tabular import read_csv
from xrj.datamodules.text import short
from xrj.errors import DataError

PROJECTION_FILES = ("indiana_projections.csv", "projections.csv")
_KINDS = {"PA": "frontal", "AP": "frontal", "F": "frontal", "L": "lateral", "": "unknown"}
_NAMES = {
    "PA": ("PA", "POSTEROANTERIOR", "POSTERO-ANTERIOR"),
    "AP": ("AP", "ANTEROPOSTERIOR", "ANTERO-POSTERIOR"),
    "F": ("F", "FRONTAL"),
    "L": ("L", "LL", "RL", "LAT", "LATERAL", "LARGE LATERAL", "LEFT LATERAL", "RIGHT LATERAL"),
}
_POSITIONS = {name: position for position, names in _NAMES.items() for name in names}


class View(NamedTuple):
    """A resolved view.

    Attributes:
        position: `PA`, `AP`, `F` (frontal, PA or AP not stated), `L` or empty.
        source: What it was read from; empty when unknown.
    """

    position: str = ""
    source: str = ""

    @property
    def kind(self) -> str:
        """`frontal`, `lateral` or `unknown`."""
        return _KINDS[self.position]


def view_position(name: str) -> str:
    """Return `PA`, `AP`, `F`, `L` or empty for what a table calls a view, in any case."""
    return _POSITIONS.get(name.strip().upper(), "")


def lateral_by(position: str, orientation: str) -> str:
    """Return which DICOM header field says that a view is lateral; empty where none does.

    A lateral position outdoes everything, since devices preset frontal ones; so does an
    orientation whose rows run from front to back.

    Args:
        position: View Position.
        orientation: First value of Patient Orientation, the direction of a row: A, P, L, R, ...
    """
    if view_position(position) == "L":
        return "view_position"
    return "orientation" if orientation.strip().upper() in ("A", "P") else ""


def view_key(name: str) -> str:
    """Return what all spellings of an IU X-Ray image's name have in common.

    `CXR1_1_IM-0001-3001`, `CXR1_IM-0001-3001.png` and Kaggle's `1_IM-0001-3001.dcm.png` are the
    same image.
    """
    stem = re.sub(r"(\.dcm)?(\.(png|jpe?g))?$", "", name.strip(), flags=re.IGNORECASE)
    return re.sub(r"^(?:CXR)?(\d+)(?:_\d+)?_IM", r"CXR\1_IM", stem)


def resolve_views(
    studies: Iterable[Sequence[str]], notes: list[str], root: Path
) -> dict[str, View]:
    """Resolve the view of each image.

    Order: a projections table in `root`, the package file, elimination within a study.

    Args:
        studies: Image ids of each report.
        notes: As in `read_csv`.
        root: Where `indiana_projections.csv` or `projections.csv` may be (columns `filename` and
            `projection`).
    """
    studies = [tuple(study) for study in studies]
    views: dict[str, View] = {}
    tables = [root / name for name in PROJECTION_FILES if (root / name).is_file()]
    projections = read_projections(tables[0], notes) if tables else {}
    packaged: Mapping[str, View] | None = None
    for image_id in (image_id for study in studies for image_id in study):
        key = view_key(image_id)
        if key in projections:
            views[image_id] = View(projections[key], "projections")
        else:
            packaged = package_views() if packaged is None else packaged
            views[image_id] = packaged.get(key, View())
    eliminate(studies, views)
    return views


def eliminate(studies: Iterable[Sequence[str]], views: dict[str, View]) -> None:
    """In a study of two images of which one view is known, give the other image the other view."""
    for study in studies:
        if len(study) == 2:
            for one, other in (study, study[::-1]):
                if views[one].kind == "unknown" and views[other].kind != "unknown":
                    views[one] = View("F" if views[other].kind == "lateral" else "L", "elimination")
                    break


def read_projections(path: Path, notes: list[str]) -> dict[str, str]:
    """Read a projections table: view position by `view_key`; `notes` as in `read_csv`.

    Raises:
        DataError: The file is no such table, or holds an unknown projection.
    """
    positions = {}
    for row in read_csv(path, ("filename", "projection"), notes):
        position = view_position(row["projection"])
        if not position:
            raise DataError(
                f"{path}: unknown projection '{short(row['projection'])}' of "
                f"{short(row['filename'])}; use Frontal or Lateral"
            )
        positions[view_key(row["filename"])] = position
    return positions


@cache
def package_views() -> dict[str, View]:
    """Return the views of the 7,470 IU X-Ray images by `view_key`."""
    data = resources.files("xrj.datamodules").joinpath("resources/iu_views.csv.gz").read_bytes()
    rows = csv.DictReader(io.StringIO(gzip.decompress(data).decode()))
    return {view_key(row["image_id"]): View(row["view_position"], row["source"]) for row in rows}
