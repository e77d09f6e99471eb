"""Make `xrj/datamodules/resources/iu_views.csv.gz`; its README tells where the facts come from.

`python tools/iu_views.py --metadata CSV.GZ --clusters CSV.GZ --reports TGZ --out FILE`
"""

import argparse
import csv
import gzip
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from xrj.datamodules.commands import run_command
from xrj.datamodules.openi import read_reports
from xrj.datamodules.records import Counts
from xrj.datamodules.views import View, eliminate, lateral_by, view_key, view_position
from xrj.files import atomic_path

# Acquisition menus of the devices: of the images that the clusters know, 95 to 100 % agree with
# each code but 60235, at 87 % (resources/README.md).
_CODES = {"60003": "L", "3": "L", "4": "L", "60025": "F", "60235": "F", "1": "F", "2": "F"}


def make_view_table(
    studies: Sequence[Sequence[str]], metadata: Path, clusters: Path
) -> dict[str, View]:
    """Resolve the views of the original images from their DICOM header fields.

    Order, by how far each can be trusted (measured in resources/README.md): a lateral View
    Position or Patient Orientation; the view found by image clustering; the device's processing
    code; a frontal View Position, which many devices preset for both images of a study;
    elimination.

    Args:
        studies: Image ids of each report.
        metadata: Table with `imageid`, `View Position`, `Patient Orientation` and
            `Acquisition Device Processing Code`.
        clusters: Table with `imageid` and `tsne-view` (PA or L).
    """
    fields = ("View Position", "Patient Orientation", "Acquisition Device Processing Code")
    header = {view_key(row["imageid"]): row for row in _rows(metadata, ("imageid", *fields))}
    cluster = {
        view_key(row["imageid"]): row["tsne-view"]
        for row in _rows(clusters, ("imageid", "tsne-view"))
    }
    blank = dict.fromkeys(fields, "")
    views: dict[str, View] = {}
    for image_id in (image_id for study in studies for image_id in study):
        key = view_key(image_id)
        stated, orientation, code = (header.get(key, blank)[name] for name in fields)
        position = view_position(stated)
        frontal_position = position if position in ("PA", "AP") else "F"
        direction = orientation.strip("[]").split(",")[0].strip(" '")
        if lateral := lateral_by(stated, direction):
            views[image_id] = View("L", lateral)
        elif cluster.get(key):
            views[image_id] = View("L" if cluster[key] == "L" else frontal_position, "clusters")
        elif code in _CODES:
            views[image_id] = View(
                "L" if _CODES[code] == "L" else frontal_position, "processing_code"
            )
        elif position:
            views[image_id] = View(position, "view_position")
        else:
            views[image_id] = View()
    eliminate(studies, views)
    return views


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    table = pd.read_csv(path, usecols=list(columns), dtype=str, keep_default_na=False)
    return [dict(zip(columns, row, strict=True)) for row in table[list(columns)].to_numpy()]


def main() -> None:
    """Make the package file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--metadata", type=Path, required=True, help="DICOM header fields, one row an image"
    )
    parser.add_argument(
        "--clusters", type=Path, required=True, help="views found by image clustering"
    )
    parser.add_argument("--reports", type=Path, required=True, help="NLMCXR_reports.tgz")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    reports = read_reports(args.reports, Counts(), max_broken=0.0)
    views = make_view_table([report.image_ids for report in reports], args.metadata, args.clusters)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image_id", "view_position", "source"))
    writer.writerows((image_id, *views[image_id]) for image_id in sorted(views))
    with atomic_path(args.out) as temporary:
        temporary.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0))
    numbers = Counter((view.kind, view.source) for view in views.values())
    for (kind, source), number in sorted(numbers.items()):
        print(f"{kind:<9}{source or '-':<17}{number:>6,}")


if __name__ == "__main__":
    run_command(main)
