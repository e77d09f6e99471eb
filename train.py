"""Train a stage: `python train.py stage=arae`; see `python train.py --help`."""

import hydra
from omegaconf import DictConfig

from xrj.command import quote_paths, run_command, user_errors
from xrj.config import register
from xrj.launch import launched


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@user_errors
def main(cfg: DictConfig) -> None:
    """Train what the configuration says."""
    launched()  # Lightning reads the launcher's variables as it is imported
    from xrj.run import train  # only now: help and mistaken flags need not wait for torch

    train(cfg)


if __name__ == "__main__":
    register()
    paths = ("data.root", "data.csv", "data.cache_dir", "data.split.file", "classifier.weights")
    quote_paths("runs", *paths)
    run_command(main, stopped="the same command continues")
