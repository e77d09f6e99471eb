"""What the benchmarks share."""

import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from xrj.datamodules.phantom import write_phantom


def alone(function: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """Run a function in a fresh process, so that memory and caches are its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak() -> float:
    """Return the peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def folder_of_xrays(root: Path | None, reports: int) -> Iterator[Path]:
    """Yield `root`, or render a phantom to yield and print how long that took."""
    if root is not None:
        yield root
        return
    with TemporaryDirectory() as name:
        start = perf_counter()
        folder = write_phantom(Path(name) / "phantom", reports=reports, seed=0)
        seconds, number = perf_counter() - start, len(list(folder.rglob("*.png")))
        print(
            f"phantom: {number:,} pictures of {reports:,} reports rendered in {seconds:.1f} s "
            f"({number / seconds:.0f} a second)",
            flush=True,
        )
        yield folder
