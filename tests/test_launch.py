"""Who has started how many processes, and how many devices each setting means."""

import os
import re

import pytest
import torch
from omegaconf import OmegaConf

from tests.tiny import compose_tiny, compose_train
from xrj.checks import identity
from xrj.errors import ConfigError
from xrj.launch import LAUNCHERS, Launch, check_processes, count_devices, devices, launched
from xrj.modules.base import StageModule
from xrj.run import _strategy, train


@pytest.fixture
def environment(monkeypatch):
    """Set what a launcher sets, and nothing else of that kind."""

    def give(text):
        for name in [*os.environ]:
            if name.startswith(("SLURM_", "OMPI_", "PMI_", "JSM_", "MASTER_", "TORCHELASTIC")):
                monkeypatch.delenv(name)
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK"):
            monkeypatch.delenv(name, raising=False)
        for pair in text.split():
            monkeypatch.setenv(*pair.split("="))

    return give


SLURM = "SLURM_NTASKS=2 SLURM_PROCID=1 SLURM_LOCALID=1 SLURM_JOB_ID=123456 SLURM_NNODES=1"


@pytest.mark.parametrize(
    ("variables", "by"),
    [
        ("WORLD_SIZE=2 RANK=1 LOCAL_RANK=1 TORCHELASTIC_RUN_ID=x", "torchrun"),
        ("WORLD_SIZE=2 RANK=1 LOCAL_RANK=1", "torchrun"),
        (SLURM, "srun"),
        (f"{SLURM} SLURM_NTASKS_PER_NODE=2 SLURM_JOB_NAME=xrj", "srun"),
        (f"{SLURM} WORLD_SIZE=1 RANK=0", "srun"),
        ("WORLD_SIZE=2 RANK=1 LOCAL_RANK=0 SLURM_NTASKS=1 SLURM_PROCID=0", "torchrun"),
        ("OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_LOCAL_RANK=1", "mpirun"),
        ("PMI_SIZE=2 PMI_RANK=1 MPI_LOCALRANKID=1", "mpiexec"),
        (
            "JSM_NAMESPACE_SIZE=2 JSM_NAMESPACE_RANK=1 JSM_NAMESPACE_LOCAL_RANK=1 LSB_JOBID=7",
            "jsrun",
        ),
    ],
)
def test_a_process_knows_who_started_it_and_how_many(environment, variables, by):
    environment(variables)
    assert launched() == Launch(by, processes=2, rank=1)
    assert (os.environ["WORLD_SIZE"], os.environ["RANK"]) == ("2", "1")
    assert launched().rank == 1  # asked again
    with pytest.raises(ConfigError, match=r"started 2 processes.*set trainer\.devices=2 "):
        check_processes(launched(), trainer(1))
    check_processes(launched(), trainer(2, "cpu"))


