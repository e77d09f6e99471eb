"""Train a stage: `python train.py stage=arae`; see `python train.py --help`."""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `run_command`: nothing is begun

import hydra
from omegaconf import DictConfig

from xrj.checks import check, check_data, check_parents
from xrj.command import run_command, user_errors
from xrj.config import TrainConfig
from xrj.launch import launched


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@user_errors(TrainConfig)
def main(cfg: DictConfig) -> None:
    """Train what the configuration says."""
    check(cfg)
    check_parents(cfg)
    check_data(cfg)
    launched()  # Lightning reads the launcher's variables as it is imported

    from xrj.run import train  # only now: help and mistakes need not wait for torch

    if len(sys.argv) == 1:
        from xrj.estimate import convolution, estimate

        print(estimate(cfg, convolution()), flush=True)
    train(cfg)


if __name__ == "__main__":
    run_command(main, TrainConfig, stopped="the same command continues")
