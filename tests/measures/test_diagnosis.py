import math

import numpy as np
import pytest

from xrj.measures.diagnosis import diagnosis_report, rarest_label


def two(*positive: float) -> np.ndarray:
    return np.array([[1 - p, p] for p in positive])


def test_two_labels_by_hand():
    """Ranking 0.9+ 0.8- 0.6+ 0.3- 0.2- 0.1-: 7 of 8 pairs are in order."""
    scores = diagnosis_report(two(0.9, 0.8, 0.6, 0.3, 0.2, 0.1), np.array([1, 0, 1, 0, 0, 0]))
    assert scores.positive == 1
    assert scores.n == 6
    assert scores.accuracy == pytest.approx(5 / 6)
    assert scores.sensitivity == 1.0
    assert scores.specificity == pytest.approx(3 / 4)
    assert scores.balanced_accuracy == pytest.approx((1 + 3 / 4) / 2)
    assert scores.auroc == pytest.approx(7 / 8)
    assert scores.auprc == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert scores.majority == pytest.approx(4 / 6)


def test_the_rarest_label_is_positive_wherever_it_stands():
    straight = diagnosis_report(two(0.9, 0.8, 0.6, 0.3, 0.2), np.array([1, 0, 1, 0, 0]))
    turned = diagnosis_report(two(0.1, 0.2, 0.4, 0.7, 0.8), np.array([0, 1, 0, 1, 1]))
    assert (straight.positive, turned.positive) == (1, 0)
    assert turned.auroc == pytest.approx(straight.auroc)
    assert turned.auprc == pytest.approx(straight.auprc)
    assert turned.sensitivity == straight.sensitivity


def test_the_positive_label_can_be_held_where_targets_are_drawn_again():
    certainties = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.7, 0.3]])
    targets = np.array([0, 1, 1, 1])
    assert diagnosis_report(certainties, targets).sensitivity == 1.0  # of label 0, the rarest
    held = diagnosis_report(certainties, targets, positive=1)
    assert (held.sensitivity, held.specificity) == pytest.approx((1 / 3, 1.0))
    assert rarest_label(np.array([0, 1, 1, 0]), 2) == 1


def test_wilson_interval():
    """8 of 10, z = 1.96: the textbook interval 0.4902 to 0.9433."""
    scores = diagnosis_report(two(*[0.9] * 10), np.array([1] * 8 + [0] * 2))
    assert scores.accuracy_low == pytest.approx(0.4902, abs=1e-4)
    assert scores.accuracy_high == pytest.approx(0.9433, abs=1e-4)


def test_calibration():
    """Always 0.75 sure: no error when right three times in four, 0.25 when always right."""
    probabilities = two(*[0.75] * 8)
    honest = diagnosis_report(probabilities, np.array([1, 1, 1, 0] * 2))
    modest = diagnosis_report(probabilities, np.array([1] * 8))
    assert honest.ece == pytest.approx(0.0, abs=1e-6)
    assert modest.ece == pytest.approx(0.25, abs=1e-6)


def test_a_label_that_is_absent_gives_nan_not_a_guess():
    scores = diagnosis_report(two(0.9, 0.2, 0.1), np.array([0, 0, 0]))
    assert scores.positive == 1
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.specificity == pytest.approx(2 / 3)
    undefined = (scores.auroc, scores.auprc, scores.sensitivity, scores.balanced_accuracy)
    assert all(math.isnan(value) for value in undefined)


def test_three_labels_are_macro_averages():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    scores = diagnosis_report(probabilities, np.array([0, 1, 1, 2]))
    assert scores.auroc == 1.0
    assert scores.sensitivity == scores.balanced_accuracy == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert scores.specificity == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert scores.positive == 2


def test_single_precision_from_a_network_is_accepted():
    logits = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert diagnosis_report(probabilities, np.arange(50) % 3).n == 50


@pytest.mark.parametrize(
    ("probabilities", "targets"),
    [
        (np.ones((0, 2)), np.array([], dtype=int)),
        (np.ones((3, 1)), np.zeros(3, dtype=int)),
        (two(0.5, 0.5), np.array([0])),
        (two(0.5, 0.5), np.array([0, 2])),
        (two(0.5, 0.5) * 3, np.array([0, 1])),
        (two(-0.5, 0.5), np.array([0, 1])),
        (two(math.nan, 0.5), np.array([0, 1])),
    ],
    ids=["empty", "one label", "lengths", "no such label", "no distribution", "negative", "nan"],
)
def test_what_cannot_be_scored_is_refused(probabilities, targets):
    with pytest.raises(ValueError, match=r"probabilities|targets"):
        diagnosis_report(probabilities, targets)
