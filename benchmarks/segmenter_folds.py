"""How good stage `segmenter` is on X-rays that it has not seen: folds of a CSV, each left out once.

`python benchmarks/segmenter_folds.py --csv FILE --out DIR [SETTING=VALUE ...]`: FILE has columns
image, heart, lungs and ctr. Trains a net for each fold on the other rows, with the settings given,
and prints the figures of `python -m xrj.measures.ctr` over all rows, each read by the net that has
not seen it. A fold that is trained is not trained again.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from xrj.datamodules.masks import MASKS, read_masks
from xrj.measures.ctr import errors_of, load_segmenter, measure_rows
from xrj.seeding import numpy_rng


def main() -> None:
    """Train and measure the folds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of splits and runs")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("settings", nargs="*", help="for train.py")
    options = parser.parse_args()
    rows = read_masks(options.csv, ("ctr", *MASKS))
    patients = sorted({row.patient_id for row in rows})
    numpy_rng(0, "folds").shuffle(patients)
    options.out.mkdir(parents=True, exist_ok=True)
    found = []
    for fold in range(options.folds):
        left_out = set(patients[fold :: options.folds])
        split = options.out / f"fold{fold}.json"
        members = {"train": sorted(set(patients) - left_out), "test": sorted(left_out)}
        split.write_text(json.dumps({"patients": members}), encoding="utf-8")
        subprocess.run(
            [
                *(sys.executable, "train.py", "stage=segmenter", f"name=fold{fold}"),
                *("data=manifest", f"data.csv={options.csv}", f"data.split.file={split}"),
                *(f"runs={options.out}", f"data.cache_dir={options.out}/cache"),
                *options.settings,
            ],
            check=True,
        )
        net = load_segmenter(options.out / f"fold{fold}/segmenter/export/best.safetensors")
        part = measure_rows([row for row in rows if row.patient_id in left_out], net)
        print(f"fold {fold}:", json.dumps(asdict(errors_of(part))), flush=True)
        found += part
    print("all folds:", json.dumps(asdict(errors_of(found))))


if __name__ == "__main__":
    main()
