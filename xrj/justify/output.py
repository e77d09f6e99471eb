"""A justification on disk: one folder that appears whole, with JSON, pictures and page."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from xrj.datamodules.images import UInt8
from xrj.errors import DataError
from xrj.files import atomic_path
from xrj.justify.justification import Justification, Reading
from xrj.justify.model import JustificationModel
from xrj.justify.page import Sheet, justification_page
from xrj.justify.pictures import DifferenceMap, data_uri, difference_map, png

JSON_NAME = "justification.json"
PAGE_NAME = "justification.html"
INDEX_NAME = "index.html"
SUMMARY_NAME = "summary.json"


def folder_names(paths: Iterable[Path]) -> list[str]:
    """Return a folder name for each file: its stem, numbered where several have the same."""
    taken = {INDEX_NAME, SUMMARY_NAME}
    names = []
    for path in paths:
        name, number = path.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{path.stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def write_justification(
    justification: Justification, model: JustificationModel, folder: Path, truth: str | None = None
) -> Sheet:
    """Write a justification's folder; one from an earlier run is replaced.

    Args:
        justification: What to write.
        model: That made it.
        folder: To write; it appears when it is complete.
        truth: The true label, where it is known.

    Returns:
        What an index shows of it.

    Raises:
        DataError: The folder holds something else or cannot be written.
    """
    difference = difference_map(justification.found.large, justification.alternative.large)
    pictures, files = _pictures(justification, model, difference)
    uris = {name.removesuffix(".png"): data_uri(data) for name, data in pictures.items()}
    large = model.sizes[1]
    sheet = Sheet(
        folder=folder.name,
        record=justification.to_json(model, files),
        original=uris["original"],
        reconstruction=uris[f"reconstruction_{large}"],
        alternative=uris[f"alternative_{large}"],
        difference=uris["difference"],
        limit=difference.limit,
        truth=truth,
    )
    with _atomic_folder(folder) as temporary:
        for name, data in pictures.items():
            (temporary / name).write_bytes(data)
        text = json.dumps(sheet.record, indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / JSON_NAME).write_text(f"{text}\n", encoding="utf-8")
        (temporary / PAGE_NAME).write_text(justification_page(sheet), encoding="utf-8")
    return sheet


def write_index(folder: Path, page: str) -> Path:
    """Write the page that lists a folder's justifications; return its path."""
    path = folder / INDEX_NAME
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _pictures(
    justification: Justification, model: JustificationModel, difference: DifferenceMap
) -> tuple[dict[str, bytes], Mapping[str, Mapping[str, str]]]:
    """Return the pictures by file name, and the names by kind and size."""
    pictures = {"original.png": png(justification.original, "the X-ray as the network saw it")}
    files: dict[str, dict[str, str]] = {}

    def add(kind: str, reading: Reading, description: str) -> None:
        drawn: tuple[UInt8, UInt8] = (reading.small, reading.large)
        for size, picture in zip(model.sizes, drawn, strict=True):
            name = f"{kind}_{size}.png"
            files.setdefault(kind, {})[str(size)] = name
            pictures[name] = png(picture, f"{description}; generated, not for clinical decisions")

    target = model.labels[justification.mapping.target]
    add("reconstruction", justification.found, "the X-ray as the network redraws it")
    add("alternative", justification.alternative, f"the X-ray as it would look under {target}")
    pictures["difference.png"] = png(
        difference.picture,
        "alternative minus reconstruction: orange brighter, blue darker, "
        f"full colour at {difference.limit} of 255 grey levels",
    )
    return pictures, files


@contextmanager
def _atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary sibling to fill; rename it to `folder` on success.

    Raises:
        DataError: `folder` holds something else than a justification, or cannot be written.
    """
    temporary = folder.parent / f".writing-{os.getpid()}"
    old = folder.parent / f".replaced-{os.getpid()}"
    try:
        if folder.exists() and not (folder / JSON_NAME).is_file():
            raise DataError(f"{folder}: exists and is no justification; choose another out=")
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); free space or choose another out="
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
