"""R2Gen's layout of IU X-Ray: `annotation.json` and `images/<study>/<number>.png`.

It holds no MeSH terms, so labels come from the reports or tables of another layout beside it, and
no names of images, so an image's view is that of the image with the same place in its report.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from xrj.datamodules import kaggle, openi
from xrj.datamodules.collect import collect
from xrj.datamodules.labels import LabelRule
from xrj.datamodules.paths import ImageFiles
from xrj.datamodules.records import Collection, Counts, Report
from xrj.datamodules.splits import given_split
from xrj.datamodules.text import is_empty, normal, short
from xrj.datamodules.views import View, package_views, resolve_views, view_key
from xrj.errors import DataError
from xrj.files import read_json

ANNOTATION = "annotation.json"


def read(root: Path, rules: Sequence[LabelRule], *, max_broken: float) -> Collection:
    """Read annotations and images; R2Gen's split is honoured as given.

    Args:
        root: Folder with `annotation.json`, `images/`, and, for the MeSH terms, one of
            `NLMCXR_reports.tgz`, `ecgen-radiology/` or `indiana_reports.csv`; or each entry has a
            `label`.
        rules: Label rules.
        max_broken: Share of broken XMLs, and of missing PNGs, that is passed over.

    Raises:
        DataError: The file is no such annotation, a path leads out of `images/`, a report is in
            two splits, there is nothing to take labels from, or see `collect`.
    """
    path = root / ANNOTATION
    entries = _entries(path)
    counts = Counts()
    mesh = _mesh(root, entries, max_broken, counts)
    split = given_split(((_number(entry.uid), entry.split) for entry in entries), path)
    reports: dict[str, Report] = {}
    for entry in entries:
        if entry.uid in reports:
            raise DataError(f"{path}: the id '{short(entry.uid)}' stands twice; give each once")
        number = _number(entry.uid)
        reports[entry.uid] = Report(
            uid=entry.uid,
            patient_id=number,
            findings="" if is_empty(entry.report) else " ".join(entry.report.split()),
            impression="",
            mesh=mesh.get(number, ()),
            image_ids=tuple(dict.fromkeys(entry.images)),
            split=split.patients[number],
            label=entry.label,
        )
    pictures = ImageFiles(root / "images", path)
    present = {
        name: file
        for report in reports.values()
        for name in report.image_ids
        if (file := pictures.find(name))
    }
    counts.notes += pictures.notes
    views = _views(root, list(reports.values()), counts.notes)
    return collect(
        path,
        list(reports.values()),
        rules,
        views,
        present.get,
        max_broken=max_broken,
        counts=counts,
    )


class _Entry(NamedTuple):
    split: str
    uid: str
    report: str
    images: tuple[str, ...]
    label: str


def _entries(path: Path) -> list[_Entry]:
    value = read_json(path)
    if not isinstance(value, dict) or not value:
        raise DataError(
            f'{path}: no entries; expected {{"train": [...], "val": [...], "test": [...]}}'
        )
    entries = []
    for split, items in value.items():
        if not isinstance(items, list):
            raise DataError(
                f"{path}: '{short(split)}' is {_kind(items)}, not a list of reports; mend it"
            )
        for place, item in enumerate(items, start=1):
            name = f"{path}: report {place} of '{short(split)}'"
            if not isinstance(item, dict):
                raise DataError(f"{name} is {_kind(item)}, not an object; get R2Gen's file again")
            images = item.get("image_path")
            if not isinstance(images, list):
                raise DataError(f"{name}: 'image_path' is {_kind(images)}, not a list of paths")
            entries.append(
                _Entry(
                    normal(split),
                    _text(item.get("id"), f"{name}: 'id'", numbers=True),
                    _text(item.get("report"), f"{name}: 'report'"),
                    tuple(_text(image, f"{name}: a path of 'image_path'") for image in images),
                    _text(item.get("label", ""), f"{name}: 'label'", numbers=True),
                )
            )
    if not entries:
        raise DataError(f"{path}: no entries; add the reports")
    return entries


def _text(value: object, what: str, *, numbers: bool = False) -> str:
    """Return a value of the annotation as text; `numbers` and truth values as JSON writes them.

    Raises:
        DataError: It is of another type.
    """
    if isinstance(value, str):
        return normal(value).strip()
    if numbers and isinstance(value, int):
        return json.dumps(value)
    raise DataError(f"{what} is {_kind(value)}, not a text; mend it, or get R2Gen's file again")


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "missing or null" if value is None else kinds.get(type(value), "a number")


def _number(uid: str) -> str:
    """Return the patient of a report: the number in an id such as `CXR2384_IM-0942`.

    An id of any other form, such as one that begins with a year, is a patient of its own.
    """
    match = re.fullmatch(r"(?:CXR)?(\d+)(?:(?:_\d+)?_IM-[\d-]+)?", uid)
    return match.group(1) if match else uid


def _mesh(
    root: Path, entries: Sequence[_Entry], max_broken: float, counts: Counts
) -> dict[str, tuple[str, ...]]:
    """Return MeSH terms by report number, from what stands beside the annotation."""
    if openi.has_reports(root):
        reports = openi.read_reports(root, counts, max_broken=max_broken)
    elif (root / kaggle.REPORTS).is_file():
        reports = kaggle.read_reports(root, {}, counts.notes)
    elif any(entry.label for entry in entries):
        return {}
    else:
        raise DataError(
            f"{root / ANNOTATION}: holds no labels; put {openi.REPORT_ARCHIVE} beside it "
            "(python -m xrj.datamodules.download --reports-only) or give each entry a 'label'"
        )
    return {report.uid.removeprefix("CXR"): report.mesh for report in reports}


def _views(root: Path, reports: Sequence[Report], notes: list[str]) -> dict[str, View]:
    """Resolve views by the place of an image among those of its study (`0.png` is the first)."""
    views = resolve_views((report.image_ids for report in reports), notes, root)
    studies: dict[str, list[str]] = {}
    for key in sorted(package_views()):
        studies.setdefault(key.rsplit("-", 1)[0], []).append(key)
    for report in reports:
        study = studies.get(view_key(report.uid), [])
        for name in report.image_ids:
            place = re.search(r"(\d+)\.\w+$", name)
            if views[name].kind == "unknown" and place and int(place.group(1)) < len(study):
                known = package_views()[study[int(place.group(1))]]
                views[name] = View(
                    known.position, f"{known.source}, by place" if known.source else ""
                )
    return views
