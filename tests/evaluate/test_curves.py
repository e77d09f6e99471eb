"""Figure 2 from logs, smoothed as the paper says."""

import numpy as np
import pytest
from scipy import stats

from xrj.errors import DataError, HandoverError
from xrj.evaluate.curves import ALL, LABEL, Curves, curve_table, read_curves, smooth
from xrj.evaluate.results import p_value


def write_log(folder, version, rows):
    path = folder / "logs" / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(
        "epoch,train/loss,val/accuracy,val/diagnosis\n" + "".join(f"{r}\n" for r in rows)
    )


def test_logs_of_all_starts_are_one_curve(tmp_path):
    write_log(tmp_path, 0, ["0,,0.5,0.7", "0,1.0,,", "1,,0.6,0.6", "2,,0.1,9.9"])
    write_log(tmp_path, 10, ["3,,0.9,0.3"])
    write_log(tmp_path, 2, ["2,,0.8,0.4", "2,0.9,,", "3,,0.2,0.2"])
    curves = read_curves(tmp_path, "s")
    assert curves.split == "s"
    assert curves.measures["val/accuracy"].tolist() == [0.5, 0.6, 0.8, 0.9]
    assert curves.measures["val/diagnosis"].tolist() == [0.7, 0.6, 0.4, 0.3]


def test_no_logs_are_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no curves"):
        read_curves(tmp_path, "s")


def test_smoothing_averages_the_nearest_points():
    values = np.arange(30.0) ** 2
    smoothed = smooth(values, 10)
    assert smoothed[15] == pytest.approx(values[10:20].mean())
    assert smoothed[0] == pytest.approx(values[:5].mean())
    assert smoothed[-1] == pytest.approx(values[24:].mean())
    assert smooth(values, 1).tolist() == values.tolist()


def curves(seed, level, epochs=20, split="s"):
    rng = np.random.default_rng(seed)
    accuracy = np.clip(level + rng.normal(0, 0.01, epochs), 0, 1)
    return Curves(f"c{seed}", split, {"val/accuracy": accuracy, "val/diagnosis": 1 - accuracy})


def test_intervals_hold_nothing_impossible():
    methods = {ALL: [curves(0, 0.95), curves(1, 1.05)], LABEL: [curves(2, 0.9), curves(3, 1.1)]}
    for row in curve_table(methods).rows[:2]:
        assert row.cells["accuracy"].high == 1.0
        assert row.cells["loss"].low == 0.0


def test_the_table_compares_how_trainings_end():
    methods = {
        ALL: [curves(seed, 0.9) for seed in range(3)],
        LABEL: [curves(seed + 9, 0.7) for seed in range(3)],
    }
    table = curve_table(methods)
    first = table.row(ALL).cells
    last = [one.measures["val/accuracy"][-10:].mean() for one in methods[ALL]]
    assert (first["accuracy"].value, first["accuracy"].n) == (pytest.approx(np.mean(last)), 3)
    assert float(table.row("p, Welch").cells["accuracy"].replace("<", "")) < 0.05
    assert len(table.plots) == 2
    assert all(plot.source.startswith("data:image/svg+xml") for plot in table.plots)
    assert curve_table(methods).plots == table.plots


def test_trainings_of_folds_are_paired_by_them_and_must_be_of_the_same():
    sides = [[curves(seed, level, split=f"f{seed}") for seed in range(3)] for level in (0.9, 0.7)]
    table = curve_table(dict(zip((ALL, LABEL), sides, strict=True)))
    ends = [[one.measures["val/diagnosis"][-10:].mean() for one in side] for side in sides]
    expected = p_value(stats.ttest_rel(*ends).pvalue)
    assert table.row("p, paired over folds").cells["loss"] == expected
    shuffled = {ALL: sides[0], LABEL: sides[1][::-1]}
    assert curve_table(shuffled).row("p, paired over folds").cells["loss"] == expected
    with pytest.raises(
        HandoverError, match=r"c0, c1: 'Label loss alone' and 'All losses' are of diff"
    ):
        curve_table({ALL: sides[0], LABEL: sides[1][:2]})


def test_trainings_of_unlike_length_are_compared_over_the_same_epochs():
    short = Curves(
        "short", "s", {key: np.linspace(0, 1, 5) for key in ("val/accuracy", "val/diagnosis")}
    )
    long = Curves(
        "long", "s", {key: np.linspace(0, 4, 20) for key in ("val/accuracy", "val/diagnosis")}
    )
    table = curve_table({ALL: [long], LABEL: [short]})
    assert "Last: 5 epochs" in table.note
    assert table.row(ALL).cells["accuracy"].value == pytest.approx(np.linspace(0, 4, 20)[:5].mean())
    assert table.row(LABEL).cells["accuracy"].value == pytest.approx(0.5)


@pytest.mark.parametrize(("epochs", "nearest"), [(1, 1), (2, 1), (5, 2), (10, 5), (11, 10)])
def test_curves_of_short_trainings_are_smoothed_over_half_of_their_epochs(epochs, nearest):
    several = [curves(seed, 0.9, epochs) for seed in range(2)]
    table = curve_table({ALL: several})
    last = [one.measures["val/diagnosis"][-10:] for one in several]
    cells = table.row(ALL).cells
    assert cells["loss"].value == pytest.approx(np.mean([values.mean() for values in last]))
    assert cells["wander"].value == pytest.approx(np.mean([values.std() for values in last]))
    assert f"Last: {min(epochs, 10)} epochs" in table.note
    assert f"the {nearest} nearest epochs" in table.plots[0].caption
