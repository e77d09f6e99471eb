"""Table 2: the ARAE's text embedding against one that is learned with the GAN (section 4.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from xrj.evaluate.generators import COLUMNS, DEVIATIONS, KEYS, KINDS, Judged
from xrj.evaluate.plots import Line, plot_lines
from xrj.evaluate.results import Cell, Plot, ResultTable, Row, p_value
from xrj.evaluate.runs import Run, check_balance, compare_runs, deviation, over_runs

ARAE, EMBEDDING = "ARAE", "Embedding layer"
PAPER: Mapping[str, Mapping[str, float]] = {
    EMBEDDING: {"wasserstein": 0.38, "alignment": 1.19},
    ARAE: {"wasserstein": 0.19, "alignment": 0.46},
}
"""Table 2 of the paper; its critics are unknown, so that only the order compares."""


def embedding_table(
    methods: Mapping[str, Sequence[Judged]],
    ends: Mapping[str, Judged],
    unlike: Sequence[str] = (),
    *,
    resamples: int,
    seed: int,
) -> ResultTable:
    """Return table 2.

    Args:
        methods: Runs of each rival by its row's name.
        ends: Floor and ceiling.
        unlike: Settings in which the rivals were trained unlike, in words.
        resamples: Of the patients.
        seed: Of the draws.

    Raises:
        HandoverError: The rows are of different folds.
    """
    runs = {name: [one.run for one in several] for name, several in methods.items()}
    check_balance(runs)
    rows = [row_of(name, several, resamples, seed) for name, several in runs.items()]
    rows += [
        replace(row_of(name, [one.run], resamples, seed), reference=True)
        for name, one in ends.items()
    ]
    if runs.keys() >= {ARAE, EMBEDDING}:
        tests = {kind: compare_runs(runs[ARAE], runs[EMBEDDING], kind) for kind in KINDS}
        for name, which in (
            ("p, Student (as the paper)", "student"),
            ("p, Welch", "welch"),
            ("p, paired over folds", "paired"),
        ):
            found = {kind: getattr(test, which) for kind, test in tests.items()}
            if all(found.values()):
                rows.append(Row(name, {kind: p_value(test.p) for kind, test in found.items()}))
    return ResultTable(
        key="table_2",
        title="Table 2: generated X-rays of stage I, by independent critics",
        columns=COLUMNS,
        rows=tuple(rows),
        note=(
            "Each estimate is of a critic of its own, fitted on validation X-rays, kept at the "
            "step that finds most in a held out fifth of them, divided by its slope, and read on "
            "test; neither its sign nor its fit is touched after. The alignment critic sees the "
            "code of the frozen text autoencoder beside the picture, the same for both rivals. The "
            "paper's critics are unknown: compare the order, not the numbers. The floor is between "
            "two halves of the real X-rays, the ceiling sets pictures of the captions beside "
            "X-rays in random order, both on the first fold where there are several. A lower "
            "estimate is better, one below the floor is luck. An independent classifier looks for "
            "the caption's label in each picture. Where codes of one label have a cosine near 1, "
            "the embedding holds the label and nothing else that captions say. Intervals are 95 % "
            "bootstrap intervals over test patients, given the critics. Folds share patients, so "
            "that a test over them is somewhat too sure."
            + (
                f" The rivals were not trained alike: {'; '.join(unlike)}; evaluate.embeddings "
                "takes stages I that were."
                if unlike
                else ""
            )
        ),
        paper=PAPER,
        plots=_plots({**{name: several[0] for name, several in methods.items()}, **ends}),
    )


def row_of(name: str, runs: Sequence[Run], resamples: int, seed: int) -> Row:
    """Return a row of runs, with intervals over patients."""
    cells: dict[str, Cell] = {"runs": f"{len(runs)}"}
    for key, figure in over_runs(runs, KEYS, resamples=resamples, seed=seed).items():
        cells[key] = figure if np.isfinite(figure.value) else None
    cells |= {key: deviation(runs, kind) for kind, key in DEVIATIONS.items() if cells[kind]}
    return Row(name, cells)


def _plots(judged: Mapping[str, Judged]) -> tuple[Plot, ...]:
    """Draw the estimates on held out X-rays while critics learn, of the first run of each row."""
    titles = {"wasserstein": "Wasserstein estimate", "alignment": "Alignment estimate"}
    return tuple(
        plot_lines(
            f"{titles[kind]} on held out validation X-rays while its critic learns",
            {
                name: Line(one.found[kind].steps, one.found[kind].held_out)
                for name, one in judged.items()
                if kind in one.found
            },
            "Step of the critic",
            titles[kind],
        )
        for kind in KINDS
    )
