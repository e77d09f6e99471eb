"""Figures 3 and 4, from test X-rays of a trained chain."""

import numpy as np

from xrj.datamodules.datamodule import IUXRayDataModule
from xrj.datamodules.images import read_image
from xrj.evaluate.plots import png_uri
from xrj.evaluate.readings import Readings, balanced_rows, read_test_split
from xrj.evaluate.results import Plot, ResultTable
from xrj.justify.figures import Example, figure3, figure4
from xrj.justify.justification import JustifySettings, justify_all
from xrj.justify.model import JustificationModel

SHOWN = 4
"""X-rays in figure 3."""


def drawn_figures(
    model: JustificationModel, data: IUXRayDataModule, settings: JustifySettings, seed: int
) -> list[ResultTable]:
    """Return figure 3 and, where there is a classifier, figure 4, as tables without rows.

    Args:
        model: The chain.
        data: Its data.
        settings: How X-rays are justified.
        seed: Of what is drawn from the test split.
    """
    readings = read_test_split(model, data)
    rows = _chosen(readings, seed)
    frame = readings.frame.iloc[rows]
    images = [read_image(path) for path in frame["path"]]
    names = [str(name) for name in frame["image_id"]]
    made = justify_all(model, images, names, settings, seed)
    examples = [
        Example(one, str(label), " ".join(captions[0]))
        for one, label, captions in zip(made, frame["label"], frame["captions"], strict=True)
    ]
    wrong = sum(
        one.found.diagnosis != label for one, label in zip(made, frame["label"], strict=True)
    )
    caption = (
        f"Test X-rays over their own label and caption; the reconstruction by stage I over "
        f"diagnosis and caption; by stage II; the nearest other diagnosis. {wrong} of {len(made)} "
        "diagnoses are wrong"
    )
    tables = [
        ResultTable(
            "figure_3",
            "Figure 3: X-rays, their reconstructions and alternatives",
            (),
            (),
            "As in the paper right diagnoses come first, then wrong ones where there are any; "
            "otherwise drawn at random, labels in turn.",
            plots=(Plot(caption, png_uri(figure3(examples))),),
        )
    ]
    if model.classifier is not None:
        shown = (
            "The X-ray and the classifier's attention at an intermediate and at an abstract level"
        )
        tables.append(
            ResultTable(
                "figure_4",
                "Figure 4: the classifier's attention",
                (),
                (),
                "The rival justification, by the independent classifier of this chain.",
                plots=(Plot(shown, png_uri(figure4(made[:2]))),),
            )
        )
    return tables


def _chosen(readings: Readings, seed: int) -> list[int]:
    """Return rows of right diagnoses, labels in turn, then of wrong ones, up to half `SHOWN`."""
    order = balanced_rows(readings.targets, len(readings.targets), seed)
    right = readings.certainties.argmax(axis=1) == readings.targets
    wrong_rows = [row for row in order if not right[row]][: SHOWN // 2]
    right_rows = [row for row in order if right[row]][: SHOWN - len(wrong_rows)]
    return [int(row) for row in np.array(right_rows + wrong_rows, dtype=np.int64)]
