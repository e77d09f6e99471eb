"""The commands: `python train.py` or `xrj-train`, `python infer.py` or `xrj-infer`.

Importing this module loads next to nothing, and each command imports what it needs in the order in
which it needs it: so Ctrl-C is quiet from the start, and mistakes are told before torch is loaded.
"""

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def train() -> None:
    """Train a stage as the command line says; see `--help`."""
    _stop_quietly()
    from xrj.checks import check, check_data, check_parents
    from xrj.command import run_command
    from xrj.config import TrainConfig
    from xrj.launch import launched

    def task(cfg: "DictConfig") -> float | None:
        check(cfg)
        check_parents(cfg)
        check_data(cfg)
        launched()  # Lightning reads the launcher's variables as it is imported

        from xrj.run import headline, train

        if len(sys.argv) == 1:
            from xrj.estimate import convolution, estimate

            print(estimate(cfg, convolution(cfg.trainer)), flush=True)
        train(cfg)
        return headline(cfg)

    run_command(task, "train", TrainConfig, stopped="the same command continues")


def infer() -> None:
    """Justify X-rays or report on a chain as the command line says; see `--help`."""
    _stop_quietly()
    # Single X-rays are many short steps: threads that spin while they wait for each other, as
    # OpenMP's do, take many times as long as soon as something else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from xrj.checks import check_inference, check_inputs, choose_model
    from xrj.command import run_command
    from xrj.infer_config import InferConfig
    from xrj.launch import alone

    def task(cfg: "DictConfig") -> None:
        told = choose_model(cfg, sys.argv[1:])
        check_inference(cfg)
        check_inputs(cfg)
        if told is not None:
            print(told, file=sys.stderr)
        alone()  # Lightning reads the launcher's variables as it is imported

        from xrj.tasks import run_task

        run_task(cfg)

    goes_on = "continues" if "task=evaluate" in sys.argv else "begins anew"
    run_command(task, "infer", InferConfig, stopped=f"the same command {goes_on}")


def export() -> None:
    """Write a chain as one folder to hand on: `infer` with `task=export`."""
    sys.argv.insert(1, "task=export")
    infer()


def _stop_quietly() -> None:
    """Let Ctrl-C end the process without a word until `run_command`: nothing is begun."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
