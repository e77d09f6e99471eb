"""The bench on which counterfactuals are measured: X-rays, methods and features, each made once."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from xrj.datamodules.datamodule import IUXRayDataModule, Split
from xrj.datamodules.images import UInt8
from xrj.datamodules.phantom import redraw, redraws
from xrj.datamodules.phantom_study import EFFUSION
from xrj.evaluate.features import Features, read_features, thumbnails
from xrj.evaluate.figure import Figure
from xrj.evaluate.methods import (
    Counterfactuals,
    Found,
    PerXray,
    Start,
    Xrays,
    draw,
    encode,
    map_latent,
    refined,
)
from xrj.evaluate.readings import balanced_rows
from xrj.evaluate.rivals import (
    change_pixels,
    nearest_real,
    shift_latent,
    step_at_random,
    true_counterfactual,
)
from xrj.justify.justification import JustifySettings
from xrj.justify.model import JustificationModel
from xrj.justify.protocol import Justifiable
from xrj.measures.statistics import bootstrap_over_groups
from xrj.nets.zoo import Classifier
from xrj.seeding import torch_generator

OURS, UNREFINED = "Ours", "Ours, not refined"
SHIFT, SHIFT_PICTURE = "Latent shift", "Latent shift, through the picture"
RANDOM = "Random direction"
PIXELS, NEAREST = "Adversarial pixels", "Nearest real X-ray"
TRUE = "True counterfactual"
UNASKED = -1
"""In place of the label that a picture should show: none, it is the X-ray itself."""
NO_TRUE = "An X-ray that the model misreads has no true counterfactual and is left out of that row."
MIDDLE = 2.5, 97.5
"""Percentiles between which a true CTR is usual for its label."""

Part = TypeVar("Part", bound=PerXray)
Step = TypeVar("Step")
Redraw = Callable[[Xrays, NDArray[np.int64]], tuple[UInt8, UInt8]]
Values = NDArray[np.float64] | NDArray[np.bool_] | Sequence[float | None]


@dataclass(frozen=True)
class Bench:
    """What counterfactuals are measured with and on.

    Attributes:
        model: That is explained.
        classifier: The judge that has no part in it; None without one.
        settings: How ours searches.
        test: All X-rays of the test split.
        rows: Those of them that are explained, labels by turns as far as there are enough.
        train: The training split.
        usual_ctr: By label, between which true cardiothoracic ratios most training X-rays lie;
            empty where the truth is unknown.
        redraw: Draws X-rays again as of other labels, at the sizes of `small` and `large`; None
            where nobody knows what they would be.
        resamples: Of the patients, for intervals.
        seed: Of all that is drawn at random.
        quiet: Show no progress.
    """

    model: Justifiable
    classifier: Classifier | None
    settings: JustifySettings
    test: Xrays
    rows: Sequence[int]
    train: Xrays
    usual_ctr: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    redraw: Redraw | None = None
    resamples: int = 1000
    seed: int = 0
    quiet: bool = False

    @classmethod
    def of(
        cls,
        model: JustificationModel,
        data: IUXRayDataModule,
        settings: JustifySettings,
        *,
        count: int,
        resamples: int,
        seed: int,
    ) -> "Bench":
        """Return the bench of a chain and its data.

        Args:
            model: The chain.
            data: Prepared.
            settings: How ours searches.
            count: Test X-rays to explain; all where there are fewer, otherwise labels balanced.
            resamples: See the attributes; so is the next.
            seed: See `resamples`.

        Raises:
            DataError: The test or the training split is empty.
        """
        test, train = (_read_xrays(model, data, split) for split in ("test", "train"))
        rows = balanced_rows(test.labels, count, seed)
        usual = _usual_ctr(model.labels, train, data.path / "truth.csv")
        known = redraws(data.path) and _labelled_as_drawn(model.labels, test, data.path)
        again = functools.partial(_redraw, model, data.path) if known else None
        classifier = model.classifier
        return cls(model, classifier, settings, test, rows, train, usual, again, resamples, seed)

    # X-rays

    @functools.cached_property
    def xrays(self) -> Xrays:
        """The X-rays that are explained."""
        return self.test.take(self.rows)

    @functools.cached_property
    def images(self) -> Tensor:
        """The X-rays as they are encoded."""
        return self.model.to_images(self.xrays.small)

    @functools.cached_property
    def one_shot(self) -> Start:
        """I(x)."""

        def read(rows: slice) -> Start:
            return encode(self.model, self.xrays.take(rows))

        return self._in_batches(read, len(self.rows), "Encoding")

    @property
    def refines(self) -> bool:
        """Whether ours starts from a refined r: settings ask for it, and there is noise to fit."""
        noise = self.model.split(self.one_shot.r)[1]
        return bool(self.settings.refinement.steps and noise.shape[1])

    @functools.cached_property
    def start(self) -> Start:
        """I(x), refined where it is."""
        if not self.refines:
            return self.one_shot

        def refine(rows: slice) -> Start:
            start, settings = self.one_shot.take(rows), self.settings.refinement
            return refined(self.model, self.xrays.take(rows), start, settings)

        return self._in_batches(refine, len(self.rows), "Refining")

    @functools.cached_property
    def sources(self) -> NDArray[np.int64]:
        """The diagnoses that are explained, (N,)."""
        return self.read(self.start.r)

    # Methods

    @functools.cached_property
    def methods(self) -> Mapping[str, Counterfactuals]:
        """What ours and its rivals make of the X-rays, by name."""
        model, start, mapping = self.model, self.start, self.settings.mapping
        ours = self.map(start.r, self.images, OURS)
        made = {OURS: draw(model, OURS, start, ours)}
        if self.refines:
            found = self.map(self.one_shot.r, self.images, UNREFINED)
            made[UNREFINED] = draw(model, UNREFINED, self.one_shot, found)

        def of_picture(r: Tensor) -> Tensor:
            return model.label_logits(model.encode(model.generate(r)))

        for name, logits in ((SHIFT, model.label_logits), (SHIFT_PICTURE, of_picture)):
            found = self._shift(logits, name)
            made[name] = draw(model, name, start, found)
        names, certainty = self.xrays.names, mapping.certainty
        found = step_at_random(model, start.r, ours, certainty, names, self.seed)
        made[RANDOM] = draw(model, RANDOM, start, found)

        def change(rows: slice) -> Counterfactuals:
            xrays, generators = self.xrays.take(rows), self._generators(rows)
            return change_pixels(model, PIXELS, xrays, mapping, generators)

        made[PIXELS] = self._in_batches(change, len(self.rows), PIXELS)
        made[NEAREST] = nearest_real(NEAREST, self.xrays, self.train, ours.targets)
        if self.redraw is not None:
            small, large = self.redraw(self.xrays, ours.targets)
            made[TRUE] = true_counterfactual(TRUE, self.xrays, ours.targets, small, large)
        return made

    def _shift(self, logits: Callable[[Tensor], Tensor], name: str) -> Found:
        r, certainty = self.start.r, self.settings.mapping.certainty
        return self._in_batches(lambda rows: shift_latent(logits, r[rows], certainty), len(r), name)

    def map(self, r: Tensor, images: Tensor, name: str) -> Found:
        """Map representations to their nearest alternatives by M.

        Args:
            r: Of the X-rays that are explained, or of the first of them.
            images: That G(r') should stay near.
            name: For the progress.
        """

        def search(rows: slice) -> Found:
            generators = self._generators(rows)
            return map_latent(self.model, r[rows], images[rows], self.settings.mapping, generators)

        return self._in_batches(search, len(r), name)

    def read(self, r: Tensor) -> NDArray[np.int64]:
        """Return the labels that the model reads off representations, (N,)."""
        with torch.no_grad():
            said: NDArray[np.int64] = self.model.label_logits(r).argmax(dim=1).cpu().numpy()
        return said

    def _generators(self, rows: slice) -> list[torch.Generator]:
        names = self.xrays.names[rows]
        return [torch_generator(self.seed, "restart", Path(name).name) for name in names]

    def _in_batches(self, make: Callable[[slice], Part], count: int, name: str) -> Part:
        size = self.settings.batch
        parts = [
            make(slice(first, min(first + size, count)))
            for first in self.progress(range(0, count, size), f"Counterfactuals: {name}")
        ]
        return type(parts[0]).join(parts)

    def progress(self, steps: Sequence[Step], title: str) -> Iterable[Step]:
        """Return the steps, each shown on standard error as it begins."""
        console = Console(stderr=True)
        return track(steps, title, console=console, transient=True, disable=self.quiet)

    # Features

    @functools.cached_property
    def test_features(self) -> Features | None:
        """Of all test X-rays; None without a classifier, as the next."""
        return self.features(self.test.large)

    @functools.cached_property
    def method_features(self) -> Mapping[str, Features]:
        """Of the counterfactuals of each method; none without a classifier."""
        seen = {name: self.features(made.after) for name, made in self.methods.items()}
        return {name: features for name, features in seen.items() if features is not None}

    @functools.cached_property
    def train_features(self) -> Features | None:
        """Of the training X-rays."""
        return self.features(self.train.large)

    @functools.cached_property
    def train_thumbnails(self) -> Tensor:
        """The training X-rays at `THUMBNAIL` pixels."""
        return thumbnails(self.train.large)

    def features(self, pictures: UInt8) -> Features | None:
        """Return what the classifier sees in pictures; None without one."""
        return None if self.classifier is None else read_features(self.classifier, pictures)

    # Figures

    def asked(self, made: Counterfactuals) -> NDArray[np.int64]:
        """Return the labels that counterfactuals should show, (N,).

        What the model misreads has the label already that is asked for, so that its true
        counterfactual is the X-ray itself: `UNASKED`.

        Args:
            made: Of the X-rays that are explained, or of the first of them.
        """
        own = self.xrays.labels[: len(made.targets)]
        shows_itself = (made.targets == own) & (made.name == TRUE)
        return np.where(shows_itself, UNASKED, made.targets)

    def mean(self, values: Values) -> Figure:
        """Return the mean over X-rays with its bootstrap interval over patients.

        Where all values are equal a bootstrap has no width: shares then have Wilson's interval.

        Args:
            values: Of the X-rays that are explained; None and NaN: not measured.
        """
        listed = list(values)
        measured = np.array([np.nan if value is None else value for value in listed], np.float64)
        kept = np.flatnonzero(~np.isnan(measured))
        if not len(kept):
            return Figure(float("nan"), 0)
        truths = all(isinstance(listed[row], bool | np.bool_) for row in kept)
        patients = [self.xrays.patients[row] for row in kept]
        interval = bootstrap_over_groups(
            measured[kept], patients, resamples=self.resamples, seed=self.seed
        )
        if interval is None and truths:
            return Figure.share_of([bool(value) for value in measured[kept]])
        return Figure(float(measured[kept].mean()), len(kept), *(interval or (None, None)))

    def mean_asked(self, values: Values, asked: NDArray[np.int64]) -> Figure:
        """Return `mean` over those pictures alone that another label is `asked` of."""
        return self.mean(
            [
                None if label == UNASKED else value
                for value, label in zip(values, asked, strict=True)
            ]
        )

    def mean_of(self, made: Counterfactuals) -> Callable[[Values], Figure]:
        """Return `mean_asked` for what a method made."""
        return functools.partial(self.mean_asked, asked=self.asked(made))


def _read_xrays(model: JustificationModel, data: IUXRayDataModule, split: Split) -> Xrays:
    small, frame = data.evaluation_images(split, model.sizes[0])
    large, _ = data.evaluation_images(split, model.sizes[1])
    return Xrays(
        small,
        large,
        np.array([model.labels.index(label) for label in frame["label"]], np.int64),
        tuple(frame["patient_id"].astype(str)),
        tuple(str(path) for path in frame["path"]),
    )


def _labelled_as_drawn(labels: Sequence[str], xrays: Xrays, phantom: Path) -> bool:
    """Whether labels are the phantom's own, and none was made from other findings."""
    drawn = pd.read_csv(phantom / "truth.csv").set_index("image_id")["label"]
    own = drawn.reindex([Path(name).stem for name in xrays.names])
    said = [labels[place] for place in xrays.labels]
    return set(labels) <= {"normal", "cardiomegaly", EFFUSION} and list(own) == said


def _redraw(
    model: JustificationModel, phantom: Path, xrays: Xrays, targets: NDArray[np.int64]
) -> tuple[UInt8, UInt8]:
    names = [Path(name).stem for name in xrays.names]
    drawn = redraw(phantom, names, [model.labels[target] for target in targets])
    small, large = (
        np.stack([model.view(picture, size) for picture in drawn]) for size in model.sizes
    )
    return small, large


def _usual_ctr(
    labels: Sequence[str], train: Xrays, truth: Path
) -> Mapping[str, tuple[float, float]]:
    if not truth.is_file():
        return {}
    true = pd.read_csv(truth).set_index("image_id")["ctr"].astype(float)
    known = true.reindex([Path(name).stem for name in train.names]).to_numpy(dtype=np.float64)
    usual = {}
    for place, label in enumerate(labels):
        mine = known[(train.labels == place) & ~np.isnan(known)]
        if len(mine):
            low, high = np.percentile(mine, MIDDLE)
            usual[label] = (float(low), float(high))
    return usual
