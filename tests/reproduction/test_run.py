"""`task=evaluate` on untrained chains: every table, resume, and refusals in one line."""

import shutil

import numpy as np
import pandas as pd
import pytest

from tests.chains import write_chain
from tests.reproduction.evaluating import chains, changed, configured, evaluate, rewrite
from xrj.errors import ConfigError, HandoverError
from xrj.evaluate import bench, generators
from xrj.evaluate.chains import Splits
from xrj.evaluate.generators import CEILING, FLOOR
from xrj.evaluate.results import Column, ResultTable, Row
from xrj.evaluate.results_page import read_results
from xrj.justify.model import JustificationModel
from xrj.reproduction import run, steps
from xrj.tasks import run_task


@pytest.fixture(autouse=True)
def own_part(monkeypatch):
    """Leave counterfactuals, which have tests of their own, at one table."""

    def tables(bench):
        cells = {"x": f"{bench.model.name} {len(bench.rows)} {bench.resamples} {bench.seed}"}
        return [ResultTable("cf", "Counterfactuals", (Column("x", "X"),), (Row("ours", cells),))]

    monkeypatch.setattr(steps, "counterfactual_tables", tables)


def test_an_interrupted_sweep_goes_on_at_its_next_point(runs, monkeypatch):
    """Each point's critics take minutes; table 2 uses what they found, until inputs change."""
    monkeypatch.setattr(run, "STEPS", [steps.noise_sweep, steps.table_2])
    judged = []

    def judge(chain, stage, *rest):
        if len(judged) == 1:
            judged.append("stopped")
            raise KeyboardInterrupt
        judged.append((chain.name, stage))
        return generators.judge(chain, stage, *rest)

    monkeypatch.setattr("xrj.reproduction.evaluation.judge", judge)
    with pytest.raises(KeyboardInterrupt):
        evaluate(runs, "evaluate.sweep=[tiny,tiny-1]")
    evaluate(runs, "evaluate.sweep=[tiny,tiny-1]")
    rival = ("tiny", "embedding_gan1")
    assert judged == [("tiny", "gan1"), "stopped", ("tiny-1", "gan1"), rival]
    del judged[2:]
    evaluate(runs, "evaluate.sweep=[tiny,tiny-1]", "evaluate.critic.steps=3")
    assert judged[2:] == [("tiny", "gan1"), ("tiny-1", "gan1"), rival]
    rewrite(runs / "tiny" / "classifier", extra=1)
    evaluate(runs, "evaluate.sweep=[tiny]", "evaluate.critic.steps=3")
    assert judged[5:] == [("tiny", "gan1"), rival]
    sweep, rivals = read_results(runs / "tiny" / "evaluation" / "results.json")[::-1]
    assert (sweep.key, rivals.key) == ("noise_sweep", "table_2")
    assert {row.cells["runs"] for row in sweep.rows if "runs" in row.cells} == {"1"}


@pytest.fixture
def folds(runs, chain_runs):
    """Two untrained chains of the same patients, split in two ways."""
    write_chain(runs, "fold", chain_runs.parent / "cache", "data.split.seed=5")
    log = runs / "tiny" / "inverse" / "logs" / "version_0" / "metrics.csv"
    shutil.copytree(log.parents[1], runs / "fold" / "inverse" / "logs")
    return runs


