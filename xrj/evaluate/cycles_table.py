"""Table of the axioms of counterfactuals: doing nothing changes nothing, and the way back exists.

Composition and reversibility as of Monteiro et al. 2023.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from torch import Tensor

from xrj.datamodules.images import UInt8
from xrj.evaluate.bench import OURS, SHIFT, Bench
from xrj.evaluate.methods import Start, Xrays, encode, refined
from xrj.evaluate.results import Cell, Column, ResultTable, Row
from xrj.evaluate.rivals import shift_latent
from xrj.justify.change import distances
from xrj.justify.reading import draw_pictures

COUNT = 32
"""X-rays at most."""
CYCLES = 5

COLUMNS = (
    Column("l1", "L1", 3, least=0),
    Column("ssim", "SSIM", 3, least=-1, most=1),
    Column("kept", "Diagnosis as at the start", 1, percent=True, better="high"),
)


def cycles_table(bench: Bench) -> ResultTable:
    """Return what null interventions and ways there and back do to X-rays."""
    rows = [*_composition(bench), *_reversibility(bench)]
    note = (
        f"{min(COUNT, len(bench.rows))} X-rays of the test split, after Monteiro et al. 2023. "
        "Composition: nothing is asked for, x becomes G(I(x)), again and again; against the X-ray. "
        "Reversibility: from d to d' and back to d by the same method, on from r' itself or from "
        "I(G(r')), refined to G(r') where r was; against the start G(r), beside which r' itself is "
        "listed. With more than two labels the way back leads to the nearest, which need not be d. "
        "Grey values in [-1, 1]."
    )
    return ResultTable(
        "counterfactuals_cycles",
        "Counterfactuals: composition and reversibility",
        COLUMNS,
        tuple(rows),
        note,
    )


def _composition(bench: Bench) -> Iterator[Row]:
    xrays = bench.xrays.take(slice(COUNT))
    for refine in (True, False) if bench.refines else (False,):
        name = "Composition" if refine else "Composition, not refined"
        seen = xrays
        for cycle in bench.progress(range(1, CYCLES + 1), f"Counterfactuals: {name}"):
            start = _read(bench, seen, refine=refine)
            seen = replace(seen, small=draw_pictures(bench.model, start.r)[0])
            if cycle in (1, CYCLES):
                times = "once" if cycle == 1 else f"{cycle} times"
                yield Row(f"{name}, {times}", _compare(bench, xrays.large, start.large, start.r))


def _reversibility(bench: Bench) -> Iterator[Row]:
    model, certainty = bench.model, bench.settings.mapping.certainty
    for name in (OURS, SHIFT):
        made = bench.methods[name].take(slice(COUNT))
        found = cast(Tensor, made.r_after)  # both move in the space of r
        there = _compare(bench, made.before, made.after, found)
        yield Row(f"{name}: there", there, reference=True)
        shown = replace(bench.xrays.take(slice(COUNT)), small=made.small, large=made.after)
        starts = {
            "there and back": found,
            "there, read anew and back": _read(bench, shown, refine=bench.refines).r,
        }
        for way, r in starts.items():
            if name == OURS:
                back = bench.map(r, model.to_images(made.small), f"{name}: {way}")
            else:
                back = shift_latent(model.label_logits, r, certainty)
            pictures = draw_pictures(model, back.r)[1]
            yield Row(f"{name}: {way}", _compare(bench, made.before, pictures, back.r))


def _read(bench: Bench, xrays: Xrays, *, refine: bool) -> Start:
    start = encode(bench.model, xrays)
    return refined(bench.model, xrays, start, bench.settings.refinement) if refine else start


def _compare(bench: Bench, before: UInt8, after: UInt8, r: Tensor) -> dict[str, Cell]:
    apart = distances(before, after)
    said = bench.read(r)
    return {
        "l1": bench.mean([one.l1 for one in apart]),
        "ssim": bench.mean([one.ssim for one in apart]),
        "kept": bench.mean(said == bench.sources[: len(said)]),
    }
