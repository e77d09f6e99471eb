"""The phantom data set: simulated chest X-rays with reports, in the layout of Open-i.

`python -m xrj.datamodules.phantom --out DIR` writes `ecgen-radiology/N.xml`, `NLMCXR_png/*.png`,
`projections.csv` (views), `truth.csv` (the cardiothoracic ratio and all else that is known of each
picture), `masks.csv` with masks of heart and lungs in `masks/`, and, last, `phantom.json`. With
`--reports ARCHIVE` it draws a picture for every image of an archive of real reports instead,
matching their MeSH terms.
"""

import argparse
import ctypes
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.progress import track

from xrj.datamodules.commands import run_command
from xrj.datamodules.masks import MASKS
from xrj.datamodules.phantom_study import (
    TRUTH_COLUMNS,
    Picture,
    Study,
    draw_masks,
    draw_study,
    effusion_region,
    render_as,
    render_study,
    studies_of,
)
from xrj.errors import DataError
from xrj.files import locked, read_json, sha256_file, write_json

MASK_TABLE = "masks.csv"
"""Of a phantom: columns image, patient_id, heart, lungs, ctr; a row a frontal picture."""

VERSION = 3  # of the pictures and texts that a seed gives


def write_phantom(
    out: Path,
    *,
    reports: int,
    seed: int,
    size: int = 288,
    cardiomegaly: float = 0.16,
    other: float = 0.15,
    effusion: float = 0.0,
    workers: int | None = None,
) -> Path:
    """Write a phantom data set of its own reports; do nothing when it is already there.

    Args:
        out: Folder to make; it appears only when all is written.
        reports: Number of reports, one a patient.
        seed: Every picture and report is a function of the seed and its own number.
        size: Width and height of the pictures in pixels.
        cardiomegaly: Share of reports with an enlarged heart.
        other: Share of reports with another disease and a normal heart, one in five of which is
            an effusion.
        effusion: Share of further reports with a pleural effusion and a normal heart.
        workers: Processes; all cores when None.

    Raises:
        DataError: `out` holds something else, an argument makes no sense, or the disk is full.
    """
    shares = {"cardiomegaly": cardiomegaly, "other": other, "effusion": effusion}
    if reports < 1 or size < 32 or min(shares.values()) < 0 or sum(shares.values()) > 1:
        said = ", ".join(f"{name}={share}" for name, share in shares.items())
        raise DataError(
            f"phantom: reports={reports}, size={size}, {said} "
            "cannot be drawn; reports >= 1, size >= 32, and shares that add up to at most 1"
        )
    if not effusion:  # phantoms written before there was such a share stay valid
        del shares["effusion"]
    parameters = {"reports": reports, "seed": seed, "size": size, **shares}
    numbers = range(1, reports + 1)
    return _write(
        out, lambda: (draw_study(seed, n, **shares) for n in numbers), parameters, workers
    )


def write_phantom_for_reports(
    archive: Path, out: Path, *, seed: int, size: int = 288, workers: int | None = None
) -> Path:
    """Write a picture for every image of an archive of real reports, whose XML is copied as it is.

    Raises:
        DataError: The archive cannot be read, `out` holds something else, or the disk is full.
    """
    if not archive.is_file():
        raise DataError(f"{archive}: no such archive; give NLMCXR_reports.tgz or a number")
    parameters = {"archive": sha256_file(archive), "seed": seed, "size": size}
    return _write(out, lambda: studies_of(archive, seed), parameters, workers)


def redraw(folder: Path, image_ids: Sequence[str], labels: Sequence[str]) -> list[Picture]:
    """Draw frontal pictures of `write_phantom` again as of these labels; see `redraws`.

    Args:
        folder: The phantom.
        image_ids: Of its pictures.
        labels: For each, as `render_as` takes it.
    """
    studies, seed, size = _studies(folder, image_ids)
    return [
        render_as(seed, study, image_id, size, label)
        for study, image_id, label in zip(studies, image_ids, labels, strict=True)
    ]


def effusion_regions(folder: Path, image_ids: Sequence[str]) -> list[npt.NDArray[np.bool_]]:
    """Return where effusions can lie in frontal pictures of `write_phantom`; see `redraws`."""
    studies, seed, size = _studies(folder, image_ids)
    return [
        effusion_region(seed, study, image_id, size)
        for study, image_id in zip(studies, image_ids, strict=True)
    ]


def _studies(folder: Path, image_ids: Sequence[str]) -> tuple[list[Study], int, int]:
    """Return the study of each picture of a phantom, its seed and the pictures' size."""
    parameters = read_json(folder / "phantom.json")["parameters"]
    seed = parameters["seed"]
    shares = {name: parameters.get(name, 0.0) for name in ("cardiomegaly", "other", "effusion")}
    numbers = [int(image_id.split("_")[0].removeprefix("CXR")) for image_id in image_ids]
    return [draw_study(seed, number, **shares) for number in numbers], seed, parameters["size"]


