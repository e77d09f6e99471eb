"""The measured summary of a chain: diagnosis, captions, mapping, counterfactual hearts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from xrj.datamodules.images import UInt8, read_image
from xrj.evaluate.readings import Readings
from xrj.justify.justification import Justification
from xrj.measures.agreement import Lexicon, agreement
from xrj.measures.captions import score_captions
from xrj.measures.ctr import measure_ctr
from xrj.measures.diagnosis import diagnosis_report

CTR_PIXELS = 64
"""Smallest picture in which the CTR can be measured."""


@dataclass(frozen=True)
class Figure:
    """A number, of how many it was taken, and its 95 % interval where it has one."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None

    @classmethod
    def share(cls, part: int, whole: int) -> "Figure":
        """Return part / whole with its Wilson interval; NaN of 0."""
        if not whole:
            return cls(math.nan, 0)
        low, high = proportion_confint(part, whole, alpha=0.05, method="wilson")
        return cls(part / whole, whole, float(low), float(high))

    @classmethod
    def mean(cls, values: Sequence[float]) -> "Figure":
        """Return the mean; NaN of none."""
        return cls(float(np.mean(values)) if len(values) else math.nan, len(values))

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the JSON form; null for what is undefined."""
        entries = {key: value for key, value in asdict(self).items() if value is not None}
        return {**entries, "value": self.value if math.isfinite(self.value) else None}


@dataclass(frozen=True)
class DiagnosisSummary:
    """Of the test split; see `measures.diagnosis.DiagnosisScores`."""

    accuracy: Figure
    balanced_accuracy: Figure
    auroc: Figure
    calibration_error: Figure
    majority: Figure


@dataclass(frozen=True)
class CaptionSummary:
    """Of the test split, the label word left out; see `measures.captions.CaptionScores`.

    Attributes:
        agree: Captions whose words state the diagnosis, among those that state one; the last three
            are None when the lexicon does not know every label.
        contradict: Captions that state another.
        silent: Captions that state none.
    """

    bleu1: Figure
    bleu2: Figure
    bleu3: Figure
    bleu4: Figure
    rouge_l: Figure
    cider: Figure
    distinct: Figure
    agree: Figure | None
    contradict: Figure | None
    silent: Figure | None


@dataclass(frozen=True)
class MappingSummary:
    """Of the test X-rays that were mapped.

    Attributes:
        success: Share that converged.
        tries_mean: Starts a mapping.
        tries_max: Most starts.
        seconds: Mean wall-clock time.
    """

    success: Figure
    tries_mean: Figure
    tries_max: Figure
    seconds: Figure


@dataclass(frozen=True)
class CtrSummary:
    """The cardiothoracic ratio measured in the generated pictures.

    Attributes:
        towards: Share whose CTR moves as the alternative diagnosis says, among mapped X-rays where
            it can be measured with confidence in both pictures.
        change: Mean change in that direction.
        towards_any: The same share of all that were mapped, whether the meter was confident or not.
        meter_error: Mean absolute error of the meter on the originals of the test split, where the
            data know the truth.
    """

    towards: Figure
    change: Figure
    towards_any: Figure
    meter_error: Figure | None


@dataclass(frozen=True)
class Summary:
    """All of it; `ctr` is None when the labels say nothing of the heart's size."""

    diagnosis: DiagnosisSummary
    captions: CaptionSummary
    mapping: MappingSummary
    ctr: CtrSummary | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: {"diagnosis": {"accuracy": {"value", "n", "low", "high"}}}."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return {
            name: None
            if part is None
            else {
                entry.name: figure and figure.to_dict()
                for entry in fields(part)
                for figure in [getattr(part, entry.name)]
            }
            for name, part in parts.items()
        }


def summarise(
    readings: Readings,
    justifications: Sequence[Justification],
    *,
    labels: Sequence[str],
    lexicon: Lexicon,
    ctr_direction: Mapping[str, int],
    truth: Path,
) -> Summary:
    """Measure all of it.

    Args:
        readings: Of the whole test split.
        justifications: Of those of its X-rays that were mapped.
        labels: Of the chain.
        lexicon: What counts as a statement in a caption.
        ctr_direction: 1 for labels towards which the CTR should grow, -1 where it should shrink.
        truth: Table of true CTRs; it need not exist.
    """
    return Summary(
        diagnosis=summarise_diagnosis(readings),
        captions=summarise_captions(readings, lexicon),
        mapping=summarise_mapping(justifications),
        ctr=summarise_ctr(
            justifications, labels, ctr_direction, measure_meter(readings.frame, truth)
        ),
    )


