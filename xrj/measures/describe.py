"""Findings for X-rays that have labels and no reports: what label and ruler say of the heart.

The label chooses the sentences, the measured cardiothoracic ratio the grade; nothing is said that
neither knows. Sentences are those of the phantom's grammar, but for words that compare with an
earlier X-ray.

`python -m xrj.measures.describe --csv FILE --out FILE` writes a manifest with them.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrj.datamodules.commands import run_command
from xrj.datamodules.images import read_image
from xrj.datamodules.paths import ImageFiles
from xrj.datamodules.phantom_reports import HEART_GRADED, HEART_NORMAL, HEART_PLAIN, HEART_UPPER
from xrj.datamodules.tabular import read_csv
from xrj.errors import DataError
from xrj.files import atomic_path
from xrj.measures.ctr import measure_chest
from xrj.seeding import numpy_rng

COLUMNS = ("image", "patient_id", "label")
OPTIONAL = ("view", "split")
UPPER = 0.5
"""Least ratio at which a heart that is labelled normal is at the upper limits of normal."""
GRADES = {"mild": 0.55, "moderate": 0.6, "severe": 1.0}
"""Largest ratio of each grade of an enlarged heart."""
PART = 64
"""X-rays that are held at once."""


def findings(label: str, ctr: float | None, rng: np.random.Generator) -> str:
    """Return a sentence on the heart.

    Args:
        label: "normal" or "cardiomegaly".
        ctr: The cardiothoracic ratio; None where it is not measured with confidence.
        rng: Chooses the words.
    """
    sentences: Sequence[str]
    if label == "normal":
        sentences = HEART_UPPER if ctr is not None and ctr >= UPPER else HEART_NORMAL
    elif ctr is None or ctr < 0.5:  # the label says so, and the ruler does not say how much
        sentences = HEART_PLAIN
    else:
        sentences = HEART_GRADED
    grade = next((name for name, most in GRADES.items() if (ctr or 0) <= most), "severe")
    single = [one for one in sentences if "stable" not in one.lower()]
    return single[int(rng.integers(len(single)))].format(grade=grade)


def describe(path: Path, folder: Path, seed: int = 0) -> list[dict[str, str]]:
    """Return the rows of a manifest, each with findings in place of those it had.

    Args:
        path: A CSV with `COLUMNS` and perhaps `OPTIONAL`.
        folder: Where the images' paths begin.
        seed: Of the words.

    Raises:
        DataError: The CSV or an image cannot be read, or a label is neither "normal" nor
            "cardiomegaly".
    """
    rows = read_csv(path, COLUMNS, [], unique="image", optional=OPTIONAL)
    for row in rows:
        if row["label"] not in ("normal", "cardiomegaly"):
            raise DataError(
                f"{path}: row {row.number} is labelled '{row['label']}'; sentences are known for "
                "normal and cardiomegaly alone, so give such rows findings of your own"
            )
    files = ImageFiles(folder, path)
    described = []
    for start in range(0, len(rows), PART):
        part = rows[start : start + PART]
        for row, ctr in zip(part, _ratios(part, files), strict=True):
            rng = numpy_rng(seed, "describe", row["image"])
            described.append({**row, "findings": findings(row["label"], ctr, rng)})
    return described


def _ratios(rows: Sequence[dict[str, str]], files: ImageFiles) -> list[float | None]:
    pictures = []
    for row in rows:
        if (found := files.find(row["image"])) is None:
            raise DataError(
                f"{files.source}: there is no image {files.folder / row['image']}; "
                "add it or remove its row"
            )
        pictures.append(read_image(found))
    return [chest.ctr if chest.confident else None for chest in measure_chest(pictures)]


def main() -> None:
    """Write a manifest whose findings say what label and measured ratio say of the heart."""
    parser = argparse.ArgumentParser(
        prog="python -m xrj.measures.describe", description=main.__doc__
    )
    parser.add_argument(
        "--csv", type=Path, required=True, help="columns image, patient_id, label, perhaps split"
    )
    parser.add_argument("--root", type=Path, help="where the images' paths begin: the CSV's folder")
    parser.add_argument("--out", type=Path, required=True, help="the manifest to write")
    options = parser.parse_args()
    rows = describe(options.csv, options.root or options.csv.parent)
    names = [*COLUMNS, *(name for name in OPTIONAL if any(row[name] for row in rows)), "findings"]
    with atomic_path(options.out) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows):,} X-rays described in {options.out}")


if __name__ == "__main__":
    run_command(main)
