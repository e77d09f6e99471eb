"""Scores of a diagnosis: right or wrong, ranking, and how far its certainty can be trusted."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    multiclass_calibration_error,
)


@dataclass(frozen=True)
class DiagnosisScores:
    """Scores over n images and L labels; all in [0, 1].

    With two labels, `auroc`, `auprc`, `sensitivity` and `specificity` take `positive` as the
    positive one; with more they are macro averages, each label against the rest. What a label that
    is absent from the targets (or the only one there) leaves undefined is NaN, never a guess.

    Attributes:
        accuracy: Share of images whose most probable label is the true one.
        accuracy_low: Lower end of the 95 % Wilson interval, which takes images as independent.
        accuracy_high: Upper end of it.
        balanced_accuracy: Mean recall over all L labels.
        auroc: Area under the ROC curve.
        auprc: Area under the precision-recall curve (average precision).
        sensitivity: Recall of the positive label.
        specificity: Recall of all that is not the positive label.
        ece: Expected calibration error of the top label, 10 bins of equal width.
        positive: Index of the label that was taken as the positive one.
        majority: Share of the commonest label: the accuracy of always saying it.
        n: Number of images.
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    balanced_accuracy: float
    auroc: float
    auprc: float
    sensitivity: float
    specificity: float
    ece: float
    positive: int
    majority: float
    n: int


def rarest_label(targets: NDArray[np.integer], labels: int) -> int:
    """Return the index of the rarest of so many labels, the later one of equals."""
    counts = np.bincount(targets, minlength=labels)
    return int(labels - 1 - counts[::-1].argmin())


def diagnosis_report(
    probabilities: NDArray[np.floating],
    targets: NDArray[np.integer],
    positive: int | None = None,
) -> DiagnosisScores:
    """Score the probabilities of labels against the true ones.

    Args:
        probabilities: (N, L), rows sum to 1, L >= 2.
        targets: (N,) true labels in 0..L-1.
        positive: The positive one of two labels; None: the rarest of these targets, which in
            resamples of a balanced set is now the one, now the other.

    Raises:
        ValueError: Shapes do not fit, N is 0, a row is no distribution or a target no label.
    """
    n, labels = _check(probabilities, targets)
    chosen = probabilities.argmax(axis=1)
    counts = np.bincount(targets, minlength=labels)
    positive = rarest_label(targets, labels) if positive is None else positive
    against_rest = np.array(
        [_one_against_rest(probabilities[:, k], chosen == k, targets == k) for k in range(labels)]
    )
    auroc, auprc, sensitivity, specificity = (
        against_rest[positive] if labels == 2 else against_rest.mean(axis=0)
    )
    right = int((chosen == targets).sum())
    low, high = proportion_confint(right, n, alpha=0.05, method="wilson")
    calibration_error = multiclass_calibration_error(
        torch.from_numpy(probabilities).double(),
        torch.from_numpy(targets).long(),
        num_classes=labels,
        n_bins=10,
        norm="l1",
    )
    return DiagnosisScores(
        accuracy=right / n,
        accuracy_low=float(low),
        accuracy_high=float(high),
        balanced_accuracy=float(against_rest[:, 2].mean()),
        auroc=float(auroc),
        auprc=float(auprc),
        sensitivity=float(sensitivity),
        specificity=float(specificity),
        ece=float(calibration_error),
        positive=positive,
        majority=float(counts.max() / n),
        n=n,
    )


def _check(probabilities: NDArray[np.floating], targets: NDArray[np.integer]) -> tuple[int, int]:
    if probabilities.ndim != 2 or probabilities.shape[1] < 2 or len(probabilities) == 0:
        raise ValueError(f"probabilities must be (N, L), N > 0, L > 1; got {probabilities.shape}")
    n, labels = probabilities.shape
    if targets.shape != (n,) or targets.min() < 0 or targets.max() >= labels:
        raise ValueError(f"targets must be ({n},) with values in 0..{labels - 1}")
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3) or probabilities.min() < 0:
        raise ValueError("each row of probabilities must be a distribution")
    return n, labels


def _one_against_rest(
    probability: NDArray[np.floating], said: NDArray[np.bool_], true: NDArray[np.bool_]
) -> tuple[float, float, float, float]:
    """Return AUROC, AUPRC, sensitivity and specificity of one label."""
    sensitivity = float(said[true].mean()) if true.any() else np.nan
    specificity = float((~said[~true]).mean()) if not true.all() else np.nan
    if true.all() or not true.any():
        return np.nan, np.nan, sensitivity, specificity
    scores = torch.from_numpy(probability).double()
    labels = torch.from_numpy(true).long()
    return (
        float(binary_auroc(scores, labels)),
        float(binary_average_precision(scores, labels)),
        sensitivity,
        specificity,
    )
