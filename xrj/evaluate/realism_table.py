"""Table of counterfactuals as pictures: are they X-rays, of this patient, and no copies?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xrj.datamodules.images import UInt8
from xrj.evaluate.bench import NO_TRUE, TRUE, UNASKED, Bench, Values
from xrj.evaluate.features import THUMBNAIL, Features, thumbnails
from xrj.evaluate.figure import Figure
from xrj.evaluate.results import Cell, Column, ResultTable, Row
from xrj.evaluate.validity_table import NO_CLASSIFIER
from xrj.measures.distribution import (
    frechet_distance,
    kernel_distance,
    resampled_kernel_distances,
)
from xrj.measures.identity import nearest_distances, own_ranks
from xrj.measures.statistics import percentiles
from xrj.seeding import numpy_rng

REAL, RECONSTRUCTIONS = "Real X-rays", "Reconstructions"
LEAST = 2
"""Pictures of a label that a set must hold to be compared."""

COLUMNS = (
    Column("kernel", "Own-domain KID", 4, better="low"),
    Column("frechet", "Own-domain Fréchet distance", 3, better="low", least=0),
    Column("hit", "Own patient nearest: features", 1, percent=True, better="high"),
    Column("rank", "Rank of the own patient: features", 1, better="low", least=1),
    Column("hit_pixels", "Own patient nearest: pixels", 1, percent=True, better="high"),
    Column("rank_pixels", "Rank of the own patient: pixels", 1, better="low", least=1),
    Column("nearest", "Distance to the nearest training X-ray", 4, least=0),
    Column("copies", "Nearer than any real one", 1, percent=True, better="low"),
)


def realism_table(bench: Bench) -> ResultTable:
    """Return how like X-rays, like their patient and unlike training X-rays the pictures are."""
    sets = {
        REAL: (bench.xrays.large, bench.xrays.labels),
        RECONSTRUCTIONS: (bench.start.large, bench.sources),
        **{name: (made.after, bench.asked(made)) for name, made in bench.methods.items()},
    }
    least = float(nearest_distances(thumbnails(bench.test.large), bench.train_thumbnails).min())
    compared = _Compared.of(bench, [labels for _, labels in sets.values()])
    rows = []
    for name, (pictures, labels) in bench.progress(list(sets.items()), "Counterfactuals: realism"):
        features = bench.method_features.get(name) or bench.features(pictures)
        cells: dict[str, Cell] = {}
        mean = partial(bench.mean_asked, asked=labels)
        if features is not None:
            cells = compared.distances(bench, features, labels)
        if name != REAL:
            cells |= _identity(bench, pictures, features, mean)
        far = nearest_distances(thumbnails(pictures), bench.train_thumbnails)
        cells |= {"nearest": mean(far), "copies": mean(far < least)}
        rows.append(Row(name, cells, reference=name in (REAL, RECONSTRUCTIONS, TRUE)))
    patients = len(set(bench.test.patients))
    note = (
        f"{len(bench.rows)} X-rays of the test split. Own-domain: in the features that the "
        "independent classifier's last layer judges by, so neither an FID nor a KID and comparable "
        "within this table alone. KID: Binkowski et al. "
        "2018, unbiased, without subsets; Fréchet: between Gaussians, biased upwards at this size. "
        f"{compared.note} Own patient: whether of "
        f"all {len(bench.test.labels)} test X-rays of {patients} patients the most similar one is "
        "the patient's own, by the cosine of the classifier's intermediate features, and of "
        f"centred pixels at {THUMBNAIL} a side, which need no net; by chance {100 / patients:.1f} "
        "%. Distance: root mean square over these pixels, grey values in [-1, 1]; nearer than any "
        "real one: than every test X-ray is to a training X-ray, as copies would be. Smooth "
        "pictures are nearer to all, see the reconstructions."
    )
    if TRUE in bench.methods:
        note += f" {NO_TRUE}"
    if bench.classifier is None:
        note += f" {NO_CLASSIFIER}"
    title = "Counterfactuals: realism, identity and memorisation"
    return ResultTable(
        "counterfactuals_realism", title, COLUMNS, tuple(rows), note, drawn=("kernel", "hit_pixels")
    )


@dataclass(frozen=True)
class _Compared:
    """What of each set is compared with the training split, so that labels have equal parts.

    Attributes:
        each: Pictures of each label that every set gives to the Frechet distance, (L,); 0 where a
            set lacks the label.
        reference: Rows of the training split for it, of the same shares.
    """

    each: NDArray[np.int64]
    reference: list[int]

    @classmethod
    def of(cls, bench: Bench, sets: Sequence[NDArray[np.int64]]) -> Self:
        """Choose as many of each label as the scarcest set holds."""
        kinds = len(bench.model.labels)
        shown = [labels[labels != UNASKED] for labels in sets]
        counts = np.array([np.bincount(labels, minlength=kinds) for labels in shown])
        available = np.bincount(bench.train.labels, minlength=kinds)
        each = np.minimum(counts.min(axis=0), available)
        each[each < LEAST] = 0
        times = min((available[each > 0] // each[each > 0]).tolist(), default=0)
        return cls(each, _draw(bench.train.labels, times * each, bench.seed))

    @property
    def note(self) -> str:
        return (
            "Sets are compared with the training split, labels in equal parts: those that pictures "
            "are meant to show. KID weighs all pictures so; Fréchet takes "
            f"{' + '.join(map(str, self.each))} of the labels and {len(self.reference)} training "
            "X-rays of the same shares. The real X-rays' distance is the floor: they are of other "
            "patients than the training split's."
        )

    def distances(
        self, bench: Bench, features: Features, labels: NDArray[np.int64]
    ) -> dict[str, Cell]:
        """Return the distances of a set to the training split."""
        train = bench.train_features
        kept = np.flatnonzero(self.each)
        if train is None or not len(kept):
            return {}
        ours, theirs = (np.flatnonzero(np.isin(one, kept)) for one in (labels, bench.train.labels))
        a, b = features.last[ours], train.last[theirs]
        kinds = labels[ours].tolist(), bench.train.labels[theirs].tolist()
        owners = (
            [bench.xrays.patients[row] for row in ours],
            [bench.train.patients[row] for row in theirs],
        )
        resampled = resampled_kernel_distances(
            a, b, owners, kinds=kinds, resamples=bench.resamples, seed=bench.seed
        )
        interval = percentiles(resampled) or (None, None)
        rows = _draw(labels, self.each, bench.seed)
        return {
            "kernel": Figure(kernel_distance(a, b, kinds), len(ours), *interval),
            "frechet": Figure(
                frechet_distance(features.last[rows], train.last[self.reference]), len(rows)
            ),
        }


def _draw(labels: NDArray[np.int64], each: NDArray[np.int64], seed: int) -> list[int]:
    """Draw so many rows of each label."""
    order = numpy_rng(seed, "compared").permutation(len(labels))
    return sorted(
        int(row)
        for label, count in enumerate(each)
        for row in order[labels[order] == label][:count]
    )


def _identity(
    bench: Bench, pictures: UInt8, features: Features | None, mean: Callable[[Values], Figure]
) -> dict[str, Cell]:
    patients = bench.xrays.patients

    def ranks(queries: Tensor, gallery: Tensor) -> NDArray[np.int64]:
        return own_ranks(queries, gallery, patients, bench.test.patients)

    small, gallery = (thumbnails(one) for one in (pictures, bench.test.large))
    centred = [rows - rows.mean(dim=1, keepdim=True) for rows in (small, gallery)]
    by_pixels = ranks(*centred)
    cells: dict[str, Cell] = {
        "hit_pixels": mean(by_pixels == 1),
        "rank_pixels": mean(by_pixels.astype(float)),
    }
    test = bench.test_features
    if features is None or test is None:
        return cells
    by_features = ranks(features.places, test.places)
    return {
        **cells,
        "hit": mean(by_features == 1),
        "rank": mean(by_features.astype(float)),
    }
