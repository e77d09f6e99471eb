"""Justify X-rays, report on a chain: `python infer.py image=PATH`; see `--help`."""

import os
import sys

import hydra
from omegaconf import DictConfig

from xrj.command import quote_paths, run_command, user_errors
from xrj.config import register
from xrj.launch import alone


@hydra.main(version_base="1.3", config_path="conf", config_name="infer")
@user_errors
def main(cfg: DictConfig) -> None:
    """Do the task that the configuration names."""
    alone()  # Lightning reads the launcher's variables as it is imported
    from xrj.tasks import run_task  # only now: help and mistaken flags need not wait for torch

    run_task(cfg)


def run() -> None:
    """Do what the command line says."""
    register()
    quote_paths("image", "out", "runs", "data.root", "data.csv", "data.cache_dir", "evaluate.study")
    continues = "task=evaluate" in sys.argv
    stopped = "the same command continues" if continues else "the same command begins anew"
    run_command(main, stopped)


if __name__ == "__main__":
    # Single X-rays are many short steps: threads that spin while they wait for each other, as
    # OpenMP's do, take many times as long as soon as something else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run()