def summarise_diagnosis(readings: Readings) -> DiagnosisSummary:
    """Score the diagnoses of a split."""
    scores = diagnosis_report(readings.certainties, readings.targets)
    return DiagnosisSummary(
        accuracy=Figure(scores.accuracy, scores.n, scores.accuracy_low, scores.accuracy_high),
        balanced_accuracy=Figure(scores.balanced_accuracy, scores.n),
        auroc=Figure(scores.auroc, scores.n),
        calibration_error=Figure(scores.ece, scores.n),
        majority=Figure(scores.majority, scores.n),
    )


def summarise_captions(readings: Readings, lexicon: Lexicon) -> CaptionSummary:
    """Score the captions of a split against those of its reports."""
    references = [
        [" ".join(words) for words in captions] for captions in readings.frame["captions"]
    ]
    scores = score_captions([" ".join(words) for _, words in readings.decoded], references)
    said = {label for label, _ in readings.decoded} | set(readings.frame["label"])
    agree = contradict = silent = None
    if said <= set(lexicon.statements):
        found = agreement(
            [words for _, words in readings.decoded],
            [label for label, _ in readings.decoded],
            lexicon,
        )
        agree = Figure.share(found.agree, found.agree + found.contradict)
        contradict = Figure.share(found.contradict, found.n)
        silent = Figure.share(found.silent, found.n)
    return CaptionSummary(
        **{
            name: Figure(getattr(scores, name), scores.n)
            for name in ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider", "distinct")
        },
        agree=agree,
        contradict=contradict,
        silent=silent,
    )


def summarise_mapping(justifications: Sequence[Justification]) -> MappingSummary:
    """Count what the mapping reached and what it took."""
    mappings = [justification.mapping for justification in justifications]
    tries = [float(mapping.tries) for mapping in mappings]
    return MappingSummary(
        success=Figure.share(sum(mapping.converged for mapping in mappings), len(mappings)),
        tries_mean=Figure.mean(tries),
        tries_max=Figure(max(tries, default=math.nan), len(tries)),
        seconds=Figure.mean([mapping.seconds for mapping in mappings]),
    )


def ctr_change(reconstruction: UInt8, alternative: UInt8) -> tuple[float, bool]:
    """Return the change of the CTR, and whether the meter was confident in both pictures."""
    before, after = measure_ctr(reconstruction), measure_ctr(alternative)
    return after.ctr - before.ctr, before.confident and after.confident


def summarise_ctr(
    justifications: Sequence[Justification],
    labels: Sequence[str],
    direction: Mapping[str, int],
    meter_error: Figure | None,
) -> CtrSummary | None:
    """Measure whether hearts grow and shrink as the alternative diagnoses say.

    Args:
        justifications: Of X-rays that were mapped.
        labels: Of the chain.
        direction: 1 for labels towards which the CTR should grow, -1 where it should shrink.
        meter_error: See `measure_meter`.

    Returns:
        None when a label has no direction or the pictures are too small to measure.
    """
    if not set(labels) <= set(direction) or not justifications:
        return None
    if min(justifications[0].found.large.shape) < CTR_PIXELS:
        return None
    moves = []
    for justification in justifications:
        change, confident = ctr_change(justification.found.large, justification.alternative.large)
        moves.append((direction[labels[justification.mapping.target]] * change, confident))
    clear = [move for move, confident in moves if confident]
    return CtrSummary(
        towards=Figure.share(sum(move > 0 for move in clear), len(clear)),
        change=Figure.mean(clear),
        towards_any=Figure.share(sum(move > 0 for move, _ in moves), len(moves)),
        meter_error=meter_error,
    )


def measure_meter(frame: pd.DataFrame, truth: Path) -> Figure | None:
    """Return the CTR meter's mean absolute error on original X-rays.

    Args:
        frame: Rows with image_id and path.
        truth: Table with image_id and ctr, as the phantom writes it.

    Returns:
        None where there is no such table.
    """
    if not truth.is_file():
        return None
    true = pd.read_csv(truth).set_index("image_id")["ctr"]
    found = np.array([measure_ctr(read_image(path)).ctr for path in frame["path"]])
    known: NDArray[np.float64] = true.reindex(frame["image_id"]).to_numpy(dtype=np.float64)
    return Figure.mean(np.abs(found - known)[~np.isnan(known)].tolist())
