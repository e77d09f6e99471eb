"""Whom do a chain's alternatives convince, redrawn and on the X-ray, and do the words go with them?

`python benchmarks/alternatives.py --name NAME --judges JUDGE ... --split val [SETTING=VALUE ...]`
justifies the X-rays of a split and prints, as JSON, what the network read anew, each judge and
their majority see in both pictures; captions; the cardiothoracic ratio; how far the pictures are
from real ones. A judge is a run of stage `classifier` on the same split; it takes no part in
training NAME, nor in the search for alternatives. Settings are those of `infer.py`.

`--pairs` prints instead, for each ordered pair of labels, a row of a table: the X-rays diagnosed as
the first are justified towards the second, and the judge is NAME's own classifier.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

import xrj
from xrj.build import build_evaluation_data
from xrj.config import plain, register
from xrj.datamodules.images import UInt8, read_image
from xrj.datamodules.phantom import effusion_regions, redraw, redraws
from xrj.evaluate.features import read_features, thumbnails
from xrj.handover import load_export
from xrj.justify.justification import Justification, JustifySettings, justify_all
from xrj.justify.model import JustificationModel
from xrj.justify.reading import as_images
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
    parser.add_argument("--model", help="an export of NAME to measure in its place")
    parser.add_argument("--pairs", action="store_true", help="each ordered pair of labels")
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = [f"runs={options.runs}", f"name={options.name}", *options.settings]
        cfg = compose("infer", overrides)
    judges = {
        name: load_export(options.runs / name / "classifier", "classifier").net("classifier")
        for name in options.judges
    }
    folders = {stage: Path(folder) for stage, folder in plain(cfg.chain).items()}
    model = JustificationModel.load(folders, cfg.name, cfg.selection, cfg.beams, "cpu")
    data = build_evaluation_data(model.exports["inverse"], plain(cfg.data), "images")
    _, frame = data.evaluation_images(options.split, model.sizes[0])
    paths = [Path(path) for path in frame["path"]]
    settings = replace(justify_settings(cfg), saliency=False, walk=2)
    if options.model:
        model = cast(JustificationModel, xrj.load(options.model, device="cpu").inner)
    if options.pairs:
        print(pair_table(model, data.path, paths, list(frame["label"]), settings, cfg.seed))
        return
    found = justify_paths(model, paths, settings, cfg.seed)
    labels = [model.labels.index(label) for label in frame["label"]]
    print(json.dumps(measure(model, found, np.array(labels), judges), indent=1))


def justify_paths(
    model: JustificationModel, paths: Sequence[Path], settings: JustifySettings, seed: int
) -> list[Justification]:
    """Justify some X-rays at a time, so that few are held at their own size."""
    found: list[Justification] = []
    for start in range(0, len(paths), BATCH):
        part = paths[start : start + BATCH]
        images = [read_image(path) for path in part]
        found += justify_all(model, images, [str(path) for path in part], settings, seed)
    return found


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
        "ctr": _hearts(found, pictures),
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


def _hearts(found: Sequence[Justification], pictures: dict[str, UInt8]) -> dict[str, object]:
    """Return how the cardiothoracic ratio moves, where it is measured with confidence."""
    direction = np.array([one.evidence.ctr.direction or 0 if one.evidence.ctr else 0
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
        gain = (move * direction)[np.isfinite(move) & (direction != 0)]
        result[kind] = {
            "n": len(gain),
            "right_way": float((gain > 0).mean()),
            "mean": float(gain.mean()),
        }
    shares = [one.evidence.heart_share for one in found if one.evidence.heart_share is not None]
    return {**result, "inside_heart": float(np.mean(shares))}


def pair_table(
    model: JustificationModel,
    folder: Path,
    paths: Sequence[Path],
    truth: Sequence[str],
    settings: JustifySettings,
    seed: int,
) -> str:
    """Return a Markdown table with a row an ordered pair of labels; `folder` holds the data."""
    images = [read_image(path) for path in paths]
    with torch.no_grad():
        certainty = model.label_logits(model.encode(as_images(model, images))).softmax(dim=1)
    labels = np.array([model.labels.index(label) for label in truth])
    said = [model.labels[place] for place in certainty.argmax(dim=1).tolist()]
    scores = diagnosis_report(certainty.numpy(), labels)
    lines = [
        f"n = {len(paths)}, balanced accuracy {scores.balanced_accuracy:.3f}, "
        f"accuracy {scores.accuracy:.3f}, AUROC {scores.auroc:.3f}",
        "",
    ]
    rows = []
    for target in model.labels:
        chosen = [path for path, label in zip(paths, said, strict=True) if label != target]
        asked = replace(settings, towards=target)
        found = justify_paths(model, chosen, asked, seed)
        for own in model.labels:
            pair = [one for one in found if one.found.diagnosis == own]
            if own != target and pair:
                rows.append({"from": own, "to": target, **_pair(model, folder, pair, target)})
    head = ({name: name for name in rows[0]}, dict.fromkeys(rows[0], "---"))
    lines += [f"| {' | '.join(cells.values())} |" for cells in (*head, *rows)]
    return "\n".join(lines)


def _pair(
    model: JustificationModel, folder: Path, pair: Sequence[Justification], target: str
) -> dict[str, str]:
    """Return the cells of one ordered pair."""
    evidence = [one.evidence for one in pair]
    judged = [one.independent for one in evidence if one.independent]
    drawn = [one.on_xray_independent for one in evidence if one.on_xray_independent]
    moves = [one.ctr.change for one in evidence if one.ctr and one.ctr.change is not None]
    hearts = [one.heart_share for one in evidence if one.heart_share is not None]
    cells = {
        "n": f"{len(pair)}",
        "classifier": _percent([one.agrees for one in judged]),
        "classifier, on the X-ray": _percent([one.agrees for one in drawn]),
        "read anew": _percent([one.reencoded.agrees for one in evidence]),
        "read anew, on the X-ray": _percent([one.on_xray.agrees for one in evidence]),
        "caption contradicts": f"{sum(one.words.alternative == 'contradicts' for one in evidence)}",
        "change of CTR": f"{np.mean(moves):+.3f} (n = {len(moves)})" if moves else "",
        "inside the heart": _percent(hearts),
    }
    if redraws(folder):
        names = [Path(one.image).stem for one in pair]
        changes = [one.alternative.large - one.found.large.astype(np.float64) for one in pair]
        corners = [
            model.view(255 * one.astype(np.uint8), model.sizes[1]) > 127
            for one in effusion_regions(folder, names)
        ]
        wanted = [
            model.view(one, model.sizes[1]) - own.original.astype(np.float64)
            for one, own in zip(redraw(folder, names, [target] * len(pair)), pair, strict=True)
        ]
        cells["where fluid can lie"] = _percent(
            [
                abs(one)[region].sum() / abs(one).sum()
                for one, region in zip(changes, corners, strict=True)
            ]
        )
        cells["of the picture"] = _percent([region.mean() for region in corners])
        alike = [_cosine(*both) for both in zip(changes, wanted, strict=True) if both[1].any()]
        cells["cosine with the true change"] = f"{np.mean(alike):.2f}"
    return cells


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other)))


def _percent(values: Sequence[float]) -> str:
    return f"{100 * np.mean(values):.1f} %" if len(values) else ""


if __name__ == "__main__":
    main()