def test_each_fold_is_measured_on_its_own_split(folds, monkeypatch):
    several = [steps.table_2, steps.table_3, steps.table_4, steps.figure_2, steps.counterfactuals]
    monkeypatch.setattr(run, "STEPS", several)
    monkeypatch.setenv("PATH", "")
    chosen = ["evaluate.seeds=[fold]", "evaluate.folds=true"]
    evaluate(folds, *chosen)
    tables = {
        table.key: table for table in read_results(folds / "tiny" / "evaluation" / "results.json")
    }
    found = chains(folds, *chosen)
    exports = [chain.export("inverse") for chain in found.seeds]
    hashes = {export.info["split"] for export in exports}
    assert len(hashes) == 2
    for table in tables.values():
        assert set(table.provenance.splits) == hashes
    images = [Splits({}).of(export).table.images for export in exports]
    tests = [frame[frame["split"] == "test"] for frame in images]
    ours = tables["table_3"].row("Ours (label)").cells
    assert ours["runs"] == "2"
    assert ours["accuracy"].n == sum(map(len, tests))
    assert ours["sensitivity"].n + ours["specificity"].n == ours["accuracy"].n
    assert tables["table_4"].row("Ours (label)").cells["bleu4"].n == ours["accuracy"].n
    names = [row.name for row in tables["table_2"].rows]
    assert "p, paired over folds" in names
    assert tables["figure_2"].row("All losses").cells["accuracy"].n == 2
    assert "Means over 2 chains (tiny, fold)" in tables["cf"].note


