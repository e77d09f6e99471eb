"""Any data set as a CSV: one row an image."""

from collections.abc import Sequence
from pathlib import Path

from xrj.datamodules.records import Collection, Counts, ImageRecord, TextRecord
from xrj.datamodules.splits import given_split
from xrj.datamodules.tabular import inside, read_csv
from xrj.datamodules.views import View, view_position
from xrj.errors import DataError

COLUMNS = ("image", "patient_id", "label", "findings")
OPTIONAL = ("view", "split", "report_uid")


def read(path: Path, labels: Sequence[str], *, max_broken: float) -> Collection:
    """Read a manifest.

    Columns: `image` (path relative to the CSV's folder, and the image's id), `patient_id`,
    `label`, `findings`; optional `view` (PA, AP, frontal, L, lateral: without this column all are
    frontal), `split` (train, val, test) and `report_uid` (images of one report share it).
    A row whose label is not in `labels` is text for the autoencoder only.

    Args:
        path: The CSV file.
        labels: Label names.
        max_broken: Share of missing image files that is passed over.

    Raises:
        DataError: A column is missing, an image stands twice or lies outside the folder, a patient
            is missing or in two splits, only some rows have a split, too many files are missing,
            or no row is left.
    """
    rows = read_csv(path, COLUMNS, unique="image", optional=OPTIONAL)
    has_view = any(row["view"] for row in rows)
    _check_splits(path, rows)
    counts = Counts()
    counts.steps.append(
        ("rows read", len({row["report_uid"] or row["image"] for row in rows}), len(rows))
    )
    images, texts = [], []
    for number, row in enumerate(rows, start=2):
        if not row["patient_id"]:
            raise DataError(
                f"{path}: row {number} ({row['image']}) has no patient_id; "
                "give one, so that splits keep patients apart"
            )
        file = inside(path.parent, row["image"], path)
        uid, findings, split = (
            row["report_uid"] or row["image"],
            " ".join(row["findings"].split()),
            row["split"] or None,
        )
        if row["label"] not in labels:
            if findings:
                texts.append(TextRecord(uid, row["patient_id"], findings, split))
            continue
        view = View(view_position(row["view"]) if has_view else "F")
        position = view.position if view.position != "F" else ""
        images.append(
            ImageRecord(
                row["image"],
                file,
                row["patient_id"],
                uid,
                view.kind,
                row["label"],
                findings,
                split,
                position,
            )
        )
    counts.step("with one of the labels", images)
    with_findings = [image for image in images if image.findings]
    counts.step("with findings", with_findings)
    frontal = [image for image in with_findings if image.view == "frontal"]
    counts.step("frontal view", frontal)
    present = [image for image in frontal if image.path.is_file()]
    counts.step("image file present", present)
    counts.details.append(("rows with another label", len(rows) - len(images)))
    counts.skipped = [
        f"{image.path}: image file is missing" for image in frontal if not image.path.is_file()
    ]
    if len(counts.skipped) > max_broken * len(frontal):
        raise DataError(
            f"{path}: {len(counts.skipped):,} of {len(frontal):,} image files are missing, such as "
            f"{counts.skipped[0].split(':')[0]}; add them or raise data.max_broken"
        )
    if not present:
        raise DataError(
            f"{path}: no row is left with a label of {', '.join(labels)}, findings and a frontal "
            "image; check data.labels"
        )
    texts = list({text.report_uid: text for text in texts}.values())
    return Collection(present, texts, counts)


def _check_splits(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with_split = [row for row in rows if row["split"]]
    if with_split and len(with_split) < len(rows):
        raise DataError(
            f"{path}: {len(rows) - len(with_split):,} rows have no split while others have; "
            "fill the column or leave it out"
        )
    given_split(((row["patient_id"], row["split"]) for row in with_split), path)
