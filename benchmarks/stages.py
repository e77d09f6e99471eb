"""How fast the stages train beside plain code: `python benchmarks/stages.py [--root DIR]`.

DIR is IU X-Ray or a phantom; without it a phantom is rendered. Each stage trains in Lightning's
loop, as `train.py` trains it, data, averages and logging included. Beside it a step of the same
arithmetic runs as it is written plainly (`reference.py`). Both are processes of their own that take
turns, so that what else the machine does meets both. Prints, of pairs of turns, how often as fast
xrj is: median and range, by wall-clock and by processor time; then milliseconds a step of both, and
the peak memory of both. The parents are hardly trained, which costs the same.
"""

import argparse
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import reference
from common import folder_of_xrays, peak
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer  # after common, and so after xrj

from xrj.build import build_data, build_module, net_specs
from xrj.callbacks.checkpoint import StatelessRandom
from xrj.compute import Device, choose_precision, lay_out, precision_of_training
from xrj.compute import prepare as prepare_device
from xrj.config import STAGES, plain, register
from xrj.datamodules.datamodule import IUXRayDataModule
from xrj.handover import Kept, load_export, write_export
from xrj.modules.base import StageModule
from xrj.seeding import derive

CONF = Path(__file__).parents[1] / "conf"
WARM = 2
"""Steps before the first turn."""


@dataclass(frozen=True)
class Work:
    """What is timed.

    Attributes:
        name: For the table.
        stage: Of xrj.
        overrides: Its settings.
        plain: Name of the function of `reference`, and its arguments.
        steps: Of a turn.
    """

    name: str
    stage: str
    overrides: Sequence[str]
    plain: tuple[str, dict[str, int]]
    steps: int


PAPER = {"embedding": 300, "noise": 100}
DEMO = {"embedding": 128, "noise": 32}
FULL, HALF = "trainer.precision=32-true", "trainer.precision=bf16-mixed"
LARGE = {"width": 96, "small": 96, "batch": 4, **PAPER}
WORKS = (
    Work("gan1, paper's widths, 64 X-rays, 32 bits", "gan1", [FULL, "gan1.batch_size=64"],
         ("gan1", {"width": 96, "batch": 64, **PAPER}), 1),
    Work("gan1, paper's widths, 64 X-rays, bfloat16", "gan1", [HALF, "gan1.batch_size=64"],
         ("gan1", {"width": 96, "batch": 64, **PAPER}), 1),
    Work("gan1, demo, 32 bits", "gan1", [FULL, "experiment=demo"],
         ("gan1", {"width": 16, "batch": 16, **DEMO}), 10),
    Work("gan2, width 96, 4 X-rays, 32 bits", "gan2", [FULL, "gan2.batch_size=4"],
         ("gan2", LARGE), 1),
    Work("gan2, width 96, 4 X-rays, bfloat16", "gan2", [HALF, "gan2.batch_size=4"],
         ("gan2", LARGE), 1),
    Work("inverse, 32 bits", "inverse", [FULL],
         ("inverse", {"width": 64, "blocks": 1, "small": 96, "batch": 32, **PAPER}), 1),
    Work("arae, all players, beside the autoencoder alone", "arae", [FULL],
         ("arae", {"batch": 64, "embedding": 300, "hidden": 300}), 5),
)  # fmt: skip


