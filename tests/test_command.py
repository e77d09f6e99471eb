"""What a person sees: help, one line for a mistake, exit status 2, and never a traceback."""

import errno
import io
import json
import os
import re
import runpy
import struct
import subprocess
import sys
import tomllib

import pytest
import torch
from omegaconf import OmegaConf

from tests.tiny import ROOT, TINY, places
from xrj.command import EXTRAS, lasting, user_errors
from xrj.config import TrainConfig
from xrj.estimate import estimate
from xrj.files import locked, write_json


@pytest.fixture
def command(tmp_path):
    def run(*overrides, settings=()):
        return subprocess.run(
            [sys.executable, ROOT / "train.py", *overrides, *settings],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


def test_help(command):
    result = command("--help")
    assert result.returncode == 0
    assert "python train.py -m stage=arae,gan1,gan2,inverse" in result.stdout
    assert "research" in result.stdout.lower() or "diagnoses" in result.stdout
    assert result.stderr == ""


def test_the_configuration_is_shown(command):
    result = command("--cfg", "job", "stage=gan2", "gan2.width=7")
    assert result.returncode == 0
    assert "width: 7" in result.stdout


@pytest.fixture
def mistake(monkeypatch, capsys):
    """Run the command in this process; return what it says, which must be one line."""

    def run(*overrides):
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path("train.py", run_name="__main__")
        assert caught.value.code == 2
        written = capsys.readouterr()
        (line,) = [x for x in written.err.splitlines() if x.strip() and "caching" not in x]
        assert line.startswith("error: ")
        assert "Traceback" not in written.out
        return line

    return run


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("gan1.widht=4", ["gan1.widht: no such setting; did you mean gan1.width?", "--help"]),
        ("width=4", ["did you mean gan1.width or gan2.width or inverse.width"]),
        ("+gan1.widht=4", ["gan1.widht: no such setting; did you mean gan1.width?"]),
        ("parents.area=x", ["did you mean parents.arae?"]),
        ("experimnt=demo", ["did you mean experiment?"]),
        ("task=report", ["task: no such setting; it is one of infer.py"]),
        ("trainer.callbacks.x=1", ["write +trainer.callbacks.x=VALUE"]),
        ("data=manifst", ["did you mean manifest? there are: iu_xray, manifest, phantom;"]),
        ("demo", ["demo: settings are given as KEY=VALUE"]),
        ("--multrun", ["--multrun: no such option; did you mean --multirun?"]),
        ("--stage=arae", ["--stage: no such option; did you mean stage=arae?"]),
        ("-name=x", ["did you mean name=x?"]),
        ("gan1.width=1,2", ["Ambiguous value", "several values need -m"]),
        ("stage=arae,gan1", ["stage=arae,gan1: several values need -m"]),
        ("name=a,b", ["name=a,b: several values need -m", "quotes"]),
        ("data.root=", ["data.root='': is no path"]),
        ("dims.noise=many", ["dims.noise=many", "Integer"]),
        (
            "classifier.net=resnet81",
            ["classifier.net=resnet81: choose one of resnet18", "resnet18?"],
        ),
        ("dims.noise_kind=norma", ["choose one of normal, uniform; did you mean normal?"]),
        ("data.source=phantm", ["data.source=phantm: ", "did you mean phantom?"]),
        ("data=manifest", ["data.csv: data=manifest needs it; give data.csv=PATH"]),
        ("data.source=iu_xray", ["data.root: data=iu_xray needs it; give data.root=PATH"]),
        ("stage=gan3", ["stage=gan3", "arae, gan1, gan2, inverse", "did you mean gan2?"]),
        ("experiment=nothing", ["experiment/nothing", "there are: demo, large"]),
        ("experiment=dmo", ["did you mean demo?"]),
        ("name", ["name"]),
        (
            "+trainer.callbacks.x={_target_: os.system}",
            ["trainer.callbacks.x._target_=os.system", "not allowed"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistaken_flag(mistake, monkeypatch, override, words):
    monkeypatch.setitem(sys.modules, "xrj.run", None)  # torch is not waited for
    line = mistake(override)
    assert all(word in line for word in words)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data=manifest"], ["data.csv", "give data.csv=PATH"]),
        (["data=manifest", "data.csv=/no/where.csv"], ["data.csv=/no/where.csv", "no such file"]),
        (["data=manifest", "data.csv=/tmp"], ["data.csv=/tmp", "no such file"]),
        (["data=iu_xray", "data.root=/no/where"], ["data.root=/no/where", "no such folder"]),
        (["data=iu_xray", "data.root=/dev"], ["/dev: no IU X-Ray data", "set data.root"]),
        (["data=iu_xray", "data.root=/no/IU, (a)=[1]"], ["/no/IU, (a)=[1]: there is no such"]),
        (["data.split.file=/no/split.json"], ["/no/split.json", "cannot be read"]),
        (["data.split.fractions=[1,0,0]"], ["data.split.fractions"]),
        (["data.source=nowhere"], ["data.source=nowhere", "phantom"]),
        (["trainer.devices=foo"], ["trainer.devices=foo: give how many"]),
        (["trainer.devices=0"], ["devices=0"]),
        (["trainer.accelerator=abacus"], ["accelerator=abacus"]),
        (["trainer.precision=3"], ["precision=3"]),
        (["+trainer.callbacks.x=1"], ["trainer.callbacks.x=1"]),
        (["+trainer.callbacks.x={_target_: pytorch_lightning.callbacks.Nope}"], ["Nope"]),
        (["+gan1.typo=1"], ["gan1.typo"]),
        (["name=../x"], ["name=../x"]),
        (["name=~/x"], ["name=~/x: must be a folder below runs"]),
        (["data.cache_dir=/dev/null/x"], ["/dev/null/x", "cannot be written"]),
    ],
    ids=lambda value: value[-1] if value[0].count("=") else "",
)
def test_a_mistake_in_one_line_claims_no_folder(mistake, tmp_path, overrides, words):
    line = mistake(*TINY, *places(tmp_path), *overrides)
    assert all(word in line for word in words), line
    assert not (tmp_path / "runs").exists()


def test_a_mistaken_name_lists_those_that_there_are(mistake, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "xrj.run", None)
    for name in ("demo", "noise/a", "unfinished"):
        folder = tmp_path / name / "arae" / ("x" if name == "unfinished" else "export")
        write_json(folder / "stage.json", {})
    line = mistake("stage=gan1", "name=dmo", f"runs={tmp_path}")
    assert f"run python train.py stage=arae name=dmo runs={tmp_path} first" in line
    assert line.endswith("first; did you mean demo? there are: demo, noise/a")
    (tmp_path / "dmo").mkdir()
    assert mistake("stage=gan1", "name=dmo", f"runs={tmp_path}").endswith("first")


@pytest.fixture
def configured(monkeypatch):
    """Run the command; return the configurations that it would train."""

    def run(*overrides):
        found = []
        monkeypatch.setattr("xrj.run.train", found.append)
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
        runpy.run_path("train.py", run_name="__main__")
        return found

    return run


def test_names_are_text(configured, tmp_path):
    jobs = configured("-m", "name=2024_01,1e3,true", f"runs={tmp_path}/w=1 (a)")
    assert [cfg.name for cfg in jobs] == ["2024_01", "1e3", "true"]
    assert {cfg.parents.arae for cfg in jobs[:1]} == {f"{tmp_path}/w=1 (a)/2024_01/arae"}
    assert (tmp_path / "w=1 (a)" / "multirun.yaml").is_file()


@pytest.mark.parametrize("multirun", [(), ("-m",)], ids=["single", "multirun"])
def test_the_tilde_is_the_home_folder_everywhere(configured, monkeypatch, tmp_path, multirun):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    paths = {"data.root": "~/r", "data.csv": "~/c", "data.cache_dir": "~/k", "parents.gan1": "~/g"}
    (cfg,) = configured(*multirun, "runs=~/x", *(f"{key}={path}" for key, path in paths.items()))
    assert cfg.parents.arae == f"{tmp_path}/home/x/default/arae"
    for key, path in paths.items():
        assert OmegaConf.select(cfg, key) == path.replace("~", f"{tmp_path}/home")
    assert not (ROOT / "~").exists()
    assert (tmp_path / "home/x/multirun.yaml").is_file() == bool(multirun)


def test_a_bare_command_says_how_long_and_what_is_quicker(configured, monkeypatch, capsys):
    (cfg,) = configured()
    line = capsys.readouterr().out
    assert re.search(r"roughly [\d,]+ hours for 1,000 X-rays on this machine, estimated", line)
    assert "experiment=demo" in line
    assert "roughly 0 hours" in estimate(cfg, 1e-9)
    configured("stage=arae")
    assert "hours" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["2024_01", "1e3", "true", "null"])