def redraws(folder: Path) -> bool:
    """Whether a folder is a phantom of its own reports that this version draws alike."""
    path = folder / "phantom.json"
    parameters = read_json(path)["parameters"] if path.is_file() else {}
    return parameters.get("version") == VERSION and "reports" in parameters


def _write(
    out: Path,
    draw: Callable[[], Iterator[Study]],
    parameters: dict[str, Any],
    workers: int | None,
) -> Path:
    """Render into a temporary sibling of `out` and rename it; only one process at a time."""
    parameters = {"version": VERSION, **parameters}
    out = out.absolute()
    unfinished = out.with_name(f".{out.name}.partial")
    try:
        with locked(out.with_name(f".{out.name}.lock"), wait=True):
            if (out / "phantom.json").is_file():
                if read_json(out / "phantom.json")["parameters"] != parameters:
                    raise DataError(
                        f"{out}: holds a phantom of other parameters; remove it or choose another"
                    )
                return out
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise DataError(f"{out}: exists and is no phantom; remove it or choose another")
            shutil.rmtree(unfinished, ignore_errors=True)
            try:
                _fill(unfinished, list(draw()), parameters, workers)
                unfinished.replace(out)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{out}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from error
    return out


def _fill(
    folder: Path, studies: list[Study], parameters: dict[str, Any], workers: int | None
) -> None:
    """Write everything into `folder`, in several processes when there is enough to do."""
    (folder / "NLMCXR_png").mkdir(parents=True)
    (folder / "ecgen-radiology").mkdir()
    (folder / "masks").mkdir()
    workers = min(workers or len(os.sched_getaffinity(0)), 1 + len(studies) // 50)
    work = partial(_save, folder=folder, seed=parameters["seed"], size=parameters["size"])
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        results: Iterable[list[dict[str, Any]]] = map(work, studies)
        if workers > 1:
            # Forked from a clean server: the caller may already run threads of torch or OpenCV.
            context = get_context("forkserver")
            context.set_forkserver_preload(["xrj.datamodules.phantom_study"])
            pool = stack.enter_context(ProcessPoolExecutor(workers, context, _start_worker))
            results = pool.map(work, studies, chunksize=8)
        for part in track(
            results,
            "Rendering the phantom",
            total=len(studies),
            console=Console(stderr=True),
            transient=True,
        ):
            rows += part
    truth = pd.DataFrame(rows, columns=TRUTH_COLUMNS)
    truth.to_csv(folder / "truth.csv", index=False)
    views = pd.DataFrame(
        {
            "uid": [uid.removeprefix("CXR") for uid in truth["report_uid"]],
            "filename": [f"{image_id}.png" for image_id in truth["image_id"]],
            "projection": [view.capitalize() for view in truth["view"]],
        }
    )
    views.to_csv(folder / "projections.csv", index=False)
    frontal = truth[truth["view"] == "frontal"]
    pd.DataFrame(
        {
            "image": "NLMCXR_png/" + frontal["image_id"] + ".png",
            "patient_id": frontal["report_uid"],
            **{part: "masks/" + frontal["image_id"] + f"_{part}.png" for part in MASKS},
            "ctr": frontal["ctr"],
        }
    ).to_csv(folder / MASK_TABLE, index=False)
    write_json(folder / "phantom.json", {"parameters": parameters, "images": len(rows)})


def _start_worker() -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_caller, daemon=True).start()
    with suppress(OSError, AttributeError):
        # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD: keep the memory of the temporary planes; giving each
        # back to the system and fetching it again takes a third of the time.
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 1 << 29)
        mallopt(-3, 1 << 26)


def _end_with_caller() -> None:
    """End this worker when its caller is killed; it would wait for work for ever."""
    caller = parent_process()
    if caller is not None:
        caller.join()
        os._exit(1)


def _save(study: Study, *, folder: Path, seed: int, size: int) -> list[dict[str, Any]]:
    """Render and write one study; return its rows of `truth.csv`."""
    (folder / "ecgen-radiology" / study.document_name).write_bytes(study.document)
    rows = []
    for row, image in render_study(seed, study, size):
        _write_png(folder / "NLMCXR_png" / f"{row['image_id']}.png", image)
        rows.append(row)
    for image_id, masks in draw_masks(seed, study, size):
        for part, mask in masks.items():
            _write_png(folder / "masks" / f"{image_id}_{part}.png", mask)
    return rows


def _write_png(path: Path, picture: Picture) -> None:
    _, data = cv2.imencode(".png", picture, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    path.write_bytes(data.tobytes())


def main() -> None:
    """Write a phantom data set."""
    parser = argparse.ArgumentParser(
        prog="python -m xrj.datamodules.phantom", description=main.__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument(
        "--reports", default="1000", help="number of reports, or an archive of real ones"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=288, help="pixels")
    options = parser.parse_args()
    drawn = {"seed": options.seed, "size": options.size}
    if options.reports.isdigit():
        write_phantom(options.out, reports=int(options.reports), **drawn)
    else:
        write_phantom_for_reports(Path(options.reports), options.out, **drawn)
    print(options.out)


if __name__ == "__main__":
    run_command(main)
