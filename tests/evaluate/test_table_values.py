"""Figures in the tables of counterfactuals against what is worked out beside them."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.evaluate.test_counterfactual_tables import bench_of, value
from tests.justify.toy import Toy
from xrj.datamodules.images import to_tensor
from xrj.evaluate import axis_table, validity_table
from xrj.evaluate.bench import NEAREST, OURS, PIXELS, RANDOM, SHIFT
from xrj.evaluate.cycles_table import cycles_table
from xrj.justify.change import CtrChange
from xrj.nets.zoo import Classifier


@pytest.fixture(scope="module")
def bench():
    torch.manual_seed(0)
    return bench_of(Classifier("resnet18", 3, 4, 64).eval())


def test_the_oracle_is_asked_for_the_other_label_of_each_picture(bench):
    table = validity_table.validity_table(bench)
    rows = np.arange(len(bench.rows))
    with torch.no_grad():
        before = bench.classifier.classify(to_tensor(bench.xrays.large)).numpy()
    for name in (OURS, PIXELS, NEAREST, RANDOM):
        made = bench.methods[name]
        with torch.no_grad():
            after = bench.classifier.classify(to_tensor(made.after)).numpy()
            said = Toy().label_logits(Toy().encode(to_tensor(made.small))).argmax(dim=1).numpy()
        right = after.argmax(axis=1) == made.targets
        assert value(table, name, "oracle") == pytest.approx(right.mean())
        agreed = after.argmax(axis=1) == said
        assert value(table, name, "agreement") == pytest.approx(agreed.mean())
        gain = after[rows, made.targets] - before[rows, made.targets]
        assert value(table, name, "gain") == pytest.approx(gain.mean(), abs=1e-6)


def test_searches_count_their_starts(bench):
    table = validity_table.validity_table(bench)
    for name in (OURS, PIXELS):
        tries = bench.methods[name].tries
        assert (tries >= 1).all()
        assert value(table, name, "tries") == pytest.approx(tries.mean())
    for name in (SHIFT, RANDOM, NEAREST):
        assert table.row(name).cells["tries"].n == 0


def test_hearts_are_weighed_in_the_direction_that_the_label_asks_for(bench, monkeypatch):
    """Brightness stands for the ratio, a fifth of all change for what lies inside."""

    def brightness(original, before, after, direction):
        shades = [float(one.mean()) / 255 for one in (original, before, after)]
        towards = None if direction is None else direction * (shades[2] - shades[1]) > 0
        return CtrChange(*shades, confident=True, towards=towards), 0.2

    monkeypatch.setattr(validity_table, "weigh_heart", brightness)
    table = validity_table.change_table(bench)
    signs = {"left": 1, "right": -1}
    for name in (OURS, NEAREST):
        made = bench.methods[name]
        change = (made.after.mean((1, 2)) - made.before.mean((1, 2))) / 255
        asked = [signs.get(bench.model.labels[target], 0) for target in made.targets]
        moved = (change * asked)[np.array(asked) != 0]
        assert len(set(asked) - {0}) == 2
        assert value(table, name, "heart") == pytest.approx(0.2)
        assert value(table, name, "ctr") == pytest.approx(moved.mean())
        assert value(table, name, "towards") == pytest.approx((moved > 0).mean())


def test_insertion_starts_from_a_blurred_picture_and_deletion_from_the_clear_one(
    bench, monkeypatch
):
    """A classifier that is certain only of transitions towards the X-ray itself."""
    clear = to_tensor(bench.xrays.large)

    def transition(_classify, start, end, _place, steps):
        assert len(start) == len(end) == len(clear)
        curves = torch.zeros(len(start), steps + 1, 3)
        if torch.equal(end, clear):
            assert start.std() < end.std()
            curves += 1
        return curves

    monkeypatch.setattr(axis_table, "transition", transition)
    table = axis_table.axis_table(bench)
    row = table.row(axis_table.AT_RANDOM)
    assert row.cells["insertion"].value == pytest.approx(1)
    assert row.cells["deletion"].value == pytest.approx(0)


class Shrinking(Toy):
    """A model that gives back a tenth less of everything each time."""

    def encode(self, images):
        return 0.9 * super().encode(images)


def test_composition_is_done_as_often_as_its_row_says():
    whole = bench_of(None, steps=0)
    shrinking = dataclasses.replace(whole, model=Shrinking())
    table = cycles_table(shrinking)
    r = Toy().encode(to_tensor(whole.xrays.small))
    clear = to_tensor(whole.xrays.large)
    for times, cycles in (("once", 1), ("5 times", 5)):
        with torch.no_grad():
            drawn = Toy().draw(0.9**cycles * r)[1].clamp(-1, 1)
        expected = float((drawn - clear).abs().mean())
        found = value(table, f"Composition, not refined, {times}", "l1")
        assert found == pytest.approx(expected, rel=0.03)