def prepare(
    stage: str, overrides: Sequence[str], runs: Path
) -> tuple[DictConfig, IUXRayDataModule, StageModule, dict[str, str]]:
    """Compose a stage and build its data and its module on the exports of `runs`."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"stage={stage}", *overrides])
    parents = {name: load_export(runs / name, name) for name in STAGES[stage]}
    data = build_data(cfg)
    module = build_module(cfg, data, parents)
    return cfg, data, module, {name: export.hash for name, export in parents.items()}


class Turns(Callback):
    """Let a stage train some steps whenever the other process is done with its own."""

    def __init__(self, turn: Callable[[], int]) -> None:
        self.turn, self.left = turn, WARM

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> int | None:
        """Wait for the turn; -1 ends the epoch."""
        if self.left == 0:
            self.left = self.turn()
        if self.left == 0:
            trainer.should_stop = True
            return -1
        self.left -= 1
        return None


def fit(
    cfg: DictConfig, data: IUXRayDataModule, module: LightningModule, callbacks: Sequence[Callback]
) -> None:
    """Train as `train.py` does, without what it writes."""
    device = Device.of(cfg.trainer.accelerator)
    prepare_device(device, deterministic=False)
    lay_out(module)
    precision = choose_precision(cfg.trainer.precision, device)
    Trainer(
        max_epochs=10_000,
        limit_val_batches=0,
        plugins=[precision_of_training(precision, device)],
        callbacks=[StatelessRandom(partial(derive, cfg.seed, cfg.stage, "batch")), *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    ).fit(module, datamodule=data)


def take_turns(pipe: Connection) -> Callable[[], int]:
    """Return what tells the other end how long the last turn took, and waits for the next."""
    clocks: list[float] = []

    def turn() -> int:
        now = perf_counter(), process_time()
        pipe.send([a - b for a, b in zip(now, clocks, strict=True)] if clocks else None)
        steps: int = pipe.recv()
        clocks[:] = perf_counter(), process_time()
        return steps

    return turn


def ours(pipe: Connection, stage: str, overrides: Sequence[str], runs: Path) -> None:
    """Train a stage in turns, then tell the peak memory."""
    _quiet()
    cfg, data, module, _ = prepare(stage, overrides, runs)
    fit(cfg, data, module, [Turns(take_turns(pipe))])
    pipe.send(peak())


def theirs(pipe: Connection, function: str, sizes: dict[str, int]) -> None:
    """Run the plain step in turns, then tell the peak memory."""
    step = getattr(reference, function)(**sizes)
    turn = take_turns(pipe)
    left = WARM
    while left:
        for _ in range(left):
            step()
        left = turn()
    pipe.send(peak())


def compare(work: Work, runs: Path, places: list[str], pairs: int) -> str:
    """Return the row of a work."""
    context = get_context("spawn")
    ends: list[Connection] = []
    processes = []
    for target, arguments in (
        (ours, (work.stage, [*work.overrides, *places], runs)),
        (theirs, work.plain),
    ):
        here, there = context.Pipe()
        process = context.Process(target=target, args=(there, *arguments))
        process.start()
        here.recv()  # warm
        ends.append(here)
        processes.append(process)
    took: list[list[list[float]]] = [[], []]
    for _ in range(pairs):
        for end, mine in zip(ends, took, strict=True):
            end.send(work.steps)
            mine.append(end.recv())
    peaks = []
    for end, process in zip(ends, processes, strict=True):
        end.send(0)
        peaks.append(end.recv())
        process.join()
    cells = [work.name]
    for clock in (0, 1):
        ratios = [slow[clock] / quick[clock] for quick, slow in zip(*took, strict=True)]
        cells.append(f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    cells += [f"{median(seconds for seconds, _ in side) / work.steps * 1e3:,.0f}" for side in took]
    cells += [f"{memory:,.0f}" for memory in peaks]
    return f"| {' | '.join(cells)} |"


def export(stage: str, overrides: Sequence[str], runs: Path) -> None:
    """Write the export of a stage that has hardly been trained."""
    _quiet()
    cfg, data, module, parents = prepare(stage, overrides, runs)
    fit(cfg, data, module, [Turns(lambda: 0)])
    weights = {
        f"{name}.{key}": value.detach().cpu().clone()
        for name, net in module.exports().items()
        for key, value in net.state_dict().items()
    }
    write_export(
        runs / stage / "export",
        stage=stage,
        nets=net_specs(module),
        kept={name: Kept(1, rule.monitor, {}, weights) for name, rule in module.selections.items()},
        dims=plain(cfg.dims),
        vocabulary=data.vocabulary,
        split_hash=data.split_hash,
        parents=parents,
        data=plain(cfg.data),
    )


def _quiet() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


def _processor() -> str:
    """Return the processor's name and what it has of bfloat16."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return f"{name or 'unknown processor'}, {os.cpu_count()} cores, {Device.of('cpu')}"


def main() -> None:
    """Compare all works."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, help="IU X-Ray or a phantom")
    parser.add_argument("--reports", type=int, default=300, help="of the phantom without --root")
    parser.add_argument("--pairs", type=int, default=5, help="turns of each process")
    parser.add_argument("--only", default="", help="works whose names begin so")
    options = parser.parse_args()
    works = [work for work in WORKS if work.name.startswith(options.only)]
    print(_processor())
    with TemporaryDirectory() as name, folder_of_xrays(options.root, options.reports) as root:
        places = ["data=iu_xray", f"data.root='{root.absolute()}'", f"data.cache_dir={name}/cache"]
        for preset in ("demo", "paper"):
            overrides = ["experiment=demo"] if preset == "demo" else []
            for stage in ("arae", "gan1"):
                with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                    pool.submit(export, stage, [*overrides, *places], Path(name, preset)).result()
        print(
            "| work | times as fast, wall-clock | processor time | ms a step | plain | MB | plain |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for work in works:
            preset = "demo" if "experiment=demo" in work.overrides else "paper"
            print(compare(work, Path(name, preset), places, options.pairs), flush=True)


if __name__ == "__main__":
    main()
