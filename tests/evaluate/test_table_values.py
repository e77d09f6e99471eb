"""Values in the tables of counterfactuals that can be worked out by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.evaluate.test_counterfactual_tables import as_of, bench_of, value
from tests.evaluate.test_rivals import CODES
from tests.justify.handmade import ctr_change
from tests.justify.toy import Toy
from xrj.evaluate.axis_table import axis_table
from xrj.evaluate.bench import NEAREST, OURS, PIXELS, RANDOM, SHIFT
from xrj.evaluate.cycles_table import cycles_table
from xrj.evaluate.features import Features
from xrj.evaluate.methods import Counterfactuals
from xrj.evaluate.validity_table import change_table, validity_table
from xrj.justify.change import HeartChange


def holding(bench, **made):
    """Return a copy of a bench for which these are made already."""
    copy = dataclasses.replace(bench)
    vars(copy).update(made)
    return copy


def made_of(targets, before, after, small=None, r_after=None, converged=True):
    count = len(targets)
    return Counterfactuals(
        OURS,
        np.array(targets),
        before,
        after,
        np.zeros((count, 16, 16), np.uint8) if small is None else small,
        None,
        r_after,
        np.full(count, converged),
        np.zeros(count),
        np.zeros(count),
        np.arange(count) + 1.0,
    )


def seen(*certainty):
    nothing = torch.zeros(len(certainty), 1)
    return Features(nothing, nothing, torch.tensor(certainty))


def test_judges_are_counted_by_hand():
    bench = dataclasses.replace(bench_of(None), rows=[6, 1, 2, 3, 4])
    small, large = as_of(None, [1, 1, 2, 2, 0])  # as what the model reads them anew
    r_after = torch.tensor([[*CODES[label], 0, 0, 0] for label in (1, 0, 0, 1, 1)])
    made = made_of([1, 1, 2, 0, 0], large, large, small, r_after)
    after = [[0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.1, 0.7], [0.5, 0.3, 0.2], [0.2, 0.7, 0.1]]
    before = [[1.0, 0.0, 0.0], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1], [0.3, 0.2, 0.5]]
    before += [[0.0, 0.0, 1.0], [0.6, 0.1, 0.3]]  # of the seventh X-ray, which is explained first
    bench = holding(
        bench,
        methods={OURS: made},
        method_features={OURS: seen(*after)},
        test_features=seen(*before),
    )
    cells = validity_table(bench).row(OURS).cells
    assert cells["reencoded"].value == pytest.approx(4 / 5)
    assert cells["decoder"].value == pytest.approx(1 / 5)
    assert cells["oracle"].value == pytest.approx(3 / 5)
    assert cells["agreement"].value == pytest.approx(2 / 5)
    # 0.8 + 0.3 + 0.7 + 0.5 + 0.2 less 0.1 + 0.1 + 0.1 + 0.3 + 0.3
    assert cells["gain"].value == pytest.approx((2.5 - 0.9) / 5)
    assert cells["tries"].value == 3
    assert {cell.n for cell in cells.values()} == {5}


def test_searches_alone_count_their_starts():
    bench = bench_of(None, steps=0)
    rows = {row.name: row.cells for row in validity_table(bench).rows}
    for name in (OURS, PIXELS):
        tries = bench.methods[name].tries
        assert (tries >= 1).all()
        assert rows[name]["tries"].value == pytest.approx(tries.mean())
    assert {rows[name]["tries"].n for name in (SHIFT, RANDOM, NEAREST)} == {0}


def test_hearts_are_counted_by_hand(monkeypatch):
    """To the left hearts grow, to the right they shrink, and upwards nothing is asked of them."""
    weighed = [
        HeartChange(ctr_change(0.3, 0.40, 0.50, 1), 0.9),
        HeartChange(ctr_change(0.3, 0.50, 0.46, -1), 0.7),
        HeartChange(ctr_change(0.3, 0.50, 0.48, 1), 0.8),
        HeartChange(ctr_change(0.3, 0.40, 0.60, None), 0.6),
        HeartChange(ctr_change(0.3, 0.60, None, -1), None),
    ]
    asked = []

    def weigh(_originals, _before, _after, directions):
        asked.extend(directions)
        return weighed

    monkeypatch.setattr("xrj.evaluate.validity_table.weigh_hearts", weigh)
    usual = {"left": (0.45, 0.55), "right": (0.30, 0.45), "upper": (0, 1)}
    bench = dataclasses.replace(bench_of(None), rows=range(5), usual_ctr=usual)
    large = bench.xrays.large
    made = {OURS: made_of([0, 1, 0, 2, 1], large, large)}
    table = change_table(holding(bench, methods=made, sources=np.array([1, 0, 1, 0, 0])))
    assert asked == [1, -1, 1, None, -1]
    cells = table.row(OURS).cells
    found = {key: (cells[key].value, cells[key].n) for key in ("heart", "towards", "ctr", "usual")}
    assert found == {
        "heart": (pytest.approx((0.9 + 0.7 + 0.8 + 0.6) / 4), 4),
        "towards": (pytest.approx(2 / 3), 3),
        "ctr": (pytest.approx((0.10 + 0.04 - 0.02) / 3), 3),
        "usual": (pytest.approx(2 / 3), 3),
    }


@pytest.mark.parametrize(
    ("target", "grows", "ctr"), [(0, True, 0.16), (1, False, 0.16), (1, True, -0.16)]
)
def test_a_drawn_heart_that_changes_as_asked_counts_for_it(chests, target, grows, ctr):
    """The phantom draws it with a ratio of 0.44 and of 0.60, and nothing else differs."""
    before, after = (one[None] for one in (chests if grows else chests[::-1]))
    bench = bench_of(None)
    test = dataclasses.replace(bench.test.take([0]), large=before)
    bench = dataclasses.replace(bench, test=test, rows=[0])
    made = {OURS: made_of([target], before, after)}
    table = change_table(holding(bench, methods=made, sources=np.array([1 - target])))
    assert value(table, OURS, "ctr") == pytest.approx(ctr, abs=0.03)
    assert value(table, OURS, "heart") > 0.9
    assert value(table, OURS, "towards") == (ctr > 0)


class OnePixel(torch.nn.Module):
    """Says "left" where the picture is bright in one place, and "right" elsewhere."""

    def __init__(self):
        super().__init__()
        self.bright = torch.nn.Parameter(torch.tensor([0.9, 0.0, 0.1]))
        self.dark = torch.nn.Parameter(torch.tensor([0.2, 0.7, 0.1]))

    def classify(self, images):
        return torch.where(images[:, 0, 20, 30, None] > 0, self.bright, self.dark)


def test_insertion_begins_at_the_blurred_xray_and_deletion_at_the_clear_one(monkeypatch):
    """The pixel that is judged is the first in the order, so it is there after one of ten steps."""
    monkeypatch.setattr("xrj.evaluate.axis_table.saliency_maps", lambda images, *_: [()] * 2)
    dark = np.zeros((2, 64, 64), np.uint8)
    lit = dark.copy()
    lit[:, 20, 30] = 255  # blurred by 8 pixels, no more than a grey level is left of it
    bench = bench_of(OnePixel())
    test = dataclasses.replace(bench.test.take([0, 1]), large=lit)
    bench = dataclasses.replace(bench, test=test, rows=[0, 1])
    ours = made_of([0, 0], dark, lit)
    table = axis_table(holding(bench, methods={OURS: ours}, sources=np.array([1, 1])))
    ordered, at_random = (table.row(name).cells for name in ("|G(r') - G(r)|", "Random order"))
    rising, falling = (0.05 * (0.2 + 0.9) + 0.9 * last for last in (0.9, 0.2))
    assert ordered["insertion"].value == pytest.approx(rising)
    assert ordered["deletion"].value == pytest.approx(falling)
    assert ordered["target"].value == pytest.approx(rising)
    assert ordered["source"].value == pytest.approx(0.05 * 0.7)
    assert ordered["cout"].value == pytest.approx(rising - 0.05 * 0.7)
    assert at_random["insertion"].value < rising
    assert at_random["deletion"].value > falling


class Fading(Toy):
    """Reads a fifth less of every wave than there is."""

    def encode(self, images):
        return 0.8 * super().encode(images)


def test_five_compositions_are_five():
    bench = dataclasses.replace(bench_of(None, steps=0), model=Fading())
    table = cycles_table(bench)
    grey = np.abs(bench.xrays.large / 127.5 - 1).mean()
    once, often = (
        table.row(f"Composition, not refined, {times}").cells["l1"].value
        for times in ("once", "5 times")
    )
    assert once == pytest.approx(0.2 * grey, abs=0.005)
    assert often == pytest.approx((1 - 0.8**5) * grey, abs=0.005)