@pytest.mark.slow
def test_all_tables_of_two_seeds_and_a_second_run(runs, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # without Java, which takes seconds a table
    shutil.copytree(runs / "tiny-1", runs / "letter", ignore=lambda _folder, _names: ["classifier"])
    chosen = ["evaluate.seeds=[tiny-1]", "evaluate.paper=[letter]", "evaluate.label_loss=[tiny-1]"]
    evaluate(runs, *chosen, "evaluate.sweep=[tiny,tiny-1]")
    captured = capsys.readouterr()
    folder = runs / "tiny" / "evaluation"
    assert captured.out.strip() == str(folder / "results.html")
    assert "table_3 ..." in captured.err
    tables = {table.key: table for table in read_results(folder / "results.json")}
    keys = ["table_2", "noise_sweep", "figure_2", "table_3", "table_4", "table_4_label"]
    keys += ["table_4_words", "table_5", "figure_3", "figure_4", "cf", "presets"]
    assert list(tables) == keys
    assert {len(table.provenance.splits) for table in tables.values()} == {1}
    assert tables["table_3"].provenance.seeds == (0, 1)
    ours = tables["table_3"].row("Ours (label)").cells
    assert ours["runs"] == "2"
    assert ours["accuracy"].n == tables["table_4"].row("Ours (label)").cells["bleu1"].n > 5
    assert tables["table_3"].row("ResNet-18").cells["deviation"].value == 0.0
    assert {row.name for row in tables["table_2"].rows} >= {"ARAE", "Floor: real against real"}
    arae = tables["table_2"].row("ARAE").cells
    assert 0 <= arae["label_seen"].value <= 1
    assert arae["wasserstein_train"].n > arae["wasserstein"].n == ours["accuracy"].n
    assert arae["alignment_val"].n == arae["wasserstein_val"].n > 0
    assert -1 <= arae["alike"].value <= 1
    assert tables["cf"].row("ours").cells["x"] == "tiny 4 100 0"
    ends = {row.name for row in tables["table_2"].rows if row.reference}
    assert ends == {FLOOR, CEILING}
    assert tables["presets"].row("Diagnosis: Accuracy").cells["ahead"] == "alike"
    judged = tables["presets"].row("Justification: Valid: classifier").cells
    assert judged["paper"].n == judged["default"].n > 0  # by the main chain's, the other has none
    assert "METEOR is left out: Java is not installed." in tables["table_4"].note
    assert "  Ours (caption): tiny-1, 2 of 2" in captured.err
    said = tables["table_4_words"].row("Ours (label)").cells
    assert said["silent"].n == ours["accuracy"].n
    speaking = round((1 - said["silent"].value) * said["silent"].n)
    assert said["consistent"].n == speaking
    assert tables["presets"].row("Captions: Silent on their label").cells["ahead"] == "alike"
    assert "SIMULATED" in tables["table_5"].note
    assert not any(column.better for column in tables["table_5"].columns)  # questions differ
    before = {
        path: path.stat().st_mtime_ns
        for path in (folder / "tables").iterdir()
        if not path.name.startswith("judged_")
    }
    evaluate(runs, *chosen, "evaluate.sweep=[tiny,tiny-1]")
    err = capsys.readouterr().err
    assert err.count("already done") == len(before)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (folder / "tables" / "table_3.json").write_text("{")
    evaluate(runs, *chosen, "evaluate.sweep=[tiny,tiny-1]")
    assert "table_3 ..." in capsys.readouterr().err


def test_table_4_is_made_anew_once_java_is_there(runs, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "STEPS", [steps.table_4])
    for java, said in ((False, "table_4 ..."), (False, "already done"), (True, "table_4 ...")):
        monkeypatch.setattr("xrj.reproduction.evaluation.meteor_runs", lambda java=java: java)
        monkeypatch.setenv("PATH", str(tmp_path))
        evaluate(runs)
        assert said in capsys.readouterr().err


def test_presets_draw_no_saliency_maps(runs, tmp_path, monkeypatch):
    """Nothing in the table shows them, and integrated gradients are slow."""

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(run, "STEPS", [steps.presets])
    monkeypatch.setattr(JustificationModel, "saliency", refuse)
    monkeypatch.setenv("PATH", str(tmp_path))
    evaluate(runs, "evaluate.paper=[tiny-1]")
    (table,) = read_results(runs / "tiny" / "evaluation" / "results.json")
    assert any(row.name.startswith("Justification: ") for row in table.rows)


def _bench(runs, monkeypatch):
    seen = []

    def tables(bench):
        seen.append(bench)
        return [ResultTable("cf", "Counterfactuals", (Column("x", "X"),), ())]

    monkeypatch.setattr(steps, "counterfactual_tables", tables)
    monkeypatch.setattr(run, "STEPS", [steps.counterfactuals])
    evaluate(runs)
    return seen[0]


def test_a_phantoms_xrays_are_drawn_again_as_they_were_prepared(runs, monkeypatch):
    bench = _bench(runs, monkeypatch)
    labels, xrays = bench.xrays.labels, bench.xrays
    assert set(labels) == {0, 1}
    for drawn, stored in zip(bench.redraw(xrays, labels), (xrays.small, xrays.large), strict=True):
        assert np.array_equal(drawn, stored)
    for drawn, stored in zip(
        bench.redraw(xrays, 1 - labels), (xrays.small, xrays.large), strict=True
    ):
        assert all((a != b).any() for a, b in zip(drawn, stored, strict=True))


def test_labels_that_are_not_the_phantoms_own_have_no_true_counterfactual(runs, monkeypatch):
    def no_truth(path, **_):
        return drawn(path).assign(label="normal")

    drawn = pd.read_csv
    monkeypatch.setattr(bench.pd, "read_csv", no_truth)
    assert _bench(runs, monkeypatch).redraw is None


def test_deviations_are_measured_from_their_first_change_on_and_kept(runs, capsys, monkeypatch):
    monkeypatch.setattr(run, "STEPS", [steps.deviations])
    monkeypatch.setenv("PATH", "")
    changed(runs, "dev/rate", "inverse", **{"inverse.rate": 1})
    changed(runs, "dev/average", "gan1", "gan2", "inverse", **{"gan1.average": False})
    chosen = ["evaluate.seeds=[tiny-1]", "evaluate.deviations=[dev/rate,dev/average]"]
    evaluate(runs, *chosen)
    assert "deviations: dev/average, 4 of 4" in capsys.readouterr().err
    (table,) = read_results(runs / "tiny" / "evaluation" / "results.json")
    default, own, rate, average = table.rows
    assert (own.name, own.cells["settings"]) == ("tiny", "nothing")
    assert default.name == "default, 2 seeds"
    assert default.cells["wasserstein"].n == 2
    assert (rate.name, rate.cells["settings"]) == ("dev/rate", "inverse.rate=1")
    assert average.cells["settings"] == "gan1.average=false"
    measured = {"wasserstein", "accuracy", "bleu4", "validity.independent"}
    assert measured & rate.cells.keys() == measured - {"wasserstein"}
    assert measured < average.cells.keys()
    assert "token_accuracy" not in average.cells
    for row in (rate, average):  # copies of one of the seeds
        assert (row.cells["behind"], row.cells["ahead"]) == ("nothing", "nothing")
        assert row.cells["bleu4"].value == default.cells["bleu4"].value
    evaluate(runs, *chosen)
    assert capsys.readouterr().err.count("already done") == 5


def test_all_deviations_have_one_judge_whatever_words_it_knows(runs, monkeypatch):
    monkeypatch.setattr(run, "STEPS", [steps.deviations])
    monkeypatch.setenv("PATH", "")
    changed(runs, "dev/rate", "inverse", **{"inverse.rate": 1})
    shutil.rmtree(runs / "tiny-1" / "classifier")
    words = chains(runs).main.export("classifier").info["vocabulary"]
    rewrite(runs / "tiny" / "classifier", vocabulary={**words, "hash": "c" * 64})
    evaluate(runs, "evaluate.seeds=[tiny-1]", "evaluate.deviations=[dev/rate]")
    (table,) = read_results(runs / "tiny" / "evaluation" / "results.json")
    default, own, rate = (row.cells["validity.independent"] for row in table.rows)
    assert default.n == 2
    assert own.n == rate.n > 0


def test_a_classifier_of_other_labels_judges_no_generator(runs, monkeypatch):
    monkeypatch.setattr(run, "STEPS", [steps.noise_sweep])
    words = chains(runs).main.export("classifier").info["vocabulary"]
    for labels in (words["labels"], ["fracture", "none"]):
        rewrite(runs / "tiny" / "classifier", vocabulary={**words, "labels": labels})
        evaluate(runs, "evaluate.sweep=[tiny]")
        (table,) = read_results(runs / "tiny" / "evaluation" / "results.json")
        seen = table.rows[0].cells["label_seen"]
        assert (seen is None) == (labels != words["labels"])


def test_a_deviation_of_another_split_is_refused_with_folds_too(runs, monkeypatch):
    monkeypatch.setattr(run, "STEPS", [steps.deviations])
    changed(runs, "dev/rate", "inverse", **{"inverse.rate": 1})
    rewrite(runs / "dev/rate" / "inverse", split="b" * 64)
    with pytest.raises(HandoverError, match="tiny and dev/rate: their splits differ"):
        evaluate(runs, "evaluate.folds=true", "evaluate.deviations=[dev/rate]")


def test_a_held_study_must_be_of_the_chain_and_its_table_says_where_it_comes_from(
    runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(run, "STEPS", [steps.table_5])
    held = tmp_path / "study"
    run_task(configured(runs, "task=study", "study.step=sample", f"out={held}"))
    run_task(configured(runs, "task=study", "study.step=simulate", f"out={held}"))
    evaluate(runs, f"evaluate.study={held}")
    capsys.readouterr()
    (table,) = read_results(runs / "tiny" / "evaluation" / "results.json")
    assert table.provenance.splits == (chains(runs).main.export("arae").info["split"],)
    rewrite(runs / "tiny" / "classifier", version="another")
    with pytest.raises(HandoverError) as refused:
        evaluate(runs, f"evaluate.study={held}")
    assert str(refused.value).startswith(f"evaluate.study={held}: was drawn from the chain tiny")


@pytest.mark.parametrize(
    "override",
    [
        "evaluate.resamples=1",
        "evaluate.critic.steps=0",
        "evaluate.critic.rate=0",
        "evaluate.critic.rate=nan",
        "evaluate.xrays=1",
        "+evaluate.extra=1",
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, override):
    with pytest.raises(ConfigError, match=override.lstrip("+").partition("=")[0]):
        evaluate(tmp_path, override)
