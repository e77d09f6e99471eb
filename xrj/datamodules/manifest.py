"""Any data set as a CSV: one row an image."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from xrj.datamodules.collect import refuse_nothing
from xrj.datamodules.labels import match_labels
from xrj.datamodules.paths import ImageFiles
from xrj.datamodules.records import Collection, Counts, ImageRecord, TextRecord
from xrj.datamodules.splits import given_split
from xrj.datamodules.tabular import Row, read_csv
from xrj.datamodules.text import folded, is_empty, listed, short
from xrj.datamodules.views import View, view_position
from xrj.errors import DataError

COLUMNS = ("image", "patient_id", "label", "findings")
OPTIONAL = ("view", "split", "report_uid")


def read(
    path: Path, labels: Sequence[str], *, max_broken: float, folder: Path | None = None
) -> Collection:
    """Read a manifest.

    Columns: `image` (path relative to `folder`, and the image's id), `patient_id`,
    `label`, `findings`; optional `view` (PA, AP, frontal, L, lateral: without this column all are
    frontal), `split` (train, val, test) and `report_uid` (images of one report share it).
    A row whose label is not in `labels`, in whatever case, is text for the autoencoder only.

    Args:
        path: The CSV file.
        labels: Label names.
        max_broken: Share of missing image files that is passed over.
        folder: Where the images' paths begin; that of the CSV by default.

    Raises:
        DataError: See `read_csv`; an image stands twice or lies outside the folder, a patient is
            missing or in two splits, a report has two patients or texts, only some rows have a
            split, too many files are missing, or no row is left.
    """
    counts = Counts()
    rows = read_csv(path, COLUMNS, counts.notes, unique="image", optional=OPTIONAL)
    _check_patients(path, rows, counts)
    _check_splits(path, rows)
    _check_reports(path, rows)
    chosen = match_labels(path, Counter(row["label"] for row in rows), labels, counts)
    has_view = any(row["view"] for row in rows)
    counts.steps.append(
        ("rows read", len({row["report_uid"] or row["image"] for row in rows}), len(rows))
    )
    folder = folder or path.parent
    files = ImageFiles(folder, path)
    found: dict[Path, Row] = {}
    images, texts, absent = [], [], set()
    for row in rows:
        uid, split = row["report_uid"] or row["image"], row["split"] or None
        findings = "" if is_empty(row["findings"]) else " ".join(row["findings"].split())
        file = files.find(row["image"])
        if file and (other := found.setdefault(file, row)) is not row:
            raise DataError(
                f"{path}: rows {other.number} and {row.number} name the same image, {file}; "
                "give each once"
            )
        label = chosen.get(row["label"])
        if label is None:
            if findings:
                texts.append(TextRecord(uid, row["patient_id"], findings, split))
            continue
        if file is None:
            absent.add(row["image"])
        view = View(view_position(row["view"]) if has_view else "F")
        position = view.position if view.position != "F" else ""
        images.append(
            ImageRecord(
                row["image"],
                file or folder / row["image"],
                row["patient_id"],
                uid,
                view.kind,
                label,
                findings,
                split,
                position,
            )
        )
    counts.notes += files.notes
    counts.step("with one of the labels", images)
    with_findings = [image for image in images if image.findings]
    counts.step("with findings", with_findings)
    frontal = [image for image in with_findings if image.view == "frontal"]
    counts.step("frontal view", frontal)
    present = [image for image in frontal if image.image_id not in absent]
    counts.step("image file present", present)
    counts.details.append(("rows with another label", len(rows) - len(images)))
    counts.skipped = [
        f"{image.path}: image file is missing" for image in frontal if image.image_id in absent
    ]
    if len(counts.skipped) > max_broken * len(frontal):
        missing = next(image.path for image in frontal if image.image_id in absent)
        raise DataError(
            f"{path}: {len(counts.skipped):,} of {len(frontal):,} image files are missing, such as "
            f"{missing} ({files.beside(missing)}); add them or raise data.max_broken"
        )
    unknown = Counter(row["view"] for row in rows if row["view"] and not view_position(row["view"]))
    if unknown:
        counts.notes.append(
            f"{path}: views that are neither frontal nor lateral are left out: {listed(unknown)}"
        )
    if not present:
        refuse_nothing(path, counts, labels, Counter(row["view"] or "empty" for row in rows))
    texts = list({text.report_uid: text for text in texts}.values())
    return Collection(present, texts, counts)


def _check_patients(path: Path, rows: Sequence[Row], counts: Counts) -> None:
    """Check that each row has a patient; note ids that may be two spellings of one."""
    spellings: dict[str | float, set[str]] = {}
    for row in rows:
        name = row["patient_id"]
        if is_empty(name):
            raise DataError(
                f"{path}: row {row.number} ({short(row['image'])}) has no patient_id; "
                "give one, so that splits keep patients apart"
            )
        try:
            spellings.setdefault(float(name), set()).add(name)
        except ValueError:
            spellings.setdefault(folded(name), set()).add(name)
    if alike := [sorted(ids) for ids in spellings.values() if len(ids) > 1]:
        names = "', '".join(alike[0][:3])
        counts.notes.append(
            f"{path}: {len(alike):,} patient ids are written in several ways and taken for several "
            f"patients, such as '{names}'; write one patient in one way"
        )


def _check_splits(path: Path, rows: Sequence[Row]) -> None:
    with_split = [row for row in rows if row["split"]]
    if with_split and len(with_split) < len(rows):
        raise DataError(
            f"{path}: {len(rows) - len(with_split):,} rows have no split while others have; "
            "fill the column or leave it out"
        )
    given_split(((row["patient_id"], row["split"]) for row in with_split), path)


def _check_reports(path: Path, rows: Sequence[Row]) -> None:
    """Check that the rows of a report have one text, since only one of them is used.

    They may be of several patients: public sets pair X-rays with reports of the same label.
    """
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row["report_uid"], row) if row["report_uid"] else row
        if other["findings"] != row["findings"]:
            raise DataError(
                f"{path}: rows {other.number} and {row.number} have the report_uid "
                f"'{short(row['report_uid'])}' and differ in findings; give each report its own"
            )