@pytest.mark.parametrize(
    "variables",
    [
        "",
        "SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS_PER_NODE=4 SLURM_NNODES=1",
        "SLURM_NTASKS= SLURM_PROCID= RANK=",
        "SLURM_NTASKS=8 SLURM_JOB_NAME=bash SLURM_PROCID=0",
        "SLURM_NTASKS=8 SLURM_JOB_NAME=interactive",
        "SLURM_PROCID=3 SLURM_JOB_ID=5",
        "RANK=1",
        "RANK=many LOCAL_RANK=x",
        "LOCAL_RANK=1",
        "WORLD_SIZE=1 RANK=0 LOCAL_RANK=0 TORCHELASTIC_RUN_ID=x SLURM_NTASKS=2 SLURM_PROCID=0",
        "LSB_JOBID=7 PBS_JOBID=8 PBS_NODEFILE=/x OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0",
        "PMI_SIZE=1 PMI_RANK=0",
    ],
)
def test_what_is_left_over_of_a_launcher_starts_nothing(environment, variables):
    environment(variables)
    assert launched() == Launch()
    assert not {name for names in LAUNCHERS.values() for name in names} & os.environ.keys()
    check_processes(launched(), trainer(2, "cpu"))


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ("SLURM_NTASKS=2", "SLURM_PROCID is not set"),
        ("SLURM_NTASKS=2 SLURM_PROCID=0", "SLURM_LOCALID is not set"),
        ("SLURM_NTASKS=2 SLURM_PROCID=2 SLURM_LOCALID=0", "SLURM_PROCID=2"),
        ("SLURM_NTASKS=2 SLURM_PROCID=0 SLURM_LOCALID=1", "SLURM_LOCALID=1"),
        ("SLURM_NTASKS=two", "SLURM_NTASKS=two: not a number"),
        ("SLURM_NTASKS=2(x3)", "SLURM_NTASKS=2(x3): not a number"),
        ("SLURM_NTASKS=2 SLURM_PROCID=-1 SLURM_LOCALID=0", "SLURM_PROCID=-1: not a number"),
        ("WORLD_SIZE=2", "RANK is not set"),
        ("WORLD_SIZE=2 RANK=0", "LOCAL_RANK is not set"),
        ("WORLD_SIZE=2 RANK=5 LOCAL_RANK=0", "RANK=5"),
        ("OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_RANK is not set"),
    ],
)
def test_variables_that_do_not_fit_are_one_line(environment, variables, words):
    environment(variables)
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        launched()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("variables", ["WORLD_SIZE=2 RANK=0 LOCAL_RANK=0", SLURM])
def test_processes_without_their_devices_are_refused_before_anything(
    environment, tmp_path, variables
):
    environment(variables)
    with pytest.raises(ConfigError, match=r"2 processes.*set trainer\.devices=2"):
        train(compose_tiny(tmp_path, "arae"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "given", "words"),
    [
        ("WORLD_SIZE=8 RANK=0 LOCAL_RANK=0 LOCAL_WORLD_SIZE=4", (1, 1), "4 trainer.num_nodes=2"),
        ("SLURM_NTASKS=8 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NNODES=2", (8, 2), "4 trainer.num_"),
        ("WORLD_SIZE=2 RANK=0 LOCAL_RANK=0", (4, 1), "devices=2 trainer.num_nodes=1"),
        ("", (1, 2), "trainer.num_nodes=2: needs a process a device"),
    ],
)
def test_nodes_are_counted(environment, variables, given, words):
    environment(variables)
    count, nodes = given
    settings = OmegaConf.create({"devices": count, "num_nodes": nodes, "accelerator": "cpu"})
    with pytest.raises(ConfigError, match=re.escape(words)):
        check_processes(launched(), settings)


def test_slurms_processes_meet_at_the_first_node(environment):
    environment(f"{SLURM} SLURM_JOB_NODELIST=gpu[07-09],gpu12")
    launched()
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu07", "18456")


def trainer(given, accelerator="auto"):
    return OmegaConf.create({"devices": given, "num_nodes": 1, "accelerator": accelerator})


@pytest.mark.parametrize(
    ("given", "meant", "count"),
    [
        (1, 1, 1),
        ([1], [1], 1),
        ("0,", [0], 1),
        ("0, 2", [0, 2], 2),
        (["0"], [0], 1),
        ([0], [0], 1),
        ("auto", 4, 4),
        (-1, 4, 4),
        ("-1", 4, 4),
        ([0, 1], [0, 1], 2),
        ("2", 2, 2),
        (2, 2, 2),
    ],
    ids=repr,
)
def test_devices_are_counted(monkeypatch, given, meant, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert devices(trainer(given)) == meant
    assert count_devices(trainer(given)) == count
    on_cpu = 1 if meant == 4 else count
    assert devices(trainer(given, "cpu")) == on_cpu  # CPUs have no numbers


NO_DEVICES = [0, "0", [], "", "foo", None, True, 1.5, -2, [-1], [0, 0], ["a"], ",", {"a": 1}, [[0]]]


@pytest.mark.parametrize("given", NO_DEVICES, ids=repr)
def test_devices_that_are_none_are_one_line(given):
    with pytest.raises(ConfigError, match=r"^trainer\.devices=.*: give how many") as caught:
        devices(trainer(given))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", ["[1]", '"0,"', '["0"]', "auto"])
def test_one_device_is_one_run_and_no_process_however_it_is_said(given):
    one, same = (
        compose_train(f"trainer.devices={value}", "trainer.accelerator=cpu")
        for value in ("1", given)
    )
    assert identity(one) == identity(same)
    assert _strategy(count_devices(same.trainer), StageModule) == "auto"
