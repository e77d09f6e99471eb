"""A chain as one folder to hand on: whole, without paths, and the same model in 16 bits."""

import shutil
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import xrj
from tests.commands import call_infer
from tests.test_infer import QUICK, write_xray
from xrj import finished
from xrj.cli import export
from xrj.files import read_json, sha256_json, write_json
from xrj.packed import NETS

CARD = ["card.licence=Apache-2.0", "card.learned_from='pictures of noise'"]


@pytest.fixture(scope="module")
def exported(chain_runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    given = [f"out={folder}/model", "name=tiny", f"runs={chain_runs}", *CARD]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["xrj-export", *given])
        export()
    return folder / "model"


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


@pytest.fixture(scope="module")
def grey():
    return np.random.default_rng(0).integers(0, 256, (70, 60), dtype=np.uint8)


def test_it_is_the_same_model_in_16_bits(exported, chain_runs, grey):
    ours, theirs = xrj.load(exported, device="cpu"), xrj.load(chain_runs / "tiny", device="cpu")
    weights = load_file(exported / "model.safetensors")
    held = {tuple(name.split(".")[:2]) for name in weights}
    assert held == {(stage, net) for stage, nets in NETS.items() for net in nets}
    real = {name: x.dtype for name, x in weights.items() if x.is_floating_point()}
    exact = {name for name in real if ".familiarity.o" in name}  # own, others
    assert {real[name] for name in exact} == {torch.float32}
    assert {real[name] for name in real.keys() - exact} == {torch.float16}
    one, other = ours.diagnose(grey), theirs.diagnose(grey)
    assert one.diagnosis == other.diagnosis
    assert list(one.certainty.values()) == pytest.approx(list(other.certainty.values()), abs=5e-3)
    x = torch.rand(2, 1, 16, 16) * 2 - 1
    assert torch.allclose(ours.inner.encode(x), theirs.inner.encode(x), atol=2e-2)
    assert ours.labels == theirs.labels
    assert ours.inner.identity["stages"] != theirs.inner.identity["stages"]


