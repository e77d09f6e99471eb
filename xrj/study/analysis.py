"""The analysis of a study: table 5, agreement between readers, and what beside it is needed.

Table 5 is computed for all X-rays and again for right and for wrong diagnoses alone.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from xrj.errors import DataError
from xrj.measures.statistics import Interval, Test, percentiles, t_test
from xrj.seeding import numpy_rng
from xrj.study.folder import Study
from xrj.study.questions import KEYS
from xrj.study.ratings import Ratings
from xrj.study.statistics import (
    Kappa,
    Mixed,
    Summary,
    bootstrap_means,
    describe,
    kappa,
    mixed_model,
)

SUBSETS = ("all", "right", "wrong")
LEAST = 8
"""Ratings of each method from which a mixed model is tried."""


@dataclass(frozen=True)
class Comparison:
    """Two methods' answers to one question; the difference is the first's mean minus the second's.

    Attributes:
        first: Method.
        second: Method.
        difference: Of the means.
        interval: 95 %, bootstrap over X-rays.
        student: The paper's t-test, with equal variances.
        welch: The same without that assumption.
        mixed: The mixed-effects model.
    """

    first: str
    second: str
    difference: float
    interval: Interval | None
    student: Test
    welch: Test
    mixed: Mixed


@dataclass(frozen=True)
class Answered:
    """One question in one subset.

    Attributes:
        methods: Those that have answers.
        comparisons: Of each pair of these.
    """

    methods: dict[str, Summary]
    comparisons: list[Comparison]


@dataclass(frozen=True)
class Progress:
    """How far a reader is, in X-rays."""

    finished: int
    begun: int
    assigned: int


@dataclass(frozen=True)
class Analysis:
    """All results of a study.

    Attributes:
        about: The study's description, without its items.
        simulated: Whether the answers are not people's.
        progress: Of each reader.
        xrays: Different X-rays that have an answer, by subset and method.
        subsets: Results by subset ("all", "right", "wrong") and question.
        agreement: By "all" or a method, and by question.
        by_reader: Results of all X-rays by reader and question.
        resamples: Of the bootstrap.
    """

    about: dict[str, Any]
    simulated: bool
    progress: dict[str, Progress]
    xrays: dict[str, dict[str, int]]
    subsets: dict[str, dict[str, Answered]]
    agreement: dict[str, dict[str, Kappa]]
    by_reader: dict[str, dict[str, Answered]]
    resamples: int

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; null for what is undefined."""
        plain = _finite(asdict(self))
        assert isinstance(plain, dict)  # noqa: S101  # for the type checker
        return plain


def analyse(study: Study, ratings: Ratings, resamples: int, seed: int) -> Analysis:
    """Analyse a study as far as it has been answered.

    Args:
        study: An opened study.
        ratings: Its answers.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: There is no answer yet.
    """
    frame, methods = ratings.frame, study.design.methods
    begun = frame[frame[list(KEYS)].notna().any(axis=1)]
    if begun.empty:
        raise DataError(
            f"{study.store.path}: no answer yet; give the readers their links and serve the study "
            "by study.step=serve"
        )
    subsets = {
        "all": frame,
        "right": frame[frame["right"]],
        "wrong": frame[~frame["right"]],
    }
    described = {key: study.info[key] for key in study.info if key not in ("evidence", "questions")}
    return Analysis(
        about=described,
        simulated=study.store.get("simulated") is not None,
        progress=_progress(frame),
        xrays={
            name: {
                method: int(
                    begun.loc[part.index.intersection(begun.index)]
                    .query("method == @method")["xray"]
                    .nunique()
                )
                for method in methods
            }
            for name, part in subsets.items()
        },
        subsets={
            name: _questions(part, methods, resamples, seed, name) for name, part in subsets.items()
        },
        agreement=_agreement(frame, study, resamples, seed),
        by_reader={
            str(reader): _questions(part, methods, resamples, seed, f"reader {reader}")
            for reader, part in frame.groupby("reader", sort=False)
        },
        resamples=resamples,
    )


def _progress(frame: pd.DataFrame) -> dict[str, Progress]:
    answered = frame[list(KEYS)].notna()
    return {
        str(reader): Progress(
            finished=int(part.all(axis=1).sum()),
            begun=int((part.any(axis=1) & ~part.all(axis=1)).sum()),
            assigned=len(part),
        )
        for reader, part in answered.groupby(frame["reader"], sort=False)
    }


def _questions(
    frame: pd.DataFrame, methods: tuple[str, ...], resamples: int, seed: int, place: str
) -> dict[str, Answered]:
    return {
        key: _question(
            _values(frame, key), methods, resamples, numpy_rng(seed, "study", place, key)
        )
        for key in KEYS
    }


def _values(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    table = frame[["reader", "item", "xray", "method", key]].rename(columns={key: "value"})
    return table.dropna(subset=["value"])


def _question(
    table: pd.DataFrame, methods: tuple[str, ...], resamples: int, rng: np.random.Generator
) -> Answered:
    present = [method for method in methods if (table["method"] == method).any()]
    if not present:
        return Answered({}, [])
    resampled = bootstrap_means(table, present, resamples, rng)
    values = {
        method: table.loc[table["method"] == method, "value"].to_numpy(float) for method in present
    }
    summaries = {
        method: describe(values[method], resampled[:, place])
        for place, method in enumerate(present)
    }
    comparisons = []
    for first, second in combinations(present, 2):
        apart = resampled[:, present.index(first)] - resampled[:, present.index(second)]
        enough = min(len(values[first]), len(values[second])) >= LEAST
        comparisons.append(
            Comparison(
                first=first,
                second=second,
                difference=summaries[first].mean - summaries[second].mean,
                interval=percentiles(apart),
                student=t_test(values[first], values[second], equal_variances=True),
                welch=t_test(values[first], values[second], equal_variances=False),
                mixed=mixed_model(table, first, second)
                if enough
                else Mixed(note=f"needs {LEAST} ratings of each method"),
            )
        )
    return Answered(summaries, comparisons)


def _agreement(
    frame: pd.DataFrame, study: Study, resamples: int, seed: int
) -> dict[str, dict[str, Kappa]]:
    """Return kappa over the items that all readers see and have answered."""
    shared = frame[frame["shared"]]
    groups: Mapping[str, pd.DataFrame] = {
        "all": shared,
        **{method: shared[shared["method"] == method] for method in study.design.methods},
    }
    readers = len(study.design.readers)

    def rated_by_all(key: str, part: pd.DataFrame) -> pd.DataFrame:
        table = _values(part, key)
        return table[table.groupby("item")["reader"].transform("count") == readers]

    return {
        name: {
            key: kappa(
                rated_by_all(key, part), resamples, numpy_rng(seed, "study", "kappa", name, key)
            )
            for key in KEYS
        }
        for name, part in groups.items()
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