def test_a_file_that_makes_a_number_of_a_name_is_told_so(mistake, tmp_path, name):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"# @package _global_\nname: {name}\n")
    line = mistake("--config-dir", str(tmp_path / "conf"), "experiment=mine")
    assert "not as text; put it in quotes" in line


@pytest.mark.parametrize("multirun", [(), ("-m",)], ids=["single", "multirun"])
def test_a_runs_folder_that_cannot_be_written(mistake, tmp_path, multirun):
    (tmp_path / "file").touch()
    line = mistake(*multirun, "stage=arae", f"runs={tmp_path}/file/runs")
    assert f"{tmp_path}/file" in line
    assert "cannot be written" in line


def test_a_full_disk_while_training(mistake, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.csv")

    monkeypatch.setattr("xrj.run._fit", full)
    line = mistake(*TINY, *places(tmp_path))
    assert "metrics.csv: cannot be written (No space left on device)" in line


def test_a_bug_ends_a_multirun_with_its_traceback(monkeypatch, tmp_path):
    began = []

    def crash(cfg):
        began.append(cfg.stage)
        raise ZeroDivisionError

    monkeypatch.setattr("xrj.run.train", crash)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "stage=arae,gan1", f"runs={tmp_path}/runs"])
    with pytest.raises(ZeroDivisionError):
        runpy.run_path("train.py", run_name="__main__")
    assert began == ["arae"]


