"""Tables of counterfactuals: do they show the other diagnosis, how much changes, and where."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from xrj.evaluate.bench import NO_TRUE, TRUE, Bench
from xrj.evaluate.methods import Counterfactuals
from xrj.evaluate.results import Cell, Column, ResultTable, Row
from xrj.justify.change import CtrChange, distances, weigh_hearts
from xrj.justify.evidence import CHANGED
from xrj.programs import program

NO_CLASSIFIER = (
    "There is no independent classifier, so nothing is measured with it; "
    f"`{program('train')} stage=classifier` with the name and settings of this chain trains one."
)

VALIDITY = (
    Column("found", "Search ended", 1, percent=True, better="high"),
    Column("decoder", "Valid: decoded from r'", 1, percent=True, better="high"),
    Column("reencoded", "Valid: read anew", 1, percent=True, better="high"),
    Column("oracle", "Valid: oracle", 1, percent=True, better="high"),
    Column("agreement", "Model and oracle agree", 1, percent=True, better="high"),
    Column("gain", "Gain of the oracle's certainty", 3, better="high", least=-1, most=1),
    Column("seconds", "Seconds", 3, better="low", least=0),
    Column("evaluations", "Evaluations", 0, better="low", least=0),
    Column("tries", "Starts of the search", 2, better="low", least=1),
)
CHANGE = (
    Column("original_l1", "L1 to the X-ray", 3, least=0),
    Column("original_l2", "L2 to the X-ray", 4, least=0),
    Column("original_ssim", "SSIM to the X-ray", 3, least=-1, most=1),
    Column("start_l1", "L1 to the start", 3, least=0),
    Column("start_l2", "L2 to the start", 4, least=0),
    Column("start_ssim", "SSIM to the start", 3, least=-1, most=1),
    Column("true_l1", "L1 to the true counterfactual", 3, least=0),
    Column("true_ssim", "SSIM to it", 3, least=-1, most=1),
    Column("true_cosine", "Change as the true one, cosine", 3, better="high", least=-1, most=1),
    Column("embedding", "Way in the embedding", 2, least=0),
    Column("noise", "Way in the noise", 2, least=0),
    Column("changed", "Pixels that change visibly", 1, percent=True),
    Column("heart", "Change inside the heart", 1, percent=True, better="high"),
    Column("towards", "Heart changes the right way", 1, percent=True, better="high"),
    Column("ctr", "Change of CTR that way", 3),
    Column("usual", "CTR usual for the label", 1, percent=True, better="high"),
    Column("true_ctr", "CTR off the true counterfactual's", 3, better="low", least=0),
)


def validity_table(bench: Bench) -> ResultTable:
    """Return what judges say of the counterfactuals, and what they cost."""
    note = (
        f"{len(bench.rows)} X-rays of the test split. "
        "Decoded from r': the model reads the other label off the representation; read anew: off "
        "the picture, I(x'). The oracle (Hvilshoej et al. 2021) is the independent classifier, "
        "which no method sees; agreement: it reads x' as the model does; gain: its mean certainty "
        "of the other label in x' less that in the X-ray. Seconds on this machine and evaluations "
        "of a net, refining included. Intervals: bootstrap over patients; Wilson's where all agree."
    )
    rows = [
        Row(name, _validity(bench, one), reference=name == TRUE)
        for name, one in bench.methods.items()
    ]
    if TRUE in bench.methods:
        note += f" {NO_TRUE}"
    if bench.classifier is None:
        note += f" {NO_CLASSIFIER}"
    return ResultTable(
        "counterfactuals_validity",
        "Counterfactuals: validity and cost",
        VALIDITY,
        tuple(rows),
        note,
        drawn=("oracle",),
    )


@torch.no_grad()
def _validity(bench: Bench, made: Counterfactuals) -> dict[str, Cell]:
    model, targets = bench.model, made.targets
    mean = bench.mean_of(made)
    places = np.arange(len(targets))
    said = bench.read(model.encode(model.to_images(made.small)))
    cells: dict[str, Cell] = {"reencoded": mean(said == targets)}
    if made.name != TRUE:
        cells |= {
            "found": mean(made.converged),
            "seconds": mean(made.seconds),
            "evaluations": mean(made.evaluations),
            "tries": mean(made.tries),
        }
    if made.r_after is not None:
        cells["decoder"] = mean(bench.read(made.r_after) == targets)
    after, test = bench.method_features.get(made.name), bench.test_features
    if after is None or test is None:
        return cells
    certainty = after.certainty.double().cpu().numpy()
    before = test.certainty[bench.rows].double().cpu().numpy()
    judged = certainty.argmax(axis=1)
    return {
        **cells,
        "oracle": mean(judged == targets),
        "agreement": mean(judged == said),
        "gain": mean(certainty[places, targets] - before[places, targets]),
    }


def change_table(bench: Bench) -> ResultTable:
    """Return how far counterfactuals lie from where they start, and where they differ."""
    note = (
        f"{len(bench.rows)} X-rays of the test split, grey values in [-1, 1]; L1 and L2 are mean "
        "absolute and mean square differences. The start is the reconstruction G(r), and the X-ray "
        "itself for methods that do not draw. Ways are Euclidean, the embedding's on the decoder's "
        f"scale. Visibly: by more than {CHANGED} of 255 grey levels. Heart and CTR: from the start "
        "to the counterfactual, where the meter is confident in both; the right way is that of "
        "ctr_direction. A small distance is no merit by itself, and none is marked as the best: "
        "changes that nobody sees are small."
    )
    if len(bench.model.labels) > 2:
        note += " Between labels of one direction hearts should stay, and nothing of them counts."
    if bench.usual_ctr:
        spans = ", ".join(
            f"{low:.3f} to {high:.3f} for {label}" for label, (low, high) in bench.usual_ctr.items()
        )
        note += f" Usual is what 95 % of the training X-rays' true CTRs are: {spans}."
    if TRUE in bench.methods:
        note += (
            " The true counterfactual is the phantom's: the same patient and exposure under the "
            "other label, the heart as large among its hearts as the patient's own is among "
            "those of his label, its CTR measured as all are; an X-ray that the model misreads has "
            "none and is left out of this row and of what is measured against it. What "
            "reconstructions lack of the X-ray is part of the distances to it, so that methods "
            "that change the X-ray itself are ahead in them, and no part of the cosine."
        )
    hearts = {name: _hearts(bench, one) for name, one in bench.methods.items()}
    rows = tuple(
        Row(name, _change(bench, one) | _heart(bench, one, hearts), reference=name == TRUE)
        for name, one in bench.methods.items()
    )
    measured = {key for row in rows for key, cell in row.cells.items() if cell is not None}
    columns = tuple(column for column in CHANGE if column.key in measured)
    title = "Counterfactuals: how much changes, and where"
    return ResultTable(
        "counterfactuals_change", title, columns, rows, note, drawn=("true_cosine", "heart")
    )


def _change(bench: Bench, made: Counterfactuals) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    mean = bench.mean_of(made)
    to_original = distances(bench.xrays.large, made.after)
    to_start = to_original if made.r is None else distances(made.before, made.after)
    for key, found in (("original", to_original), ("start", to_start)):
        for measure in ("l1", "l2", "ssim"):
            cells[f"{key}_{measure}"] = mean([getattr(one, measure) for one in found])
    true = bench.methods.get(TRUE)
    if true is not None and made.name != TRUE:
        apart = distances(true.after, made.after)
        same = made.targets == bench.asked(true)
        for measure in ("l1", "ssim"):
            values = [getattr(one, measure) for one in apart]
            cells[f"true_{measure}"] = mean(np.where(same, values, np.nan))
        cells["true_cosine"] = mean(np.where(same, _alike(made, true), np.nan))
    if made.r is not None and made.r_after is not None:
        parts = zip(bench.model.split(made.r), bench.model.split(made.r_after), strict=True)
        for key, (before, after) in zip(("embedding", "noise"), parts, strict=True):
            cells[key] = mean((after - before).norm(dim=1).tolist())
    changed = [
        float((cv2.absdiff(before, after) > CHANGED).mean())
        for before, after in zip(made.before, made.after, strict=True)
    ]
    return {**cells, "changed": mean(changed)}


def _alike(made: Counterfactuals, true: Counterfactuals) -> list[float]:
    """Return the cosine of each change with the true one; NaN where nothing changes."""
    cosines = []
    for pictures in zip(made.before, made.after, true.before, true.after, strict=True):
        before, after, true_before, true_after = (one.astype(np.float64) for one in pictures)
        change, wanted = after - before, true_after - true_before
        length = np.linalg.norm(change) * np.linalg.norm(wanted)
        cosines.append(float((change * wanted).sum() / length) if length else np.nan)
    return cosines


@dataclass(frozen=True)
class _Hearts:
    """What a method does to hearts.

    Attributes:
        shares: Of each change that lies inside the heart; None where that should stay.
        ctrs: Of each; None where the meter is not confident or the label asks for no direction.
        directions: That the labels ask for; 0: none.
    """

    shares: Sequence[float | None]
    ctrs: Sequence[CtrChange | None]
    directions: Sequence[int]


def _hearts(bench: Bench, made: Counterfactuals) -> _Hearts:
    wanted, labels = bench.settings.evidence, bench.model.labels
    directions = [
        wanted.direction(labels[own], labels[target])
        for own, target in zip(bench.sources, made.targets, strict=True)
    ]
    weighed = weigh_hearts(bench.xrays.large, made.before, made.after, directions)
    return _Hearts(
        [
            None if direction == 0 else heart.share
            for heart, direction in zip(weighed, directions, strict=True)
        ],
        [heart.ctr if heart.ctr and heart.ctr.gain is not None else None for heart in weighed],
        [direction or 0 for direction in directions],
    )


def _heart(bench: Bench, made: Counterfactuals, hearts: Mapping[str, _Hearts]) -> dict[str, Cell]:
    mean, own, true = bench.mean_of(made), hearts[made.name], hearts.get(TRUE)
    if not any(own.directions):
        return {}
    cells: dict[str, Cell] = {
        "heart": mean(own.shares),
        "towards": mean([None if ctr is None else ctr.towards for ctr in own.ctrs]),
        "ctr": mean([None if ctr is None else ctr.gain for ctr in own.ctrs]),
    }
    if bench.usual_ctr:
        targets = [bench.model.labels[target] for target in made.targets]
        cells["usual"] = mean(
            [
                None
                if ctr is None or target not in bench.usual_ctr
                else _within(ctr, bench, target)
                for ctr, target in zip(own.ctrs, targets, strict=True)
            ]
        )
    if true is not None and made.name != TRUE:
        same = made.targets == bench.asked(bench.methods[TRUE])
        cells["true_ctr"] = mean(
            [
                abs(_reached(ctr) - _reached(wanted)) if ctr and wanted and asked else None
                for ctr, wanted, asked in zip(own.ctrs, true.ctrs, same, strict=True)
            ]
        )
    return cells


def _within(ctr: CtrChange, bench: Bench, label: str) -> bool:
    low, high = bench.usual_ctr[label]
    return low <= _reached(ctr) <= high


def _reached(ctr: CtrChange) -> float:
    """Return the ratio in the alternative, where it is measured."""
    return math.nan if ctr.alternative is None else ctr.alternative.ctr