def test_it_holds_nothing_of_the_machine_that_trained_it(exported, chain_runs):
    config = (exported / "config.json").read_text()
    for trace in (str(chain_runs), "cache", "/tmp", "csv", "root"):  # noqa: S108
        assert trace not in config
    assert sorted(path.name for path in exported.iterdir()) == [
        "LICENSE", "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip


def test_its_card_says_what_it_is(exported):
    card = (exported / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "apache-2.0",
        "library_name": "xrj",
        "tags": ["chest-x-ray", "counterfactual-explanation", "image-captioning"],
    }
    assert "pictures of noise" in text
    assert "no medical device" in text
    assert "Apache-2.0" in (exported / "LICENSE").read_text()


def test_what_it_justifies_says_what_it_learned_from(exported, grey, tmp_path):
    settings = xrj.JustifySettings(
        mapping=xrj.MappingSettings(tries=1, steps=2), refinement=xrj.RefinementSettings(steps=1),
        walk=2, saliency=False,
    )  # fmt: skip
    model = xrj.load(exported)
    found = model.justify(grey, settings)
    assert model.card["learned_from"] == "pictures of noise"
    assert found.to_dict()["model"]["learned_from"] == "pictures of noise"
    page = found.save(tmp_path / "out").read_text()
    assert "Trained on pictures of noise" in page


def test_infer_takes_it_by_its_path_or_its_place(
    exported, chain_runs, tmp_path, monkeypatch, capsys
):
    write_xray(tmp_path / "x.png")
    shutil.copytree(exported, tmp_path / "runs" / "given")
    results = []
    for number, name in enumerate((exported, "given")):
        given = ["image=x.png", f"name={name}", f"out={number}", *QUICK]
        status, _, err = call_infer(monkeypatch, capsys, tmp_path, given)
        assert (status, err) == (0, [])
        results.append(read_json(tmp_path / f"{number}" / "x" / "justification.json"))
    one, other = (result["model"] for result in results)
    assert one == other
    assert one["name"] == "tiny"


@pytest.mark.parametrize("task", ["report", "evaluate", "interpolate", "export"])
def test_it_has_no_data_to_measure_on(exported, task, tmp_path, monkeypatch, capsys):
    given = [f"task={task}", f"name={exported}", "out=there", *CARD]
    status, _, err = call_infer(monkeypatch, capsys, tmp_path, given)
    assert status == 2
    assert err == [
        f"error: name={exported}: {exported} is an exported model, which has no data and no "
        f"stages; task={task} needs a run's name"
    ]


def rewritten(folder, change):
    config = read_json(folder / "config.json")
    change(config)
    write_json(folder / "config.json", config)


def test_a_truncated_weight_file(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(xrj.HandoverError, match=r"safetensors: missing or changed .*; get the"):
        xrj.load(copy)


def test_a_card_that_is_missing(copy):
    (copy / "README.md").unlink()
    with pytest.raises(xrj.HandoverError, match=r"README\.md: the model's card is missing"):
        xrj.load(copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(schema=7, version="9.1"), "written in schema 7 by xrj 9.1, and xrj"),
        (lambda c: c.update(library_name="diffusers"), "of no model of xrj"),
        (lambda c: c["stages"].pop("gan1"), "lacks a stage; get the folder anew"),
        (lambda c: c["stages"]["gan1"]["dims"].update(noise=5), "changed since it was written"),
        (lambda c: c["stages"].update(other={}), "its stage 'other' cannot be read"),
        (lambda c: c.update(captions={"normal": []}), "changed since it was written; get the fold"),
        (lambda c: c.update(calibration={"error": 0.0, "n": 9}), "changed since it was w.*anew"),
        (lambda c: c.pop("selection"), r"config\.json: changed since it was written"),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit(copy, change, said):
    rewritten(copy, change)
    with pytest.raises(xrj.HandoverError, match=said):
        xrj.load(copy)


def test_stages_of_two_models(copy):
    def mix(config):
        info = config["stages"]["gan1"]
        info["split"] = "another"
        for part in (info, config):
            part["hash"] = sha256_json({key: value for key, value in part.items() if key != "hash"})

    rewritten(copy, mix)
    with pytest.raises(xrj.HandoverError, match="trained on another split"):
        xrj.load(copy)


def test_a_config_that_is_no_json(copy):
    (copy / "config.json").write_text("{")
    with pytest.raises(xrj.HandoverError, match=r"config\.json: not valid JSON .*; get the folder"):
        xrj.load(copy)


def test_another_epoch_than_it_holds(exported):
    assert xrj.load(exported, selection="ours_label")
    with pytest.raises(xrj.HandoverError, match=r"holds the epoch 'ours_label' .*, not 'ours_cap"):
        xrj.load(exported, selection="ours_caption")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "out: says where the model is written; give out=DIR"),
        (["out=x"], "card.licence: a model is handed on with a card that says it; give card.lic"),
        (["out=x", CARD[0]], "card.learned_from: a model is handed on with a card that says it"),
        (["out=x", *CARD, "card.measures=no.json"], "card.measures=no.json: there is no such file"),
        (["out=mine", *CARD], "mine: exists and is no exported model; choose another out="),
    ],
)
def test_what_an_export_needs(given, said, chain_runs, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    arguments = ["task=export", "name=tiny", f"runs={chain_runs}", *given]
    status, _, err = call_infer(monkeypatch, capsys, tmp_path, arguments)
    assert status == 2
    assert len(err) == 1
    assert said in err[0]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_an_export_replaces_an_earlier_one_and_holds_its_measures(
    chain_runs, copy, tmp_path, monkeypatch, capsys
):
    runs = shutil.copytree(chain_runs, tmp_path / "runs")
    identity = xrj.load(runs / "tiny").inner.identity
    write_json(
        runs / "tiny" / "report" / "summary.json",
        {
            "model": {**identity, "selection": "ours_label"},
            "measures": {"diagnosis": {"calibration_error": {"value": 0.03, "n": 12}}},
            "table": [{"name": "AUROC", "value": "0.5 (0.4 to 0.6)", "n": "12", "meaning": ""}],
        },
    )
    write_json(tmp_path / "judges.json", {"judges": {"majority": {"on_xray": 0.91234}}, "n": 7})
    given = ["task=export", f"out={copy}", "name=tiny", f"runs={runs}", *CARD]
    given.append("card.measures=judges.json")
    assert call_infer(monkeypatch, capsys, tmp_path, given)[0] == 0
    card = (copy / "README.md").read_text()
    assert "| AUROC | 0.5 (0.4 to 0.6) | 12 |" in card
    assert "| judges, majority, on xray | 0.912 |\n| n | 7 |" in card
    assert xrj.load(copy).calibration.error == 0.03


# Captions that are known


def known(chain_runs, tmp_path, monkeypatch, capsys, *given):
    arguments = ["task=export", "out=known", "name=tiny", f"runs={chain_runs}", *CARD]
    return call_infer(monkeypatch, capsys, tmp_path, [*arguments, "card.captions=known", *given])


def test_a_model_may_say_the_captions_of_its_training_alone(
    chain_runs, grey, tmp_path, monkeypatch, capsys
):
    status, _, err = known(chain_runs, tmp_path, monkeypatch, capsys, "card.unsaid=[lungs]")
    assert (status, [line for line in err if "error" in line]) == (0, [])
    said = read_json(tmp_path / "known" / "config.json")["captions"]
    assert set(said) == {"normal", "cardiomegaly"}
    assert not [text for texts in said.values() for text in texts if "lungs" in text.split()]
    model = xrj.load(tmp_path / "known", device="cpu").inner
    r = torch.randn(6, model.representation.size)
    found = model.captions(r)
    labels = model.label_logits(r).argmax(dim=1).tolist()
    for row, (label, words) in enumerate(found):
        assert label == model.labels[labels[row]]
        code = model.representation.code(r[row : row + 1])
        likelihoods = []
        for text in said[label]:  # word by word, as the decoder writes
            tokens = [*model.vocabulary.encode(label, text.split())]
            previous, state, total = 1, None, 0.0
            for token in tokens:
                logits, state = model.decoder.step(code, torch.tensor([[previous]]), state)
                total += logits[0, 0].log_softmax(dim=0)[token].item()
                previous = token
            likelihoods.append(total)
        best = sorted(zip(likelihoods, said[label], strict=True))[-1]
        assert likelihoods[said[label].index(" ".join(words))] == pytest.approx(best[0], abs=1e-4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["card.unsaid=[the,is,no,are,heart,lungs,of,there]"], "card.unsaid: leaves '"),
        ([], "card.captions=known: training has "),
    ],
)
def test_captions_that_cannot_be_known(given, words, chain_runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("xrj.tasks.MOST_KNOWN", 1)
    status, _, err = known(chain_runs, tmp_path, monkeypatch, capsys, *given)
    assert status == 2
    assert words in err[-1]
    assert not (tmp_path / "known").exists()


# Found by name


def test_the_model_that_comes_with_the_package_is_taken_where_none_is_named(
    exported, tmp_path, monkeypatch, capsys
):
    shutil.copytree(exported, tmp_path / "models" / "starter")
    monkeypatch.setattr(finished, "MODELS", tmp_path / "models")
    write_xray(tmp_path / "x.png")
    monkeypatch.chdir(tmp_path)
    assert xrj.load("starter").inner.name == "tiny"
    given = ["image=x.png", "out=out", *QUICK]
    status, out, err = call_infer(monkeypatch, capsys, tmp_path, given)
    assert (status, err) == (
        0, ["no name= given: by starter, the model that comes with xrj, for a first look"],
    )  # fmt: skip
    assert out[0].startswith("x.png: ")
    status, _, err = call_infer(monkeypatch, capsys, tmp_path, [*given, "name=default"])
    assert status == 2
    assert "stage=arae name=default first" in err[0]
    status, _, err = call_infer(monkeypatch, capsys, tmp_path, ["task=report"])
    assert status == 2


def test_a_run_goes_before_the_model_that_comes_with_the_package(
    exported, chain_runs, tmp_path, monkeypatch
):
    shutil.copytree(exported, tmp_path / "models" / "starter")
    monkeypatch.setattr(finished, "MODELS", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert xrj.load("starter").card.get("learned_from")
    (tmp_path / "runs" / "starter").symlink_to(chain_runs / "tiny")
    assert "learned_from" not in xrj.load("starter").card


def test_a_hub_is_asked_where_its_library_is_installed(exported, monkeypatch):
    asked = []

    def snapshot_download(repository, allow_patterns):
        asked.append((repository, allow_patterns))
        if repository != "clinic/hearts":
            raise OSError("no such repository\nand more")
        return str(exported)

    hub, errors = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.errors")
    hub.snapshot_download = snapshot_download
    errors.HfHubHTTPError = errors.HFValidationError = type("E", (Exception,), {})
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    assert xrj.load("hf://clinic/hearts").inner.name == "tiny"
    assert asked == [("clinic/hearts", ["config.json", "model.safetensors", "README.md"])]
    with pytest.raises(xrj.HandoverError, match=r"cannot be fetched \(no such repository\); chec"):
        xrj.load("hf://clinic/lungs")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(xrj.ConfigError, match=r"needs huggingface_hub; pip install 'xrj\[hub\]'"):
        xrj.load("hf://clinic/hearts")


def test_what_is_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(xrj.HandoverError, match=r"did you mean starter.*starter comes with xrj"):
        xrj.load("startr")