def test_a_job_that_failed_on_the_cluster_names_its_log(mistake, monkeypatch):
    utils = pytest.importorskip("submitit.core.utils", reason="needs the extra slurm")
    trace = "Job (task=0) failed\n---\nTraceback ...\nor at paths:\n  - /r/0.err\n  - /r/0.out"

    def fail(cfg):
        raise utils.FailedJobError(trace)

    monkeypatch.setattr("xrj.checks.check_parents", fail)
    line = mistake("stage=arae")
    assert line.endswith("Job (task=0) failed; its log: /r/0.err and /r/0.out")


@pytest.mark.parametrize(
    ("multirun", "words"), [((), "add -m"), (("-m",), "there is no srun on this machine")]
)
def test_a_cluster_where_there_is_none(mistake, monkeypatch, tmp_path, multirun, words):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert words in mistake(*multirun, "cluster=slurm", "stage=arae", f"runs={tmp_path}/runs")
    assert not (tmp_path / "runs").exists()


def test_a_locked_folder(mistake, tmp_path):
    with locked(tmp_path / "runs/default/arae/.lock", wait=False):
        line = mistake("stage=arae", *places(tmp_path))
    assert f"{tmp_path}/runs/default/arae: another process trains there" in line


def test_changed_settings(mistake, tmp_path):
    folder = tmp_path / "runs/default/arae"
    write_json(folder / "run.json", {"version": "0", "settings": {"arae.hidden": 3}})
    assert f"{folder}: was started with" in mistake("stage=arae", *places(tmp_path))


def test_a_checkpoint_with_a_pickled_object(mistake, tmp_path):
    folder = tmp_path / "runs/default/arae"
    folder.mkdir(parents=True)
    torch.save({"x": ROOT}, folder / "last.ckpt")
    line = mistake("stage=arae", *places(tmp_path), *TINY)
    assert f"{folder}/last.ckpt" in line
    assert "remove it to start the stage over" in line


@pytest.mark.parametrize("multirun", [(), ("-m",)], ids=["single", "multirun"])
def test_mistakes_from_outside(command, tmp_path, multirun):
    result = command(*multirun, "stage=gan1", "name=new", *places(tmp_path))
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {tmp_path}/runs/new/arae: ")
    assert result.stderr.endswith(
        f"run python train.py stage=arae name=new runs={tmp_path}/runs first\n"
    )
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "runs/new").exists()


def test_a_mistaken_flag_from_outside(command):
    result = command("gan1.widht=4")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1


