"""Whom do a chain's alternatives convince, redrawn and on the X-ray, and do the words go with them?

`python benchmarks/alternatives.py --name NAME --judges JUDGE ... --split val [SETTING=VALUE ...]`
justifies the X-rays of a split and prints, as JSON, what the network read anew, each judge and
their majority see in both pictures; captions; the cardiothoracic ratio; how far the pictures are
from real ones. A judge is a run of stage `classifier` on the same split; it takes no part in
training NAME, nor in the search for alternatives. Settings are those of `infer.py`.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from xrj.build import build_evaluation_data
from xrj.config import plain, register
from xrj.datamodules.images import UInt8, read_image
from xrj.evaluate.features import read_features, thumbnails
from xrj.handover import load_export
from xrj.justify.justification import Justification, justify_all
from xrj.justify.model import JustificationModel
from xrj.measures.ctr import measure_chest
from xrj.measures.diagnosis import diagnosis_report
from xrj.measures.distribution import kernel_distance
from xrj.measures.identity import own_ranks
from xrj.nets.zoo import Classifier
from xrj.tasks import justify_settings

CONF = Path(__file__).parents[1] / "conf"
BATCH = 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--judges", nargs="*", default=[], help="names of runs")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = [f"runs={options.runs}", f"name={options.name}", *options.settings]
        cfg = compose("infer", overrides)
    folders = {stage: Path(folder) for stage, folder in plain(cfg.chain).items()}
    model = JustificationModel.load(folders, cfg.name, cfg.selection, cfg.beams, "cpu")
    data = build_evaluation_data(model.exports["inverse"], plain(cfg.data), "images")
    _, frame = data.evaluation_images(options.split, model.sizes[0])
    paths = [Path(path) for path in frame["path"]]
    settings = replace(justify_settings(cfg), saliency=False, walk=2)
    found: list[Justification] = []
    for start in range(0, len(paths), BATCH):
        part = paths[start : start + BATCH]
        images = [read_image(path) for path in part]
        found += justify_all(model, images, [str(path) for path in part], settings, cfg.seed)
    judges = {
        name: load_export(options.runs / name / "classifier", "classifier").net("classifier")
        for name in options.judges
    }
    labels = [model.labels.index(label) for label in frame["label"]]
    print(json.dumps(measure(model, found, np.array(labels), judges), indent=1))


def measure(
    model: JustificationModel,
    found: Sequence[Justification],
    labels: np.ndarray,
    judges: dict[str, Classifier],
) -> dict[str, object]:
    """Return all figures; `labels` are the true ones, (N,)."""
    evidence = [one.evidence for one in found]
    pictures = {
        "xray": np.stack([one.original for one in found]),
        "redrawn": np.stack([one.alternative.large for one in found]),
        "on_xray": np.stack([model.view(one.on_xray.picture, model.sizes[1]) for one in found]),
    }
    certainty = np.array([[one.found.certainty[name] for name in model.labels] for one in found])
    return {
        "n": len(found),
        "diagnosis": _diagnosis(certainty, labels),
        "read_anew": {
            "redrawn": _share([one.reencoded.agrees for one in evidence]),
            "on_xray": _share([one.on_xray.agrees for one in evidence]),
        },
        "judges": _judged(found, labels, pictures, judges),
        "own_nearest_by_grey_values": _own_nearest(found, pictures),
        "redrawn_share": {
            "median": float(np.median([one.on_xray.redrawn for one in found])),
            "ninth_decile": float(np.quantile([one.on_xray.redrawn for one in found], 0.9)),
        },
        "captions": {
            **{
                kind: dict(Counter(str(getattr(one.words, kind)) for one in evidence))
                for kind in ("found", "alternative")
            },
            "repeated": sum(one.words.repeated for one in evidence),
            "different_found": len({one.found.caption for one in found}),
            "different_alternatives": len({one.alternative.caption for one in found}),
        },
        "ctr": _hearts(model, found, pictures),
        "with_warning": _share([bool(one.warnings) for one in evidence]),
    }


def _share(values: Sequence[bool] | np.ndarray) -> float:
    return float(np.mean(values))


def _diagnosis(certainty: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    report = diagnosis_report(certainty, labels)
    return {"accuracy": report.accuracy, "auroc": report.auroc}


def _own_nearest(found: Sequence[Justification], pictures: dict[str, UInt8]) -> dict[str, float]:
    """Return how often no other X-ray of the split is as similar, without any net."""
    grey, names = {kind: thumbnails(x) for kind, x in pictures.items()}, [x.image for x in found]
    return {
        kind: _share(own_ranks(grey[kind], grey["xray"], names, names) == 1)
        for kind in ("redrawn", "on_xray")
    }


def _judged(
    found: Sequence[Justification],
    labels: np.ndarray,
    pictures: dict[str, UInt8],
    judges: dict[str, Classifier],
) -> dict[str, object]:
    """Return what each judge and their majority see, and, of the first, distances of features."""
    targets = torch.tensor([one.mapping.target for one in found])
    votes: dict[str, list[Tensor]] = {kind: [] for kind in pictures}
    table: dict[str, object] = {}
    names = [one.image for one in found]
    for name, net in judges.items():
        seen = {kind: read_features(net, several) for kind, several in pictures.items()}
        for kind, one in seen.items():
            votes[kind].append(one.certainty.argmax(dim=1) == targets)
        table[name] = {
            **_diagnosis(seen["xray"].certainty.numpy(), labels),
            **{f"other_in_{kind}": votes[kind][-1].float().mean().item() for kind in pictures},
            **{
                f"kid_{kind}": kernel_distance(seen[kind].last, seen["xray"].last)
                for kind in ("redrawn", "on_xray")
            },
            **{
                f"own_nearest_{kind}": float(
                    (own_ranks(seen[kind].places, seen["xray"].places, names, names) == 1).mean()
                )
                for kind in ("redrawn", "on_xray")
            },
        }
    if judges:
        table["majority"] = {
            kind: (torch.stack(several).sum(dim=0) * 2 > len(judges)).float().mean().item()
            for kind, several in votes.items()
        }
    return table


def _hearts(
    model: JustificationModel, found: Sequence[Justification], pictures: dict[str, UInt8]
) -> dict[str, object]:
    """Return how the cardiothoracic ratio moves, where it is measured with confidence."""
    direction = np.array([{"cardiomegaly": 1, "normal": -1}[model.labels[one.mapping.target]]
                          for one in found])  # fmt: skip
    chests = {kind: measure_chest(list(several)) for kind, several in pictures.items()}
    chests["reconstruction"] = measure_chest([one.found.large for one in found])
    ratio = {
        kind: np.array([one.ctr if one.confident and one.ctr is not None else np.nan
                        for one in several])
        for kind, several in chests.items()
    }  # fmt: skip
    moves = {
        "redrawn": ratio["redrawn"] - ratio["reconstruction"],
        "on_xray": ratio["on_xray"] - ratio["xray"],
    }
    large = np.array([one.found.diagnosis == "cardiomegaly" for one in found])
    result: dict[str, object] = {
        "confident_in_xrays": float(np.isfinite(ratio["xray"]).mean()),
        "between_diagnoses": float(
            np.nanmean(ratio["xray"][large]) - np.nanmean(ratio["xray"][~large])
        ),
    }
    for kind, move in moves.items():
        gain = (move * direction)[np.isfinite(move)]
        result[kind] = {
            "n": len(gain),
            "right_way": float((gain > 0).mean()),
            "mean": float(gain.mean()),
        }
    shares = [one.evidence.heart_share for one in found if one.evidence.heart_share is not None]
    return {**result, "inside_heart": float(np.mean(shares))}


if __name__ == "__main__":
    main()
