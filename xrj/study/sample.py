"""Drawing a study from the test split of a trained chain."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from xrj.datamodules.datamodule import IUXRayDataModule
from xrj.datamodules.images import read_image
from xrj.errors import ConfigError, HandoverError
from xrj.evaluate.readings import BATCH, read_test_split
from xrj.justify.evidence import take_vote
from xrj.justify.justification import JustifySettings, justify_all
from xrj.justify.model import JustificationModel
from xrj.justify.saliency import saliency_maps
from xrj.programs import program
from xrj.study.design import Design, Item, assign, reading_order, seen_twice
from xrj.study.folder import Sealed, item_id
from xrj.study.methods import (
    COUNTERFACTUAL,
    METHODS,
    SALIENCY,
    show_counterfactual,
    show_saliency,
)


@dataclass(frozen=True)
class Plan:
    """What is drawn, before anything is justified.

    Attributes:
        design: Of the study.
        frame: Rows of the test split.
        diagnoses: Of each X-ray of the test split, by method.
        items: What was drawn.
        ids: Their names.
    """

    design: Design
    frame: pd.DataFrame
    diagnoses: dict[str, list[str]]
    items: list[Item]
    ids: list[str]

    def orders(self, seed: int) -> dict[str, list[str]]:
        """Return each reader's items in reading order."""
        return {
            name: [self.ids[place] for place in reading_order(self.items, reader, seed)]
            for reader, name in enumerate(self.design.readers)
        }


def check_methods(design: Design, model: JustificationModel) -> None:
    """Check that the model can show all methods of a design.

    Raises:
        ConfigError: A method is unknown.
        HandoverError: A method needs a classifier and there is none.
    """
    for method in design.methods:
        if method not in METHODS:
            raise ConfigError(f"study.methods: {method}: unknown; choose from {', '.join(METHODS)}")
    if model.classifier is None and set(design.methods) & set(SALIENCY):
        raise HandoverError(
            f"{model.name}: has no classifier, whose maps study.methods asks for; run "
            f"{program('train')} stage=classifier name={model.name} with the settings of this "
            f"chain, or set study.methods=[{COUNTERFACTUAL}]"
        )


def plan(model: JustificationModel, data: IUXRayDataModule, design: Design, seed: int) -> Plan:
    """Draw X-rays of the test split and assign them.

    Args:
        model: Whose diagnoses are judged.
        data: With the model's test split.
        design: Of the study.
        seed: Of the draw.

    Raises:
        UserError: The methods do not fit the model, or the test split is too small.
    """
    check_methods(design, model)
    frame, diagnoses = _diagnose(model, data, design)
    strata = [
        (label, *(names[row] == label for names in diagnoses.values()))
        for row, label in enumerate(frame["label"])
    ]
    items = assign(design, strata, seed)
    return Plan(design, frame, diagnoses, items, [item_id() for _ in items])


def justify_items(
    model: JustificationModel,
    drawn: Plan,
    settings: JustifySettings,
    seed: int,
    advance: Callable[[int], None],
) -> tuple[dict[str, str], dict[str, Sealed]]:
    """Justify every item under its method.

    Args:
        model: As in `plan`.
        drawn: What to justify.
        settings: Of the justifications.
        seed: Of the justifications.
        advance: Told the number of items after each batch.

    Returns:
        HTML and truth by item, in the order of the items' names, which tells nothing.
    """
    items = drawn.items
    number = {row: n for n, row in enumerate(dict.fromkeys(item.row for item in items), start=1)}
    evidence: dict[str, str] = {}
    truth: dict[str, Sealed] = {}
    for start in range(0, len(items), settings.batch):
        places = range(start, min(start + settings.batch, len(items)))
        for method in dict.fromkeys(items[place].method for place in places):
            mine = [place for place in places if items[place].method == method]
            rows = drawn.frame.iloc[[items[place].row for place in mine]]
            shown = _show(model, rows, method, settings, seed)
            for place, row, (html, diagnosis) in zip(
                mine, rows.itertuples(index=False), shown, strict=True
            ):
                item = drawn.ids[place]
                evidence[item] = html
                truth[item] = Sealed(
                    number[items[place].row], str(row.image_id), method, str(row.label), diagnosis
                )
        advance(len(places))
    return dict(sorted(evidence.items())), dict(sorted(truth.items()))


