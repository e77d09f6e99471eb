"""The tables of counterfactuals, on an untrained chain and on a model worked out by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.chains import heart_lexicon, mapping_settings
from tests.evaluate.test_rivals import CODES, LABELS
from tests.justify.handmade import ctr_change
from tests.justify.toy import Toy, picture
from xrj.datamodules.images import resize, to_tensor
from xrj.evaluate.axis_table import axis_table
from xrj.evaluate.bench import NEAREST, OURS, PIXELS, RANDOM, SHIFT, TRUE, UNREFINED, Bench
from xrj.evaluate.counterfactual_tables import TABLES
from xrj.evaluate.features import read_features
from xrj.evaluate.methods import Xrays
from xrj.evaluate.realism_table import REAL, RECONSTRUCTIONS, realism_table
from xrj.evaluate.results import ResultTable
from xrj.evaluate.validity_table import change_table, validity_table
from xrj.justify.change import HeartChange
from xrj.justify.evidence import EvidenceSettings
from xrj.justify.justification import JustifySettings
from xrj.justify.on_xray import BlendSettings
from xrj.justify.refinement import RefinementSettings
from xrj.nets.zoo import Classifier


def settings(steps):
    return JustifySettings(
        mapping=mapping_settings(tries=2),
        refinement=RefinementSettings(steps=steps, noise_weight=0.003),
        evidence=EvidenceSettings({"left": 1, "right": -1}, 0.5, heart_lexicon()),
        blend=BlendSettings(threshold=8.0, smooth=0.02, least=0.2, close=0.06, feather=0.04),
        walk=2,
        batch=4,
    )


def some_xrays(shift, patients):
    codes = [(a + shift, b) for a, b in CODES * 2]
    noise = np.random.default_rng(round(100 * shift)).normal(0, 0.15, (12, 3))
    large = np.stack([picture(*code, *z.tolist()) for code, z in zip(codes, noise, strict=True)])
    small = np.stack([resize(one, 16) for one in large])
    names = tuple(f"{patient}.png" for patient in patients)
    return Xrays(small, large, np.tile(LABELS, 2), tuple(patients), names)


def as_of(xrays, targets):
    large = np.stack([picture(*CODES[target], 0.1, -0.1, 0.05) for target in targets])
    return np.stack([resize(one, 16) for one in large]), large


def bench_of(classifier, steps=3):
    test, train = some_xrays(0.0, "abcdefghijkl"), some_xrays(0.05, "mnopqrstuvwx")
    return Bench(
        Toy(),
        classifier,
        settings(steps),
        test,
        list(range(9)),
        train,
        {"left": (0.0, 1.0)},
        as_of if classifier else None,
        resamples=50,
        quiet=True,
    )


@pytest.fixture(scope="module")
def tables():
    torch.manual_seed(0)
    bench = bench_of(Classifier("resnet18", 3, 4, 64).eval())
    return {key: make(bench) for key, make in TABLES.items()}


@pytest.fixture(scope="module")
def bare():
    bench = bench_of(None, steps=0)
    return {key: make(bench) for key, make in TABLES.items()}


def value(table, row, column):
    return table.row(row).cells[column].value


@pytest.mark.parametrize("key", TABLES)
def test_tables_are_whole(tables, key):
    table = tables[key]
    assert table.key == key
    known = {column.key for column in table.columns}
    for row in table.rows:
        assert set(row.cells) <= known, row.name
        assert all(cell is None or cell.n <= 9 for cell in row.cells.values())
    assert set().union(*(row.cells for row in table.rows)) == known
    assert ResultTable.from_dict(table.to_dict()).to_dict() == table.to_dict()


def test_ours_is_valid_more_often_than_a_random_direction(tables):
    table = tables["counterfactuals_validity"]
    assert value(table, OURS, "decoder") == value(table, OURS, "reencoded") == 1
    assert value(table, RANDOM, "decoder") < 0.5
    assert value(table, SHIFT, "decoder") == 1
    assert "decoder" not in table.row(PIXELS).cells
    assert value(table, PIXELS, "reencoded") == value(table, NEAREST, "reencoded") == 1
    assert value(table, OURS, "evaluations") > value(table, UNREFINED, "evaluations") > 1


def test_change_is_measured_from_the_right_start(tables):
    table = tables["counterfactuals_change"]
    assert value(table, SHIFT, "noise") == pytest.approx(0, abs=1e-5)
    assert value(table, SHIFT, "embedding") > 0.1
    for name in (PIXELS, NEAREST, TRUE):
        assert value(table, name, "start_l1") == value(table, name, "original_l1")
    assert value(table, OURS, "start_l1") != value(table, OURS, "original_l1")


def test_the_true_counterfactual_has_the_label_and_no_cost(tables):
    table = tables["counterfactuals_validity"]
    assert value(table, TRUE, "reencoded") == 1
    assert not {"decoder", "found", "seconds", "evaluations"} & set(table.row(TRUE).cells)
    assert table.rows[-1].name == TRUE
    change = tables["counterfactuals_change"]
    assert "true_l1" not in change.row(TRUE).cells
    assert value(change, OURS, "true_l1") < value(change, RANDOM, "true_l1")
    assert value(change, OURS, "true_l1") < value(change, TRUE, "original_l1")
    assert value(change, OURS, "true_ssim") > value(change, RANDOM, "true_ssim")
    assert value(change, OURS, "true_cosine") > 0.5 > value(change, RANDOM, "true_cosine")


def test_ratios_are_compared_with_the_true_counterfactuals_own(monkeypatch):
    """Brightness stands for the ratio: what is in these pictures is no heart."""

    def brightness(*pictures_and_directions):
        return [
            HeartChange(ctr_change(*(float(one.mean()) / 255 for one in pictures), direction), 0.5)
            for *pictures, direction in zip(*pictures_and_directions, strict=True)
        ]

    monkeypatch.setattr("xrj.evaluate.validity_table.weigh_hearts", brightness)
    torch.manual_seed(0)
    bench = bench_of(Classifier("resnet18", 3, 4, 64).eval())
    table, true = change_table(bench), bench.methods[TRUE].after
    for name in (OURS, NEAREST):
        made = bench.methods[name]
        apart = np.abs(made.after.mean((1, 2)) - true.mean((1, 2))) / 255
        asked = [bench.model.labels[target] in ("left", "right") for target in made.targets]
        found = table.row(name).cells["true_ctr"]
        assert (found.value, found.n) == (pytest.approx(apart[asked].mean()), sum(asked))
    assert "true_ctr" not in table.row(TRUE).cells


def test_no_table_holds_the_truth_or_real_xrays_for_the_best(tables):
    apart = {
        key.removeprefix("counterfactuals_"): {row.name for row in table.rows if row.reference}
        for key, table in tables.items()
    }
    assert apart == {
        "validity": {TRUE},
        "change": {TRUE},
        "realism": {TRUE, REAL, RECONSTRUCTIONS},
        "cycles": {f"{name}: there" for name in (OURS, SHIFT)},
        "axis": {f"{TRUE}: its own change"},
    }


def test_an_xray_that_the_model_misreads_has_no_true_counterfactual():
    bench = bench_of(Classifier("resnet18", 3, 4, 64).eval())
    wrong = bench.test.labels.copy()
    wrong[bench.rows[0]] = 1 - wrong[bench.rows[0]]
    test = dataclasses.replace(bench.test, labels=wrong)
    mislabelled = dataclasses.replace(bench, test=test)
    change, validity = change_table(mislabelled), validity_table(mislabelled)
    realism, axis = realism_table(mislabelled), axis_table(mislabelled)
    row = change.row(OURS).cells
    assert row["true_l1"].n == row["true_cosine"].n == len(bench.rows) - 1
    assert row["start_l1"].n == validity.row(OURS).cells["reencoded"].n == len(bench.rows)
    assert change.row(TRUE).cells["start_l1"].n == len(bench.rows) - 1
    assert validity.row(TRUE).cells["reencoded"].n == len(bench.rows) - 1
    assert value(validity, TRUE, "reencoded") == 1
    frechet = [row.cells["frechet"].n for row in realism.rows]
    assert len(set(frechet)) == 1
    assert frechet[0] < len(bench.rows)
    for measure in ("kernel", "hit", "hit_pixels", "nearest"):
        assert realism.row(TRUE).cells[measure].n == realism.row(OURS).cells[measure].n - 1
    rows = {name: axis.row(f"{name}: its own change").cells["cout"].n for name in (TRUE, NEAREST)}
    assert rows[TRUE] == rows[NEAREST] - 1


def test_copies_and_owners_are_recognised(tables):
    table = tables["counterfactuals_realism"]
    assert value(table, NEAREST, "nearest") == 0
    assert value(table, NEAREST, "copies") == 1
    assert value(table, REAL, "copies") == 0
    assert value(table, RECONSTRUCTIONS, "hit_pixels") == 1
    assert value(table, NEAREST, "hit_pixels") < 0.5
    assert table.row(REAL).cells["frechet"].n == table.row(OURS).cells["frechet"].n > 0


def test_doing_nothing_changes_nothing_and_the_way_back_is_found(tables):
    table = tables["counterfactuals_cycles"]
    for name in ("Composition, not refined, once", "Composition, not refined, 5 times"):
        assert value(table, name, "l1") < 0.01
        assert value(table, name, "kept") == 1
    there = value(table, f"{OURS}: there", "l1")
    assert value(table, f"{OURS}: there", "kept") == 0
    assert value(table, f"{OURS}: there and back", "l1") < there


def test_without_a_classifier_the_rest_is_measured(bare):
    validity, realism = bare["counterfactuals_validity"], bare["counterfactuals_realism"]
    assert "stage=classifier" in validity.note
    assert "oracle" not in validity.row(OURS).cells
    assert not {UNREFINED, TRUE} & {row.name for row in validity.rows}
    columns = {column.key for column in bare["counterfactuals_change"].columns}
    assert "usual" in columns
    assert "true_l1" not in columns
    assert value(validity, OURS, "decoder") == 1
    assert "kernel" not in realism.row(OURS).cells
    assert value(realism, RECONSTRUCTIONS, "hit_pixels") == 1
    assert bare["counterfactuals_axis"].rows == ()


def test_a_second_run_finds_the_same(tables):
    torch.manual_seed(0)
    again = TABLES["counterfactuals_realism"](bench_of(Classifier("resnet18", 3, 4, 64).eval()))
    assert again.to_dict() == tables["counterfactuals_realism"].to_dict()


def test_features_are_what_the_last_layer_judges_by():
    torch.manual_seed(0)
    classifier = Classifier("resnet18", 3, 4, 64).eval()
    pictures = some_xrays(0.0, "abcdefghijkl").large
    found = read_features(classifier, pictures)
    with torch.no_grad():
        certainty = classifier.net.fc(found.last).softmax(dim=1)
        expected = classifier.classify(to_tensor(pictures))
    assert certainty.allclose(expected, atol=1e-5)
    assert found.certainty.allclose(expected, atol=1e-5)
    assert found.places.shape == (12, 8 * 64)


def test_intervals_are_over_patients():
    bench = bench_of(None)
    one_patient = dataclasses.replace(
        bench, test=dataclasses.replace(bench.test, patients=("a",) * 12)
    )
    values = np.arange(9) / 9
    assert bench.mean(values).low < bench.mean(values).value < bench.mean(values).high
    assert one_patient.mean(values).low is None
    assert bench.mean([None, 0.5, float("nan")]).n == 1
    assert bench.mean(np.ones(9, bool)).low == pytest.approx(0.7, abs=0.01)  # Wilson's
