"""Justify X-rays, report on a chain: `python infer.py image=PATH`; see `--help`."""

import hydra
from omegaconf import DictConfig

from xrj.command import quote_paths, run_command, user_errors
from xrj.config import register
from xrj.tasks import run_task


@hydra.main(version_base="1.3", config_path="conf", config_name="infer")
@user_errors
def main(cfg: DictConfig) -> None:
    """Do the task that the configuration names."""
    run_task(cfg)


if __name__ == "__main__":
    register()
    quote_paths("image", "out")
    run_command(main)
