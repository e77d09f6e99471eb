"""Killed at any moment and started again, a stage ends with the same bytes."""

import os
import random
import signal
from multiprocessing import get_context

import pytest
import torch

from tests.tiny import compose_tiny
from xrj.callbacks.checkpoint import AtomicCheckpointIO, StageCheckpoint, StatelessRandom
from xrj.config import STAGES
from xrj.errors import DataError
from xrj.nets import convolution
from xrj.run import train

# Children are forked from a process that has imported everything and run nothing.
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["xrj.run", "tests.tiny"])


def run(folder, stage, overrides, batches):
    """Train in this process; count the batches that begin."""
    torch.set_num_threads(1)  # as in the tests' own process
    original = StatelessRandom.on_train_batch_start

    def count(self, *arguments):
        with batches.get_lock():
            batches.value += 1
        original(self, *arguments)

    StatelessRandom.on_train_batch_start = count
    train(compose_tiny(folder, stage, *overrides))


@pytest.fixture
def start(chain, tmp_path):
    """Start a training in a process of its own, after its parents in the trained chain."""

    def begin(stage):
        parents = [f"parents.{name}={chain}/runs/chain/{name}" for name in STAGES[stage]]
        batches = CONTEXT.Value("i", 0)
        overrides = [f"runs={tmp_path}/runs", *parents]
        process = CONTEXT.Process(target=run, args=(chain, stage, overrides, batches))
        process.start()
        return process, batches

    return begin


def exported(folder):
    return {path.name: path.read_bytes() for path in (folder / "export").iterdir()}


def kill_and_resume(start, stage, rng):
    """Kill at three random moments, each some batches and milliseconds after its start."""
    for _ in range(3):
        process, batches = start(stage)
        wanted = rng.randint(1, 5)
        while process.is_alive() and batches.value < wanted:
            process.join(0.001)
        process.join(rng.uniform(0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    process, _ = start(stage)
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize(
    ("stage", "seed"),
    [("gan1", 0)]
    + [pytest.param(stage, seed, marks=pytest.mark.slow) for stage in STAGES for seed in (1, 2, 3)],
)
def test_killed_at_random_and_started_again(start, chain, tmp_path, stage, seed):
    kill_and_resume(start, stage, random.Random(seed))
    assert exported(tmp_path / "runs/default" / stage) == exported(chain / "runs/chain" / stage)


class KilledError(Exception):
    """Stands for the kill, in this process."""


def interrupt(monkeypatch, cls, hook, when, *, after):
    """Raise `KilledError` before or after a hook's call number `when`."""
    original, calls = getattr(cls, hook), iter(range(10**6))

    def hooked(*arguments, **keywords):
        due = next(calls) == when
        if due and not after:
            raise KilledError
        result = original(*arguments, **keywords)
        if due:
            raise KilledError
        return result

    monkeypatch.setattr(cls, hook, hooked)


MOMENTS = {
    "first batch": (StatelessRandom, "on_train_batch_start", 0, False),
    "second epoch": (StatelessRandom, "on_train_batch_start", 6, False),
    "validation": (StageCheckpoint, "on_validation_end", 1, True),
    "before the checkpoint": (StageCheckpoint, "on_train_epoch_end", 1, False),
    "after the checkpoint": (StageCheckpoint, "on_train_epoch_end", 1, True),
    "before the export": (StageCheckpoint, "on_fit_end", 0, False),
}


@pytest.mark.parametrize(
    ("stage", "moment"),
    [(stage, moment) for stage in ("gan1", "inverse") for moment in MOMENTS]
    + [(stage, "validation") for stage in STAGES if stage not in ("gan1", "inverse")],
)
def test_interrupted_and_started_again(tiny, chain, tmp_path, monkeypatch, stage, moment):
    cls, hook, when, after = MOMENTS[moment]
    with monkeypatch.context() as patch:
        interrupt(patch, cls, hook, when, after=after)
        with pytest.raises(KilledError):
            train(tiny(stage))
    folder = tmp_path / "runs/default" / stage
    assert not (folder / "export/stage.json").exists()
    train(tiny(stage))
    assert exported(folder) == exported(chain / "runs/chain" / stage)


@pytest.mark.parametrize("stage", ["gan1", "gan2", "inverse"])
def test_in_bfloat16_and_with_wide_nets_too(tiny, chain, tmp_path, monkeypatch, stage):
    monkeypatch.setattr(convolution, "WIDE", 1)
    half = "trainer.precision=bf16-mixed"
    with monkeypatch.context() as patch:
        interrupt(patch, StageCheckpoint, "on_train_epoch_end", 1, after=True)
        with pytest.raises(KilledError):
            train(tiny(stage, half, "name=killed"))
    for name in ("killed", "whole"):
        train(tiny(stage, half, f"name={name}"))
    killed, whole = (exported(tmp_path / "runs" / name / stage) for name in ("killed", "whole"))
    assert killed == whole
    assert whole != exported(chain / "runs/chain" / stage)


def test_a_kill_while_exporting(tiny, chain, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, os, "fsync", 9, after=True)  # three checkpoints and run.json come first
        with pytest.raises(KilledError):
            train(tiny("inverse"))
    train(tiny("inverse"))
    folder = tmp_path / "runs/default/inverse"
    assert exported(folder) == exported(chain / "runs/chain/inverse")


def test_logs_of_a_continued_run_stand_beside_the_first_ones(tiny, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt(patch, StageCheckpoint, "on_train_epoch_end", 1, after=True)
        with pytest.raises(KilledError):
            train(tiny("gan1"))
    train(tiny("gan1"))
    folder = tmp_path / "runs/default/gan1"
    assert f"gan1: continues from {folder}/last.ckpt" in capsys.readouterr().out
    assert sorted(path.name for path in (folder / "logs").iterdir()) == ["version_0", "version_1"]
    second = (folder / "logs/version_1/metrics.csv").read_text().splitlines()
    epoch = second[0].split(",").index("epoch")
    assert {row.split(",")[epoch] for row in second[1:]} == {"2"}


def test_a_run_without_its_checkpoint_says_that_it_starts_over(tiny, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt(patch, StageCheckpoint, "on_train_epoch_end", 1, after=True)
        with pytest.raises(KilledError):
            train(tiny("gan1"))
    checkpoint = tmp_path / "runs/default/gan1/last.ckpt"
    assert "starts over" not in capsys.readouterr().out
    checkpoint.unlink()
    train(tiny("gan1"))
    assert f"gan1: starts over, {checkpoint} is missing" in capsys.readouterr().out


def test_a_full_disk_is_said_as_such(tmp_path):
    """What torch says of it is that a file ended where it should not."""
    (tmp_path / f".last.ckpt.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(
        DataError, match=r"cannot be written \(No space left on device\); free space"
    ):
        AtomicCheckpointIO().save_checkpoint({"x": torch.zeros(10**6)}, tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []
