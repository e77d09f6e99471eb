"""The X-rays of figure 3: right diagnoses, then wrong ones, labels in turn."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from xrj.evaluate.readings import Readings
from xrj.reproduction.figures import SHOWN, drawn_figures

LABELS = ("normal", "cardiomegaly", "effusion", "other")
WRONG = (5, 2, 11, 0, 8, 3)
"""Rows whose diagnosis is wrong, the first few of them where few are."""


def readings(wrong):
    targets = np.arange(12) % len(LABELS)
    said = targets.copy()
    said[list(WRONG[:wrong])] += 1
    names = [LABELS[target] for target in targets]
    frame = pd.DataFrame(
        {
            "image_id": [f"x{row}" for row in range(12)],
            "path": [f"x{row}.png" for row in range(12)],
            "label": names,
            "captions": [[["caption", str(row)], ["another"]] for row in range(12)],
        }
    )
    return Readings(frame, targets, np.eye(len(LABELS))[said % len(LABELS)], [])


@pytest.fixture
def draw(monkeypatch):
    """Return the examples of figure 3 and its caption, with some diagnoses wrong."""

    def made(wrong, seed=0):
        known, shown = readings(wrong), []
        said = dict(zip(known.frame["image_id"], known.certainties.argmax(axis=1), strict=True))

        def justify_all(model, images, names, settings, seed):
            assert images == [f"{name}.png" for name in names]
            return [
                SimpleNamespace(name=name, found=SimpleNamespace(diagnosis=LABELS[said[name]]))
                for name in names
            ]

        def figure3(examples):
            shown.extend(examples)
            return b""

        changes = {
            "read_test_split": lambda model, data: known,
            "read_image": lambda path: path,
            "justify_all": justify_all,
            "figure3": figure3,
        }
        for name, change in changes.items():
            monkeypatch.setattr(f"xrj.reproduction.figures.{name}", change)
        (table,) = drawn_figures(SimpleNamespace(classifier=None), None, None, seed)
        return shown, table.plots[0].caption

    return made


def names(examples):
    return [example.justification.name for example in examples]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("wrong", "shown"), [(0, 0), (1, 1), (2, 2), (6, 2)])
def test_right_diagnoses_come_first_then_at_most_as_many_wrong_ones(draw, wrong, shown, seed):
    examples, caption = draw(wrong, seed)
    right = [example.justification.found.diagnosis == example.label for example in examples]
    assert right == [True] * (SHOWN - shown) + [False] * shown
    assert len(set(names(examples))) == SHOWN
    assert f"{shown} of {SHOWN} diagnoses are wrong" in caption


@pytest.mark.parametrize("seed", range(4))
def test_labels_take_turns_in_figure_3(draw, seed):
    examples, _ = draw(0, seed)
    assert {example.label for example in examples} == set(LABELS)


def test_the_xrays_of_figure_3_are_drawn_by_the_seed(draw):
    drawn = [names(draw(2, seed)[0]) for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert any(drawn[0] != other for other in drawn[2:])


def test_an_xray_of_figure_3_is_shown_with_its_own_label_and_first_caption(draw):
    for example in draw(2)[0]:
        row = int(example.justification.name.removeprefix("x"))
        assert (example.label, example.caption) == (LABELS[row % 4], f"caption {row}")
