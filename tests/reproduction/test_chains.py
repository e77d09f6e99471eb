"""Which chains an evaluation is of: names and patterns, and refusals in one line."""

import shlex
import shutil

import pytest

from tests.reproduction.evaluating import chains, changed, configured, evaluate, rewrite
from xrj.errors import ConfigError, HandoverError
from xrj.evaluate.chains import Chain, Splits
from xrj.files import write_json
from xrj.reproduction.evaluation import Evaluation


def test_unknown_names_are_refused_in_one_line(runs):
    roles = ("seeds", "paper", "classifiers", "captioners", "embeddings", "label_loss", "sweep")
    for key in (*roles, "deviations"):
        with pytest.raises(ConfigError) as refused:
            evaluate(runs, f"evaluate.{key}=[nobody]")
        message = str(refused.value)
        assert message.startswith(f"evaluate.{key}: nobody: nothing was trained under this name")
        assert "\n" not in message


def test_a_pattern_stands_for_all_names_that_it_matches(runs):
    (runs / "noise" / ".cache-0").mkdir(parents=True)
    for seed, name in enumerate(("noise/normal50-0", "noise/normal50-1", "noise/uniform50-0")):
        shutil.copytree(runs / "tiny", runs / name)
        write_json(runs / name / "gan1" / "run.json", {"settings": {"seed": seed}})
    found = chains(runs, "evaluate.seeds=[tiny*]", "evaluate.sweep=[noise/normal*,noise/*-0]")
    assert [one.name for one in found.seeds] == ["tiny", "tiny-1"]
    expected = ["noise/normal50-0", "noise/normal50-1", "noise/uniform50-0"]
    assert [one.name for one in found.sweep] == expected
    with pytest.raises(ConfigError) as refused:
        chains(runs, "evaluate.seeds=[demo-*]")
    assert str(refused.value).startswith("evaluate.seeds: demo-*: nothing in ")
    for pattern in ("tiny**", "../*"):
        with pytest.raises(ConfigError) as refused:
            chains(runs, f"evaluate.seeds=['{pattern}']")
        assert str(refused.value).startswith(f"evaluate.seeds: {pattern}: a pattern has")


def test_a_chain_of_the_papers_preset_is_no_seed_of_the_default(runs):
    for pattern in ("tiny*", "tiny-1"):
        with pytest.raises(
            ConfigError, match=r"evaluate\.paper: tiny-1: stands in evaluate\.seeds"
        ):
            chains(runs, f"evaluate.seeds=[{pattern}]", "evaluate.paper=[tiny-1]")


def test_a_command_repeats_what_the_chain_was_trained_with(runs):
    one = Chain("tiny", {"arae": runs / "tiny" / "arae"})
    record = runs / "tiny" / "arae" / "run.json"
    write_json(record, {"settings": {}})
    assert one.typed() is None
    kept = ["experiment=demo", "dims.noise=8", "data.csv=/a b/x.csv", "+data.extra=1"]
    own = ["stage='arae'", "name='tiny'", "runs='/r'", "arae.rate=1", "parents.arae='/p'"]
    quoted = [*kept[:2], "data.csv='/a b/x.csv'", kept[3]]
    write_json(record, {"settings": {}, "typed": [*own, *quoted, "trainer.devices=2"]})
    assert one.typed() == kept
    made = Evaluation(configured(runs), chains(runs), *[None] * 6).train("gan2", width="3")
    shown = "`python train.py stage=gan2 name=tiny width=3"
    assert made == f"{shown} runs={runs} {shlex.join(kept)}`"


@pytest.mark.parametrize("key", ["sweep", "embeddings"])
def test_a_stage_on_anothers_autoencoder_finds_it_by_its_hash(runs, key):
    shutil.rmtree(runs / "tiny-1" / "arae")
    found = chains(runs, f"evaluate.{key}=[tiny-1]")
    (one,) = getattr(found, key)
    assert one.folders["arae"] == found.main.folders["arae"]
    assert one.export("arae").hash == one.export("gan1").info["parents"]["arae"]
    rewrite(runs / "tiny-1" / "gan1", parents={"arae": "b" * 64})
    with pytest.raises(HandoverError) as refused:
        chains(runs, f"evaluate.{key}=[tiny-1]")
    assert str(refused.value).startswith(f"evaluate.{key}: tiny-1: its text autoencoder is not")


def test_deviations_that_make_no_chain_are_refused(runs):
    changed(runs, "dev/alone", "gan1")
    rewrite(runs / "dev/alone" / "gan1", version="another")
    changed(runs, "dev/none", "classifier")
    for name, said in {
        "dev/alone": "has its own 'gan1' but no 'gan2' on it; run python train.py stage=gan2",
        "dev/none": "holds none of arae, gan1, gan2, inverse; train one",
        "tiny-1": "is the default that they are compared with",
    }.items():
        with pytest.raises(HandoverError) as refused:
            chains(runs, "evaluate.seeds=[tiny-1]", f"evaluate.deviations=[{name}]")
        assert str(refused.value).startswith(f"evaluate.deviations: {name}: {said}")


def test_a_stage_on_an_autoencoder_that_was_trained_again_is_refused(runs):
    rewrite(runs / "tiny-1" / "arae", version="another")
    with pytest.raises(HandoverError) as refused:
        evaluate(runs, "evaluate.seeds=[tiny-1]")
    assert "stage 'gan1' was built on another 'arae'; remove" in str(refused.value)


def test_chains_of_other_pictures_of_the_same_patients_are_read_from_their_own(runs):
    """The margin is no part of the split, nor of the vocabulary."""
    data = chains(runs).main.export("inverse").info["data"]
    rewrite(runs / "tiny-1" / "inverse", data={**data, "margin": data["margin"] + 0.2})
    splits = Splits({})
    one, other = (
        splits.images(Chain.named(runs, name, "", ["inverse"]).export("inverse"), "test", "small")
        for name in ("tiny", "tiny-1")
    )
    assert one[0].shape == other[0].shape
    assert (one[0] != other[0]).any()


def test_nothing_trained_is_refused_in_one_line(tmp_path):
    with pytest.raises(HandoverError, match="stage 'arae' has not finished there; run python"):
        evaluate(tmp_path)


def test_mixed_splits_are_refused_in_one_line(runs):
    rewrite(runs / "tiny-1" / "inverse", split="b" * 64)
    with pytest.raises(HandoverError) as refused:
        evaluate(runs, "evaluate.seeds=[tiny-1]")
    assert str(refused.value).startswith("tiny and tiny-1: their splits differ")
    assert "\n" not in str(refused.value)
