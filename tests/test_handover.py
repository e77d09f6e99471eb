"""What a stage gives the next, and everything that must not be taken."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from xrj.datamodules.vocabulary import Vocabulary
from xrj.errors import DataError, HandoverError
from xrj.files import sha256_file, sha256_json
from xrj.handover import Kept, check_fit, load_export, write_export
from xrj.nets.registry import NETS, build_net

DIMS = {
    "embedding": 6,
    "noise": 3,
    "noise_kind": "normal",
    "code_scale": "none",
    "small": 16,
    "large": 32,
}
SPEC = {
    "net": "InverseMapping",
    "embedding": 6,
    "noise": 3,
    "scale": 1.0,
    "width": 2,
    "size": 16,
    "channels": 1,
    "dropout": 0.5,
    "convolution_dropout": 0.1,
}
VOCABULARY = Vocabulary(("normal", "cardiomegaly"), ("clear", "heart"))


def write(folder, stage="inverse", dims=DIMS, parents=None):
    """Write an export of two kept epochs; return the nets of each."""
    nets = {name: build_net(SPEC) for name in ("first", "second")}
    kept = {
        name: Kept(
            epoch,
            "val/accuracy",
            {"val/accuracy": 0.5 * epoch, "val/undefined": math.nan},
            {f"inverse.{key}": value for key, value in net.state_dict().items()},
        )
        for epoch, (name, net) in enumerate(nets.items(), start=1)
    }
    write_export(
        folder / "export",
        stage=stage,
        nets={"inverse": SPEC},
        kept=kept,
        dims=dims,
        vocabulary=VOCABULARY,
        split_hash="split",
        parents=parents or {"arae": "a", "gan1": "g"},
        data={"source": "phantom"},
    )
    return nets


@pytest.fixture
def written(tmp_path):
    folder = tmp_path / "runs" / "demo" / "inverse"
    return SimpleNamespace(folder=folder, nets=write(folder))


def rewrite(folder, change):
    """Change stage.json and give it a hash that fits, as a forger would."""
    path = folder / "export" / "stage.json"
    info = json.loads(path.read_text())
    change(info)
    info.pop("hash", None)
    path.write_text(json.dumps({**info, "hash": sha256_json(info)}))


def refusal(call):
    with pytest.raises(HandoverError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_round_trip(written):
    export = load_export(written.folder, "inverse")
    assert export.vocabulary.to_dict() == VOCABULARY.to_dict()
    assert export.info["dims"] == DIMS
    assert export.info["parents"] == {"arae": "a", "gan1": "g"}
    assert export.info["selections"]["second"]["metrics"] == {"val/accuracy": 1.0}
    assert export.info["selections"]["second"]["epoch"] == 2
    assert export.info["image_range"] == [-1, 1]
    assert "not for clinical" in export.info["intended_use"]
    image = torch.rand(2, 1, 16, 16)
    for name, original in written.nets.items():
        net = export.net("inverse", name)
        assert not net.training
        assert not any(parameter.requires_grad for parameter in net.parameters())
        assert torch.equal(net(image), original.eval()(image))
    assert torch.equal(
        next(export.net("inverse").parameters()), next(written.nets["first"].parameters())
    )


def test_the_hash_is_the_identity_of_weights_and_lineage(written, tmp_path):
    torch.manual_seed(0)
    write(tmp_path / "a")
    torch.manual_seed(0)
    write(tmp_path / "b")
    torch.manual_seed(0)
    write(tmp_path / "c", parents={"arae": "other"})
    first, same, other = (load_export(tmp_path / name, "inverse").hash for name in "abc")
    assert first == same
    assert first not in (other, load_export(written.folder, "inverse").hash)


def test_no_temporary_stays(written):
    assert sorted(path.name for path in (written.folder / "export").iterdir()) == [
        "first.safetensors",
        "second.safetensors",
        "stage.json",
    ]


def test_missing_parent(tmp_path):
    message = refusal(lambda: load_export(tmp_path / "runs" / "dev" / "arae", "arae"))
    assert str(tmp_path / "runs" / "dev" / "arae") in message
    assert f"python train.py stage=arae name=dev runs={tmp_path / 'runs'} first" in message


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("runs/dev/arae", "python train.py stage=arae name=dev first"),
        ("runs/noise/50/arae", "python train.py stage=arae name=50 runs=runs/noise first"),
    ],
)
def test_the_remedy_names_the_folder_in_question(tmp_path, monkeypatch, folder, command):
    monkeypatch.chdir(tmp_path)
    message = refusal(lambda: load_export(Path(folder), "arae"))
    assert message.endswith(command)


def test_weights_without_their_json_are_not_an_export(written):
    (written.folder / "export" / "stage.json").unlink()
    assert "has not finished" in refusal(lambda: load_export(written.folder, "inverse"))


def test_other_stage(written):
    message = refusal(lambda: load_export(written.folder, "gan1"))
    assert str(written.folder) in message
    assert "not an export of stage 'gan1'" in message
    assert "train.py stage=gan1" in message


def test_other_schema(written):
    rewrite(written.folder, lambda info: info.update(schema=99))
    assert "schema" in refusal(lambda: load_export(written.folder, "inverse"))


def test_changed_json(written):
    path = written.folder / "export" / "stage.json"
    path.write_text(path.read_text().replace('"epoch": 2', '"epoch": 3'))
    message = refusal(lambda: load_export(written.folder, "inverse"))
    assert f"{path}: changed since it was written" in message
    assert "train.py stage=inverse" in message


@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_broken_json(written, content):
    path = written.folder / "export" / "stage.json"
    path.write_text(content)
    message = refusal(lambda: load_export(written.folder, "inverse"))
    assert str(path) in message
    assert "train.py stage=inverse" in message


def test_another_image_range(written):
    rewrite(written.folder, lambda info: info.update(image_range=[0, 1]))
    message = refusal(lambda: load_export(written.folder, "inverse"))
    assert "images lie in [0, 1], not [-1.0, 1.0]" in message


def test_unknown_net(written):
    rewrite(written.folder, lambda info: info["nets"]["inverse"].update(net="os.system"))
    message = refusal(lambda: load_export(written.folder, "inverse"))
    assert "unknown net 'os.system'" in message
    assert str(written.folder) in message


def test_changed_weights(written):
    path = written.folder / "export" / "first.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    export = load_export(written.folder, "inverse")
    message = refusal(lambda: export.net("inverse"))
    assert f"{path}: missing or changed" in message
    assert "train.py stage=inverse" in message
    export.net("inverse", "second")  # untouched


def test_missing_weights(written):
    path = written.folder / "export" / "first.safetensors"
    path.unlink()
    assert str(path) in refusal(lambda: load_export(written.folder, "inverse").net("inverse"))


def test_unknown_selection(written):
    message = refusal(lambda: load_export(written.folder, "inverse").net("inverse", "best"))
    assert "keeps first, second, not 'best'" in message


@pytest.mark.parametrize(
    "change",
    [{"width": 3}, {"size": 32}, {"channels": 3}, {"depth": 4}],
    ids=lambda change: next(iter(change)),
)
def test_weights_that_do_not_fit_their_net(written, change):
    rewrite(written.folder, lambda info: info["nets"]["inverse"].update(change))
    message = refusal(lambda: load_export(written.folder, "inverse").net("inverse"))
    assert "first.safetensors: does not fit 'inverse'" in message


def test_weights_that_are_no_safetensors(written):
    path = written.folder / "export" / "first.safetensors"
    torch.save({"a": torch.zeros(1)}, path)
    rewrite(
        written.folder,
        lambda info: info["selections"]["first"].update(sha256=sha256_file(path)),
    )
    assert str(path) in refusal(lambda: load_export(written.folder, "inverse").net("inverse"))


def test_weights_that_lack_a_net(written):
    path = written.folder / "export" / "first.safetensors"
    save_file({"other.weight": torch.zeros(1)}, path)
    rewrite(
        written.folder,
        lambda info: info["selections"]["first"].update(sha256=sha256_file(path)),
    )
    assert "does not fit" in refusal(lambda: load_export(written.folder, "inverse").net("inverse"))


def test_what_fits_is_accepted(written):
    check_fit(
        load_export(written.folder, "inverse"),
        dims={**DIMS, "large": 64},  # the small stages do not depend on it
        vocabulary=VOCABULARY,
        split_hash="split",
        parents={"arae": "a", "gan1": "g", "gan2": "of its own"},
    )


@pytest.mark.parametrize("key", ["embedding", "noise", "noise_kind", "code_scale", "small"])
def test_other_sizes(written, key):
    export = load_export(written.folder, "inverse")
    other = "uniform" if key == "noise_kind" else "sqrt_dim" if key == "code_scale" else 99
    message = refusal(lambda: check_fit(export, dims={**DIMS, key: other}))
    assert str(written.folder) in message
    assert f"dims.{key}={DIMS[key]}, not {other}" in message
    assert "use that size or train" in message


def test_an_arae_serves_every_noise(tmp_path):
    write(tmp_path, stage="arae")
    export = load_export(tmp_path, "arae")
    check_fit(export, dims={**DIMS, "noise": 50, "noise_kind": "uniform", "small": 64})
    assert "dims.embedding" in refusal(lambda: check_fit(export, dims={**DIMS, "embedding": 7}))


def test_the_large_size_binds_stage_two(tmp_path):
    write(tmp_path, stage="gan2")
    export = load_export(tmp_path, "gan2")
    assert "dims.large" in refusal(lambda: check_fit(export, dims={**DIMS, "large": 64}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"vocabulary": Vocabulary(("normal", "cardiomegaly"), ("clear",))}, "another vocabulary"),
        ({"split_hash": "other"}, "another split"),
        ({"parents": {"arae": "b"}}, "built on another 'arae'"),
    ],
    ids=["vocabulary", "split", "lineage"],
)
def test_what_does_not_fit_is_refused(written, given, words):
    message = refusal(lambda: check_fit(load_export(written.folder, "inverse"), **given))
    assert str(written.folder) in message
    assert words in message
    assert "train" in message


def test_a_full_disk_leaves_no_export(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(DataError, match="No space left"):
        write(tmp_path)
    assert not list((tmp_path / "export").iterdir())


def test_every_net_is_built_by_its_name():
    assert {name: net.__name__ for name, net in NETS.items()} == {name: name for name in NETS}
    net = build_net(SPEC)
    assert net.spec == SPEC


@pytest.mark.parametrize(
    "key", ["nets", "selections", "dims", "vocabulary", "parents", "data", "image_range"]
)
@pytest.mark.parametrize("value", [None, [1], 7])
def test_a_part_of_another_type_is_named(written, key, value):
    rewrite(written.folder, lambda info: info.update({key: value}))
    assert "stage.json: its " in refusal(lambda: load_export(written.folder, "inverse"))


@pytest.mark.parametrize("key", ["nets", "selections"])
def test_an_export_without_nets_or_epochs_is_refused(written, key):
    rewrite(written.folder, lambda info: info.update({key: {}}))
    assert f"stage.json: its '{key}' cannot be read" in refusal(
        lambda: load_export(written.folder, "inverse")
    )


@pytest.mark.parametrize("size", [2**70, 0, -1, "wide", None, [], float("nan")])
def test_a_net_of_impossible_size_is_refused(written, size):
    rewrite(written.folder, lambda info: info["nets"]["inverse"].update(size=size))
    export = load_export(written.folder, "inverse")
    assert "does not fit 'inverse'" in refusal(lambda: export.net("inverse"))
