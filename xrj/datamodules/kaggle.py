"""Kaggle's CSV layout of IU X-Ray: `indiana_reports.csv`, `indiana_projections.csv`, PNGs."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from xrj.datamodules.collect import collect
from xrj.datamodules.labels import LabelRule
from xrj.datamodules.records import Collection, Counts, Report
from xrj.datamodules.tabular import inside, read_csv
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
    files: dict[str, list[str]] = defaultdict(list)
    paths: dict[str, Path] = {}
    folders = [folder for name in IMAGE_FOLDERS if (folder := root / name).is_dir()]
    for row in read_csv(root / PROJECTIONS, ("uid", "filename", "projection")):
        image_id = view_key(row["filename"])
        files[row["uid"]].append(image_id)
        for folder in folders[:1]:
            path = inside(folder, row["filename"], root / PROJECTIONS)
            if path.is_file():
                paths[image_id] = path
    reports = read_reports(root, files)
    views = resolve_views((report.image_ids for report in reports), root)
    return collect(root, reports, rules, views, paths.get, max_broken=max_broken, counts=Counts())


def read_reports(root: Path, files: dict[str, list[str]]) -> list[Report]:
    """Read `indiana_reports.csv`; `files` holds the image ids by `uid`."""
    return [
        Report(
            uid=f"CXR{row['uid']}",
            patient_id=row["uid"],
            findings=row["findings"],
            impression=row["impression"],
            mesh=tuple(term.strip() for term in row["MeSH"].split(";") if term.strip()),
            image_ids=tuple(dict.fromkeys(files.get(row["uid"], ()))),
        )
        for row in read_csv(root / REPORTS, ("uid", "MeSH", "findings", "impression"), unique="uid")
    ]
