"""The measured summary of a chain: diagnosis, captions, and what its justifications are worth."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xrj.datamodules.images import read_image
from xrj.evaluate.counterfactuals import (
    ChangeSummary,
    CtrSummary,
    DistanceSummary,
    MappingSummary,
    RefinementSummary,
    ValiditySummary,
    WordsSummary,
    summarise_change,
    summarise_ctr,
    summarise_distances,
    summarise_mapping,
    summarise_refinement,
    summarise_validity,
    summarise_words,
)
from xrj.evaluate.figure import Figure
from xrj.evaluate.readings import Readings
from xrj.justify.justification import Justification
from xrj.justify.page import Calibration
from xrj.measures.agreement import Lexicon, agreement
from xrj.measures.captions import score_captions
from xrj.measures.ctr import measure_chest
from xrj.measures.diagnosis import diagnosis_report


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
        meteor: None where it cannot be measured.
        meteor_reason: Why not.
        agree: Captions whose words state the diagnosis, among those that state one; the last three
            are None when the lexicon does not know every label.
        contradict: Captions that state another, or affirm and deny the same.
        silent: Captions that state none.
    """

    bleu1: Figure
    bleu2: Figure
    bleu3: Figure
    bleu4: Figure
    rouge_l: Figure
    cider: Figure
    meteor: Figure | None
    meteor_reason: str
    distinct: Figure
    agree: Figure | None
    contradict: Figure | None
    silent: Figure | None


@dataclass(frozen=True)
class Summary:
    """All of it.

    Attributes:
        diagnosis: Of the chain.
        classifier: Of the independent classifier; None without one.
        captions: Of the chain.
        refinement: None without one.
        mapping: How it went.
        validity: What judges say of the counterfactuals.
        distance: How far they lie from X-rays and reconstructions.
        change: Where they differ from the reconstructions.
        words: What their captions say.
        ctr: None where the labels say nothing of the heart's size.
    """

    diagnosis: DiagnosisSummary
    classifier: DiagnosisSummary | None
    captions: CaptionSummary
    refinement: RefinementSummary | None
    mapping: MappingSummary
    validity: ValiditySummary
    distance: DistanceSummary
    change: ChangeSummary
    words: WordsSummary
    ctr: CtrSummary | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: {"diagnosis": {"accuracy": {"value", "n", "low", "high"}}}."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return {
            name: None
            if part is None
            else {
                entry.name: value.to_dict() if isinstance(value, Figure) else value
                for entry in fields(part)
                for value in [getattr(part, entry.name)]
            }
            for name, part in parts.items()
        }

    @property
    def calibration(self) -> Calibration:
        """How far the chain's certainties can be trusted."""
        figure = self.diagnosis.calibration_error
        return Calibration(figure.value, figure.n)


def summarise(
    readings: Readings,
    justifications: Sequence[Justification],
    *,
    chosen: Sequence[int],
    lexicon: Lexicon,
    truth: Path,
) -> Summary:
    """Measure all of it.

    Args:
        readings: Of the whole test split.
        justifications: Of those of its X-rays that were mapped.
        chosen: Their rows in the split.
        lexicon: What counts as a statement in a caption.
        truth: Table of true CTRs; it need not exist.
    """
    one_shot = [
        (label, " ".join(words)) for label, words in (readings.decoded[row] for row in chosen)
    ]
    independent = readings.independent
    return Summary(
        diagnosis=summarise_diagnosis(readings.certainties, readings.targets),
        classifier=None
        if independent is None
        else summarise_diagnosis(independent, readings.targets),
        captions=summarise_captions(readings, lexicon),
        refinement=summarise_refinement(justifications, one_shot),
        mapping=summarise_mapping(justifications),
        validity=summarise_validity(justifications),
        distance=summarise_distances(justifications),
        change=summarise_change(justifications),
        words=summarise_words(justifications),
        ctr=summarise_ctr(justifications, measure_meter(readings.frame, truth)),
    )


def summarise_diagnosis(
    certainties: NDArray[np.float64], targets: NDArray[np.int64]
) -> DiagnosisSummary:
    """Score certainties (N, L) against true labels (N,)."""
    scores = diagnosis_report(certainties, targets)
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
    scores = score_captions(
        [" ".join(words) for _, words in readings.decoded], references, meteor=True
    )
    said = {label for label, _ in readings.decoded} | set(readings.frame["label"])
    agree = contradict = silent = None
    if lexicon.knows(said):
        found = agreement(
            [words for _, words in readings.decoded],
            [label for label, _ in readings.decoded],
            lexicon.of(said),
        )
        agree = Figure.share(found.agree, found.agree + found.contradict)
        contradict = Figure.share(found.contradict, found.n)
        silent = Figure.share(found.silent, found.n)
    return CaptionSummary(
        **{
            name: Figure(getattr(scores, name), scores.n)
            for name in ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider", "distinct")
        },
        meteor=None if scores.meteor is None else Figure(scores.meteor, scores.n),
        meteor_reason=scores.meteor_reason,
        agree=agree,
        contradict=contradict,
        silent=silent,
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
    chests = measure_chest([read_image(path) for path in frame["path"]])
    found = np.array([chest.ctr if chest.confident else np.nan for chest in chests], np.float64)
    known: NDArray[np.float64] = true.reindex(frame["image_id"]).to_numpy(dtype=np.float64)
    errors = np.abs(found - known)
    return Figure.mean(errors[~np.isnan(errors)].tolist())
