"""Justify X-rays, report on a chain: `python infer.py image=PATH`; see `--help`."""

import os
import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `run_command`: nothing is begun

import hydra
from omegaconf import DictConfig

from xrj.checks import check_inference, check_inputs
from xrj.command import run_command, user_errors
from xrj.infer_config import InferConfig
from xrj.launch import alone


@hydra.main(version_base="1.3", config_path="conf", config_name="infer")
@user_errors(InferConfig)
def main(cfg: DictConfig) -> None:
    """Do the task that the configuration names."""
    check_inference(cfg)
    check_inputs(cfg)
    alone()  # Lightning reads the launcher's variables as it is imported

    from xrj.tasks import run_task  # only now: help and mistakes need not wait for torch

    run_task(cfg)


def run() -> None:
    """Do what the command line says."""
    continues = "task=evaluate" in sys.argv
    stopped = "the same command continues" if continues else "the same command begins anew"
    run_command(main, InferConfig, stopped)


if __name__ == "__main__":
    # Single X-rays are many short steps: threads that spin while they wait for each other, as
    # OpenMP's do, take many times as long as soon as something else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run()
