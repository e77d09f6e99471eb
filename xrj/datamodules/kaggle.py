"""Kaggle's CSV layout of IU X-Ray: `indiana_reports.csv`, `indiana_projections.csv`, PNGs."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from xrj.datamodules.collect import collect
from xrj.datamodules.labels import LabelRule
from xrj.datamodules.paths import ImageFiles
from xrj.datamodules.records import Collection, Counts, Report
from xrj.datamodules.tabular import read_csv
from xrj.datamodules.text import is_empty
from xrj.datamodules.views import resolve_views, view_key

REPORTS = "indiana_reports.csv"
PROJECTIONS = "indiana_projections.csv"
IMAGE_FOLDERS = ("images/images_normalized", "images_normalized", "images")


def read(root: Path, rules: Sequence[LabelRule], *, max_broken: float) -> Collection:
    """Read the two tables and find the images.

    Args:
        root: Folder with `indiana_reports.csv`, `indiana_projections.csv` and
            `images/images_normalized/`.
        rules: Label rules over the `MeSH` column.
        max_broken: Share of missing PNGs that is passed over.

    Raises:
        DataError: A table or a column is missing, or see `collect`.
    """
    counts = Counts()
    table = root / PROJECTIONS
    folders = [root / name for name in IMAGE_FOLDERS if (root / name).is_dir()]
    pictures = ImageFiles(folders[0] if folders else root, table)
    files: dict[str, list[str]] = defaultdict(list)
    paths: dict[str, Path] = {}
    for row in read_csv(table, ("uid", "filename", "projection"), counts.notes, unique="filename"):
        image_id = view_key(row["filename"])
        files[_number(row["uid"])].append(image_id)
        if path := pictures.find(row["filename"]):
            paths[image_id] = path
    counts.notes += pictures.notes
    reports = read_reports(root, files, counts.notes)
    views = resolve_views((report.image_ids for report in reports), counts.notes, root)
    return collect(root, reports, rules, views, paths.get, max_broken=max_broken, counts=counts)


def read_reports(root: Path, files: Mapping[str, Sequence[str]], notes: list[str]) -> list[Report]:
    """Read `indiana_reports.csv`; `files`: image ids by `uid`; `notes` as in `read_csv`."""
    columns = ("uid", "MeSH", "findings", "impression")
    return [
        Report(
            uid=f"CXR{(number := _number(row['uid']))}",
            patient_id=number,
            findings="" if is_empty(row["findings"]) else " ".join(row["findings"].split()),
            impression=row["impression"],
            mesh=tuple(term.strip() for term in row["MeSH"].split(";") if not is_empty(term)),
            image_ids=tuple(dict.fromkeys(files.get(number, ()))),
        )
        for row in read_csv(root / REPORTS, columns, notes, unique="uid")
    ]


def _number(uid: str) -> str:
    """Return a report's number, which programs may have written as `7.0`."""
    return re.sub(r"^(\d+)\.0+$", r"\1", uid)
