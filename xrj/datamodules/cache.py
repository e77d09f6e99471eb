"""Images decoded once: a memory-mapped uint8 array a resolution."""

import csv
import hashlib
import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress

from xrj.datamodules.apart import DecoderError
from xrj.datamodules.images import UInt8, centre_crop, margin_size, read_image, resize
from xrj.errors import DataError
from xrj.files import atomic_path, locked, read_json, sha256_file, sha256_json, write_json

log = logging.getLogger(__name__)

VERSION = 2  # Raise it when the pixels that come out of `read_image` or `resize` change.


@dataclass
class ImageCache:
    """Square uint8 images with a margin for the random crop, in the order of the paths.

    The memory map is opened at first use in each process and left out when pickled, so that a
    data set which holds a cache travels to worker processes.

    Attributes:
        folder: Where `images.npy`, `cache.json` and, if there are any, `broken.csv` lie.
        resolution: Pixels a side after the crop.
        size: Pixels a side as stored.
        broken: Why an image could not be read, by its row; such rows are black.
    """

    folder: Path
    resolution: int
    size: int
    broken: dict[int, str]
    _array: UInt8 | None = field(default=None, repr=False)

    @classmethod
    def build(
        cls,
        paths: Sequence[Path],
        resolution: int,
        margin: float,
        folder: Path,
        *,
        workers: int | None = None,
        max_broken: float = 0.01,
    ) -> "ImageCache":
        """Open the cache of these images, making it first when there is none.

        The key is the content of the files, in order, with resolution and margin: a data set
        that was moved finds its cache, and a changed file does not. Processes that ask for the
        same cache at once wait for the first of them. The array appears whole or not at all.

        Args:
            paths: Image files.
            resolution: Pixels a side of a crop.
            margin: Share by which the stored images are larger, as in `images.margin_size`.
            folder: Folder of all caches.
            workers: Threads; all cores when None. Decoding and scaling run outside Python's lock.
            max_broken: Share of images that may be unreadable. They are listed in `broken.csv`.

        Raises:
            DataError: The disk is full, or more images are broken than allowed.
        """
        size = margin_size(resolution, margin)
        workers = workers or os.cpu_count() or 1
        key = sha256_json([VERSION, resolution, size, _content(paths, folder / "keys", workers)])
        home = folder / f"{resolution}-{key[:16]}"
        with locked(folder / f"{home.name}.lock", wait=True):
            if not (home / "cache.json").exists():
                broken = _write(paths, home, size, workers)
                listed = {str(row): broken[row] for row in sorted(broken)}
                write_json(
                    home / "cache.json", {"images": len(paths), "size": size, "broken": listed}
                )
            else:
                broken = {
                    int(row): why for row, why in read_json(home / "cache.json")["broken"].items()
                }
        if len(broken) > max_broken * len(paths):
            raise DataError(
                f"{home / 'broken.csv'}: {len(broken)} of {len(paths)} images are broken, first: "
                f"{broken[min(broken)]}; mend them or raise data.max_broken"
            )
        if broken:
            log.warning(
                "%d of %d images are broken, see %s", len(broken), len(paths), home / "broken.csv"
            )
        return cls(home, resolution, size, broken)

    @property
    def array(self) -> UInt8:
        """All images, (N, size, size), read-only and memory-mapped."""
        if self._array is None:
            self._array = np.load(self.folder / "images.npy", mmap_mode="r")
        return self._array

    def centre(self, rows: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]]) -> UInt8:
        """Return the middle (len(rows), resolution, resolution) of these images."""
        return centre_crop(self.array[np.asarray(rows, dtype=np.int64)], self.resolution)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}


def _content(paths: Sequence[Path], folder: Path, workers: int) -> str:
    """Return a hash of all files' bytes; read them only when a name, size or time has changed."""
    stats = [_stat(path) for path in paths]
    known = folder / f"{sha256_json(stats)}.txt"
    if known.exists():
        return known.read_text(encoding="utf-8")
    with ThreadPoolExecutor(workers) as pool:
        hashes = pool.map(lambda path: sha256_file(path) if path.is_file() else "missing", paths)
        total = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    with atomic_path(known) as temporary:
        temporary.write_text(total, encoding="utf-8")
    return total


def _stat(path: Path) -> tuple[str, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path.absolute()), stat.st_size, stat.st_mtime_ns


def _write(paths: Sequence[Path], home: Path, size: int, workers: int) -> dict[int, str]:
    """Decode all images into `home/images.npy`; return why rows are broken.

    Rows go to the file by `pwrite`, not through a memory map: memory stays the same for any
    number of images, and a full disk is an error instead of a bus error.
    """
    for stale in home.glob(".images.npy.*.tmp"):
        stale.unlink()
    broken: dict[int, str] = {}
    stop = threading.Event()
    cv2.setNumThreads(0)  # One image a thread; threads within an image would only compete.
    bar = Progress(console=Console(stderr=True))
    with (
        atomic_path(home / "images.npy") as temporary,
        temporary.open("wb") as file,
        bar as progress,
    ):
        task = progress.add_task(f"caching X-rays at {size}", total=len(paths))
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), size, size)}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        start, descriptor = file.tell(), file.fileno()
        if hasattr(os, "posix_fallocate"):  # macOS has none.
            os.posix_fallocate(descriptor, 0, start + len(paths) * size * size)

        def work(first: int) -> None:
            for row in range(first, len(paths), workers):
                if stop.is_set():
                    return
                try:
                    image = resize(read_image(paths[row]), size)
                except DecoderError:
                    raise  # another try may succeed
                except DataError as error:
                    broken[row] = str(error)
                    image = np.zeros((size, size), np.uint8)
                os.pwrite(descriptor, image.tobytes(), start + row * size * size)
                progress.advance(task)

        with ThreadPoolExecutor(workers) as pool:
            try:
                list(pool.map(work, range(workers)))
            finally:
                stop.set()
    if broken:
        with (
            atomic_path(home / "broken.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as text,
        ):
            writer = csv.writer(text)
            writer.writerow(["path", "reason"])
            writer.writerows((paths[row], broken[row]) for row in sorted(broken))
    return broken