def test_a_multirun_gives_every_job_its_own_finished_run(command, tmp_path):
    """Two jobs, two offline W&B runs with their own configurations, both finished."""
    result = command(
        "-m",
        "stage=arae,gan1",
        "arae.max_epochs=1",
        "gan1.max_epochs=1",
        *places(tmp_path),
        settings=[value for value in TINY if "max_epochs" not in value],
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    for noise in (
        "GPU available",
        "litlogger",
        "LeafSpec",
        "eval mode",
        "anonymous",
        "weights_only",
    ):
        assert noise not in result.stderr + result.stdout
    assert result.stdout.count("2,446") == 1  # the table of counts
    identities = set()
    for stage in ("arae", "gan1"):
        folder = tmp_path / "runs/default" / stage
        assert (folder / "export/stage.json").is_file()
        assert (folder / "logs/version_0/metrics.csv").is_file()
        (run,) = (folder / "wandb").glob("offline-run-*")
        (record,) = run.glob("*.wandb")
        identities.add(record.name)
        records = read_records(record)
        config = {item.key: json.loads(item.value_json) for item in records["run"].config.update}
        assert config["stage"] == stage
        assert config["name"] == "default"
        assert records["run"].run_group == "default"
        assert records["run"].job_type == stage
        assert records["exit"].exit_code == 0  # finished
        assert list((run / "files/media").rglob("*.table.json"))
    assert len(identities) == 2
    assert list((tmp_path / "runs/default/gan1/pictures").glob("*.png"))


@pytest.mark.ddp
@pytest.mark.slow
def test_two_devices_log_to_one_run(command, tmp_path):
    two = ("trainer.devices=2", "trainer.accelerator=cpu")
    result = command("stage=arae", *places(tmp_path), settings=[*TINY, *two])
    assert result.returncode == 0, result.stderr
    (run,) = (tmp_path / "runs/default/arae/wandb").glob("offline-run-*")
    assert list((run / "files/media").rglob("*.table.json"))
    assert not (tmp_path / "wandb").exists()
    (record,) = run.glob("*.wandb")
    assert read_records(record)["exit"].exit_code == 0


def read_records(path):
    """Read an offline W&B run, a LevelDB log of protocol buffers: its first record of each kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, whole, records = path.read_bytes(), 7, b"", {}
    while position + 7 <= len(data):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # full, last
            record = Record.FromString(whole)
            name = record.WhichOneof("record_type")
            records.setdefault(name, getattr(record, name))
            whole = b""
    return records


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("uvicorn", "pip install 'xrj[web]'"),
        ("python_multipart", "pip install 'xrj[web]'"),
        ("starlette.requests", "pip install 'xrj[web]'"),
        ("gdcm", "pip install 'xrj[dicom]'"),
        ("submitit", "pip install 'xrj[slurm]'"),
        ("matplotlib.figure", "install xrj and what it needs again"),
    ],
)
def test_a_missing_package_is_one_line_with_the_extra_that_holds_it(missing, remedy, capsys):
    with pytest.raises(SystemExit) as caught:
        user_errors(TrainConfig)(lambda _cfg: missing_module(missing))(OmegaConf.create())
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said == f"error: {missing}: this Python module is not installed; {remedy}\n"


def missing_module(name):
    raise ModuleNotFoundError(f"No module named '{name}'", name=name)


@pytest.mark.parametrize("name", ["xrj.nowhere", None])
def test_a_missing_module_of_our_own_is_a_bug(name):
    with pytest.raises(ModuleNotFoundError):
        user_errors(TrainConfig)(lambda _cfg: missing_module(name))(OmegaConf.create())


def test_extras_are_those_of_the_package():
    held = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(held["optional-dependencies"]) - {"all", "dev"}
    assert set(EXTRAS.values()) == extras
    assert held["optional-dependencies"]["all"] == [f"xrj[{','.join(sorted(extras))}]"]


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_stream_outlives_its_reader_and_replaces_what_it_cannot_say(unbuffered):
    read, write = os.pipe()
    raw = io.FileIO(write, "w")
    given = io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw), encoding="ascii", write_through=unbuffered
    )
    stream = lasting(given)
    print("caf\udce9 – 98 %", file=stream, flush=True)
    assert os.read(read, 100) == b"caf? ? 98 %\n"
    os.close(read)
    for _ in range(3):
        print("x" * 20_000, file=stream, flush=True)
    stream.close()
    given.close()


def test_a_closed_stream_stays_closed():
    assert lasting(None) is None
