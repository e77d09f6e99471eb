"""Figures over several runs of one method: their mean, its interval and their deviation."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xrj.errors import HandoverError
from xrj.evaluate.figure import Figure
from xrj.measures.statistics import Comparison, compare, percentiles, resampled_groups
from xrj.seeding import numpy_rng

Rows = NDArray[np.int64]
Scores = Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """One run of a method, measured on the test split.

    Attributes:
        name: Of the chain.
        split: Hash of its split.
        seed: Of its training; None where it is not recorded.
        patients: Of each test X-ray.
        scores: Measures of some of its rows, repeats among them; NaN where undefined.
        counts: Of the measures that are not of all test X-rays: how many X-rays they are of.
    """

    name: str
    split: str
    seed: int | None
    patients: Sequence[str]
    scores: Callable[[Rows], Scores]
    counts: Mapping[str, int] = field(default_factory=dict)


def check_splits(splits: Sequence[tuple[str, str]], *, folds: bool) -> None:
    """Check that chains may stand in one table.

    Args:
        splits: Name of each chain and the hash of its split.
        folds: Allow several splits.

    Raises:
        HandoverError: The splits differ.
    """
    first: dict[str, str] = {}
    for name, split in splits:
        first.setdefault(split, name)
    if len(first) > 1 and not folds:
        a, b, *_ = sorted(
            first.items(), key=lambda item: [name for name, _ in splits].index(item[1])
        )
        raise HandoverError(
            f"{a[1]} and {b[1]}: their splits differ ({a[0][:12]} and {b[0][:12]}), so one table "
            "cannot hold both; leave one out, or set evaluate.folds=true for chains of repeated "
            "folds"
        )


def check_balance(methods: Mapping[str, Sequence[Run]]) -> None:
    """Check that all methods of a table were run on the same folds; see `check_folds`."""
    check_folds({name: [(run.name, run.split) for run in runs] for name, runs in methods.items()})


def check_folds(methods: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Check that all methods of a table are of the same folds.

    Args:
        methods: Name and hash of the split of each run, by the method's name.

    Raises:
        HandoverError: One has a fold that another lacks.
    """
    first, *others = methods
    for name in others:
        mine, wanted = ({split for _, split in methods[key]} for key in (name, first))
        if mine != wanted:
            raise HandoverError(
                f"{', '.join(run for run, _ in methods[name])}: '{name}' and '{first}' are of "
                f"different folds ({len(mine & wanted)} shared of {len(mine | wanted)}); train "
                "every method on each fold"
            )


def over_runs(
    runs: Sequence[Run], keys: Sequence[str], *, resamples: int, seed: int
) -> dict[str, Figure]:
    """Return the mean of each measure over runs, with its interval over patients.

    All runs are resampled together: a patient is drawn as often in each, also where the test splits
    of several folds share him. n counts X-rays, of all folds where there are several, one that
    stands in two of them twice; where the runs of a fold count differently, their mean.

    Args:
        runs: At least one.
        keys: Measures.
        resamples: Of the patients; 0: no intervals.
        seed: Of the draws.

    Raises:
        HandoverError: Two runs of one split were measured on different X-rays.
    """
    first: dict[str, Run] = {}
    for run in runs:
        other = first.setdefault(run.split, run)
        if list(run.patients) != list(other.patients):
            raise HandoverError(
                f"{other.name} and {run.name}: were measured on different X-rays of one split "
                f"({len(other.patients)} and {len(run.patients)}); prepare one of them anew with "
                "the data of the other"
            )
    sizes = [len(run.patients) for run in first.values()]
    starts = dict(zip(first, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
    rng = numpy_rng(seed, "bootstrap", *sorted(first))
    draws = resampled_groups([name for run in first.values() for name in run.patients], rng)

    def measure(rows: Rows) -> dict[str, float]:
        """Measure rows of all folds one after the other; NaN where a fold has none of them."""
        scores = []
        for run in runs:
            own = rows - starts[run.split]
            own = own[(own >= 0) & (own < len(run.patients))]
            scores.append(run.scores(own) if len(own) else dict.fromkeys(keys, np.nan))
        return {key: float(np.mean([one[key] for one in scores])) for key in keys}

    found = measure(np.arange(sum(sizes)))
    drawn = [measure(next(draws)) for _ in range(resamples)]
    n = {
        key: count_folds([(run.split, run.counts.get(key, len(run.patients))) for run in runs])
        for key in keys
    }
    return {key: _figure(found[key], n[key], [one[key] for one in drawn]) for key in keys}


def count_folds(counts: Sequence[tuple[Hashable, int]]) -> int:
    """Return how many X-rays a mean is of: each split's once, where runs of it differ their mean.

    Args:
        counts: Split and number of each run.
    """
    folds: dict[Hashable, list[int]] = {}
    for split, number in counts:
        folds.setdefault(split, []).append(number)
    return sum(round(float(np.mean(several))) for several in folds.values())


def _figure(value: float, n: int, drawn: Sequence[float]) -> Figure:
    known = np.array(drawn)[np.isfinite(drawn)] if drawn else np.array([])
    if not np.isfinite(value) or len(known) < max(2, len(drawn) // 2):
        return Figure(value, n)
    span = percentiles(known)
    return Figure(value, n, *(span or (None, None)))


def of_each(runs: Sequence[Run], key: str) -> list[float]:
    """Return a measure of each run on all its X-rays."""
    return [run.scores(np.arange(len(run.patients)))[key] for run in runs]


def deviation(runs: Sequence[Run], key: str) -> Figure | None:
    """Return the standard deviation of a measure over runs; None of fewer than two."""
    values = of_each(runs, key)
    return Figure(float(np.std(values, ddof=1)), len(values)) if len(values) > 1 else None


def compare_runs(first: Sequence[Run], second: Sequence[Run], key: str) -> Comparison:
    """Compare a measure of two methods over their runs, paired by fold where there are several."""
    return compare(of_each(first, key), of_each(second, key), folds_of(first, second))


def folds_of(
    first: Sequence[Run], second: Sequence[Run]
) -> tuple[Sequence[str], Sequence[str]] | None:
    """Return the folds by which runs of two methods are paired; None where there is but one."""
    folds = ([run.split for run in first], [run.split for run in second])
    return folds if len({*folds[0], *folds[1]}) > 1 else None
