"""R2Gen's layout of IU X-Ray: `annotation.json` and `images/<study>/<number>.png`.

It holds no MeSH terms, so labels come from the reports or tables of another layout beside it, and
no names of images, so an image's view is that of the image with the same place in its report.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xrj.datamodules import kaggle, openi
from xrj.datamodules.collect import collect
from xrj.datamodules.labels import LabelRule
from xrj.datamodules.records import Collection, Counts, Report
from xrj.datamodules.splits import given_split
from xrj.datamodules.tabular import inside
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
    split = given_split(((_number(entry), entry["split"]) for entry in entries), path)
    reports: dict[str, Report] = {}
    for entry in entries:
        if entry["id"] in reports:
            raise DataError(f"{path}: the id '{entry['id']}' stands twice; give each once")
        number = _number(entry)
        reports[entry["id"]] = Report(
            uid=entry["id"],
            patient_id=number,
            findings=" ".join(entry["report"].split()),
            impression="",
            mesh=mesh.get(number, ()),
            image_ids=tuple(dict.fromkeys(entry["image_path"])),
            split=split.patients[number],
            label=entry.get("label"),
        )
    files = {
        name: inside(root / "images", name, path)
        for report in reports.values()
        for name in report.image_ids
    }
    present = {name: file for name, file in files.items() if file.is_file()}
    views = _views(root, list(reports.values()))
    return collect(
        path,
        list(reports.values()),
        rules,
        views,
        present.get,
        max_broken=max_broken,
        counts=counts,
    )


def _entries(path: Path) -> list[dict[str, Any]]:
    value = read_json(path)
    entries = []
    for split, items in value.items() if isinstance(value, dict) else ():
        for item in items if isinstance(items, list) else (None,):
            if not isinstance(item, dict) or not all(
                (
                    isinstance(item.get("id"), str),
                    isinstance(item.get("report"), str),
                    isinstance(item.get("image_path"), list),
                )
            ):
                raise DataError(
                    f"{path}: an entry of '{split}' lacks 'id', 'report' or 'image_path'; "
                    "get R2Gen's file again"
                )
            entries.append(
                {**item, "split": split, "image_path": [str(name) for name in item["image_path"]]}
            )
    if not entries:
        raise DataError(
            f'{path}: no entries; expected {{"train": [...], "val": [...], "test": [...]}}'
        )
    return entries


def _number(entry: dict[str, Any]) -> str:
    """Return the report number in an id such as `CXR2384_IM-0942`; it names the patient."""
    match = re.match(r"(?:CXR)?(\d+)", entry["id"])
    return match.group(1) if match else str(entry["id"])


def _mesh(
    root: Path, entries: Sequence[dict[str, Any]], max_broken: float, counts: Counts
) -> dict[str, tuple[str, ...]]:
    """Return MeSH terms by report number, from what stands beside the annotation."""
    if openi.has_reports(root):
        reports, counts.skipped = openi.read_reports(root, max_broken=max_broken)
    elif (root / kaggle.REPORTS).is_file():
        reports = kaggle.read_reports(root, {})
    elif all(entry.get("label") for entry in entries):
        return {}
    else:
        raise DataError(
            f"{root / ANNOTATION}: holds no labels; put {openi.REPORT_ARCHIVE} beside it "
            "(python -m xrj.datamodules.download --reports-only) or give each entry a 'label'"
        )
    return {report.uid.removeprefix("CXR"): report.mesh for report in reports}


def _views(root: Path, reports: Sequence[Report]) -> dict[str, View]:
    """Resolve views by the place of an image among those of its study (`0.png` is the first)."""
    views = resolve_views((report.image_ids for report in reports), root)
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