def _diagnose(
    model: JustificationModel, data: IUXRayDataModule, design: Design
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Return the test split and its diagnoses by method, without their justifications."""
    readings = read_test_split(model, data)
    by_chain = [model.labels[place] for place in readings.certainties.argmax(axis=1)]
    by_classifier: list[str] = []
    if set(design.methods) & set(SALIENCY):
        images, _ = data.evaluation_images("test", model.sizes[1])
        for start in range(0, len(images), BATCH):
            certainties = _classify(model, images[start : start + BATCH])
            by_classifier += [model.labels[int(place)] for place in certainties.argmax(dim=1)]
    return readings.frame, {
        method: by_chain if method == COUNTERFACTUAL else by_classifier for method in design.methods
    }


@torch.no_grad()
def _classify(model: JustificationModel, pictures: np.ndarray[Any, Any]) -> torch.Tensor:
    certainties = model.classify(model.to_images(pictures))
    assert certainties is not None  # noqa: S101  # see check_methods
    return certainties


def _show(
    model: JustificationModel,
    rows: pd.DataFrame,
    method: str,
    settings: JustifySettings,
    seed: int,
) -> list[tuple[str, str]]:
    """Return HTML and diagnosis of X-rays under a method."""
    images = [read_image(path) for path in rows["path"]]
    if method == COUNTERFACTUAL:
        names = [str(path) for path in rows["path"]]
        return [
            (show_counterfactual(one, one.target), one.found.diagnosis)
            for one in justify_all(model, images, names, settings, seed)
        ]
    originals = np.stack([model.view(image, model.sizes[1]) for image in images])
    votes = [take_vote(model.labels, row, "") for row in _classify(model, originals)]
    assert model.classifier is not None  # noqa: S101  # see check_methods
    maps = saliency_maps(
        model.classifier,
        model.to_images(originals),
        [vote.label for vote in votes],
        model.labels,
        SALIENCY[method],
    )
    return [(show_saliency(*one), one[2].label) for one in zip(originals, maps, votes, strict=True)]


def describe(drawn: Plan) -> tuple[dict[str, Any], list[str]]:
    """Return what was drawn as counts, and as lines for whoever runs the study."""
    design, items, labels = drawn.design, drawn.items, drawn.frame["label"].tolist()
    rows = {item.row for item in items}
    methods, readers = len(design.methods), len(design.readers)
    several = len(items) - len(rows)
    twice = seen_twice(items)
    lines = [
        f"{design.ratings} ratings: {readers} readers x {methods} methods x {design.per_reader} "
        f"X-rays; all readers rate {design.shared} of them",
        f"{len(rows)} different X-rays of {len(labels)} in the test split",
        f"overlap={design.overlap}: "
        + (
            f"{several} times an X-ray appears under a further method; {twice} times a reader sees "
            "an X-ray twice, once in each half of the order"
            if several
            else "each X-ray appears under one method"
        ),
    ]
    wrong = {}
    for method, names in drawn.diagnoses.items():
        mine = [item.row for item in items if item.method == method]
        here = sum(names[row] != labels[row] for row in mine)
        whole = sum(name != label for name, label in zip(names, labels, strict=True))
        wrong[method] = {"drawn": here, "of": len(mine), "test_split": whole}
        lines.append(
            f"wrong diagnoses, {method}: {here} of {len(mine)} drawn, {whole} of {len(labels)} in "
            "the test split"
        )
    counts = {
        "ratings": design.ratings,
        "items": len(items),
        "xrays": len(rows),
        "test_split": len(labels),
        "further_methods": several,
        "seen_twice": twice,
        "wrong": wrong,
    }
    return counts, lines
