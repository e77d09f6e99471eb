"""How long one X-ray takes, warm: `python benchmarks/single.py [--name NAME] [--root DIR]`.

Loads a model, the one that comes with the package by default, and takes X-rays one after the other:
first for the diagnosis and its caption alone, then for the whole justification with its pictures
and its page, nothing written. Prints median and 95th percentile of wall-clock and of processor
seconds, with one thread and with two; on a shared machine the processor's say more. Set
OMP_WAIT_POLICY=PASSIVE, as infer.py does.
"""

import argparse
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from common import folder_of_xrays, peak

import xrj
from xrj.datamodules.images import UInt8, read_image
from xrj.justify.justification import justify
from xrj.justify.output import render
from xrj.justify.reading import diagnose_all


def measure(name: str, work: Callable[[UInt8], Any], images: list[UInt8], rounds: int) -> None:
    """Do the work for each X-ray, some rounds long, and print what it took."""
    work(images[0])
    times = []
    for image in chain.from_iterable(repeat(images, rounds)):
        wall, processor = perf_counter(), process_time()
        work(image)
        times.append((perf_counter() - wall, process_time() - processor))
    (wall, processor), (late, busy) = np.percentile(times, (50, 95), axis=0) * 1e3
    print(
        f"  {name}: median {wall:,.0f} ms ({processor:,.0f} of the processor), "
        f"95th percentile {late:,.0f} ms ({busy:,.0f}), {len(times)} times",
        flush=True,
    )


def main() -> None:
    """Measure both with one thread and with two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--name", default="starter", help="as xrj.load takes it")
    parser.add_argument("--root", type=Path, help="folder of X-rays; or else a phantom's")
    parser.add_argument("--rounds", type=int, default=3, help="over ten X-rays")
    options = parser.parse_args()
    model, settings = xrj.load(options.name, device="cpu").inner, xrj.JustifySettings()
    with folder_of_xrays(options.root, reports=20) as folder:
        paths = sorted(folder.rglob("*-1001.png")) or sorted(folder.rglob("*.png"))
        images = [read_image(path) for path in paths[:10]]

    def diagnose(image: UInt8) -> None:
        diagnose_all(model, [image])

    def whole(image: UInt8) -> None:
        render(justify(model, image, "xray.png", settings, 0), "xray")

    for threads in (1, 2):
        torch.set_num_threads(threads)
        print(f"{threads} {'thread' if threads == 1 else 'threads'}, {len(images)} X-rays")
        measure("diagnosis and caption", diagnose, images, options.rounds)
        measure("whole justification", whole, images, options.rounds)
    print(f"peak memory {peak():,.0f} MB")


if __name__ == "__main__":
    main()
