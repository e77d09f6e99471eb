"""Saliency and counterfactual on one axis: whose order of pixels turns or keeps the classifier?"""

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from torch import Tensor

from xrj.datamodules.images import UInt8, to_tensor
from xrj.evaluate.bench import NO_TRUE, OURS, TRUE, Bench
from xrj.evaluate.methods import Counterfactuals
from xrj.evaluate.results import Cell, Column, ResultTable, Row
from xrj.evaluate.validity_table import NO_CLASSIFIER
from xrj.justify.protocol import PART
from xrj.justify.saliency import saliency_maps
from xrj.measures.insertion import area, cout, pixel_order, transition
from xrj.nets.zoo import Classifier
from xrj.seeding import torch_generator

COUNT = 32
"""X-rays at most: each costs hundreds of evaluations of the classifier."""
STEPS = 10
"""Of a transition from one picture to another."""
BLUR = 1 / 8
"""Deviation of the blur that takes a picture's content away, a share of its side."""
AT_RANDOM = "Random order"
CHANGE = "|G(r') - G(r)|"

COLUMNS = (
    Column("cout", "COUT", 3, better="high", least=-1, most=1),
    Column("target", "Area of the other label", 3, better="high", least=0, most=1),
    Column("source", "Area of the first label", 3, better="low", least=0, most=1),
    Column("insertion", "Insertion", 3, better="high", least=0, most=1),
    Column("deletion", "Deletion", 3, better="low", least=0, most=1),
)


def axis_table(bench: Bench) -> ResultTable:
    """Return how soon orders of pixels turn the independent classifier."""
    note = "Not measured."
    rows: list[Row] = []
    if bench.classifier is None:
        note = NO_CLASSIFIER
    else:
        ours = bench.methods[OURS].take(slice(COUNT))
        orders = _orders(bench, bench.classifier, ours)
        rows = [
            Row(name, _one_axis(bench, bench.classifier, ours, place))
            for name, place in bench.progress(list(orders.items()), "Counterfactuals: COUT")
        ]
        for name, made in bench.methods.items():
            if name != OURS:
                rival = made.take(slice(COUNT))
                place = pixel_order(_change(rival), torch_generator(bench.seed, name))
                cells = _transition(bench, bench.classifier, rival, place)
                rows.append(Row(f"{name}: its own change", cells, reference=name == TRUE))
        note = (
            f"{len(ours.targets)} X-rays of the test split, judged by the independent classifier. "
            "COUT (Khorram & Fuxin 2022): in an order of pixels ours, G(r'), replaces G(r) in "
            f"{STEPS} steps; the area under the certainty of the other label less that of the "
            "first, from -1 to 1. Rivals' rows: their own counterfactual replaces its start, "
            "pixels that change most first. Insertion and deletion (Petsiuk et al. 2018): in the "
            "same order the X-ray replaces its blurred copy, and the other way round; the area "
            "under the certainty of the classifier's own diagnosis. Blurred pictures have a "
            "diagnosis, too, so both are to be read against the random order. Saliency explains "
            "the classifier on the X-ray; our change explains the model and never saw it."
        )
        if TRUE in bench.methods:
            note += f" {NO_TRUE}"
    title = "Saliency and counterfactual on one axis"
    return ResultTable("counterfactuals_axis", title, COLUMNS, tuple(rows), note, drawn=("cout",))


def _change(made: Counterfactuals) -> Tensor:
    return torch.from_numpy(cv2.absdiff(made.before, made.after)).float()


def _orders(bench: Bench, classifier: Classifier, ours: Counterfactuals) -> Mapping[str, Tensor]:
    """Return the places of the pixels of each X-ray, by the name of what orders them."""
    images = _images(classifier, bench.xrays.large[: len(ours.targets)])
    labels = bench.model.labels
    explained = [labels[place] for place in bench.sources[: len(images)]]
    maps: dict[str, list[Tensor]] = {CHANGE: list(_change(ours))}
    parts = range(0, len(images), PART)
    for first in bench.progress(parts, "Counterfactuals: saliency"):
        rows = slice(first, first + PART)
        for found in saliency_maps(classifier, images[rows], explained[rows], labels):
            for one in found:
                maps.setdefault(one.title, []).append(torch.from_numpy(one.values))
    maps[AT_RANDOM] = [torch.zeros(images.shape[-2:])] * len(images)
    return {
        name: pixel_order(torch.stack(values), torch_generator(bench.seed, name))
        for name, values in maps.items()
    }


def _images(classifier: Classifier, pictures: UInt8) -> Tensor:
    return to_tensor(pictures).to(next(classifier.parameters()).device)


def _transition(
    bench: Bench, classifier: Classifier, made: Counterfactuals, place: Tensor
) -> dict[str, Cell]:
    """Measure what the classifier says while a counterfactual replaces its start."""
    start, end = (_images(classifier, pictures) for pictures in (made.before, made.after))
    curves = transition(classifier.classify, start, end, place.to(start.device), STEPS).cpu()
    target = torch.from_numpy(made.targets)
    source = torch.from_numpy(bench.sources[: len(target)])
    rows = torch.arange(len(target))
    mean = bench.mean_of(made)
    return {
        "cout": mean(cout(curves, source, target).tolist()),
        "target": mean(area(curves[rows, :, target]).tolist()),
        "source": mean(area(curves[rows, :, source]).tolist()),
    }


def _one_axis(
    bench: Bench, classifier: Classifier, ours: Counterfactuals, place: Tensor
) -> dict[str, Cell]:
    pictures = bench.xrays.large[: len(ours.targets)]
    sigma = BLUR * pictures.shape[-1]
    blurred = np.stack([cv2.GaussianBlur(picture, (0, 0), sigma) for picture in pictures])
    clear, vague = _images(classifier, pictures), _images(classifier, blurred)
    cells = _transition(bench, classifier, ours, place)
    for key, start, end in (("insertion", vague, clear), ("deletion", clear, vague)):
        curves = transition(classifier.classify, start, end, place.to(start.device), STEPS)
        whole = curves[:, -1 if key == "insertion" else 0]
        rows = torch.arange(len(curves), device=curves.device)
        cells[key] = bench.mean(area(curves[rows, :, whole.argmax(dim=1)]).tolist())
    return cells
