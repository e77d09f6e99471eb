"""A justification on disk: one folder that appears whole, with JSON, pictures and page."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrj.errors import DataError
from xrj.files import atomic_path
from xrj.justify.justification import Justification, Reading
from xrj.justify.page import (
    Album,
    Sheet,
    justification_context,
    justification_page,
    linked,
)
from xrj.justify.pictures import data_uri, difference_map, heat_map, outline, png, strip, tile, webp
from xrj.justify.walk import animation, walk_frame

JSON_NAME = "justification.json"
PAGE_NAME = "justification.html"
STRIP_NAME = "strip.webp"
INDEX_NAME = "index.html"
SUMMARY_NAME = "summary.json"
WRITING, REPLACED = ".writing-", ".replaced-"
"""Before the process id: folders that are being filled, and those that make way for them."""
GENERATED = "generated, not for clinical decisions"


@dataclass(frozen=True)
class Rendered:
    """A justification ready to be written, sent or packed.

    Attributes:
        sheet: What an index shows of it.
        context: Of its page; see `justification_context`.
        files: Content by file name: `JSON_NAME`, `PAGE_NAME` and the pictures.
    """

    sheet: Sheet
    context: dict[str, Any]
    files: dict[str, bytes]


def render(justification: Justification, folder: str, truth: str | None = None) -> Rendered:
    """Draw and describe a justification.

    Args:
        justification: What to show.
        folder: Name of the folder that the files are meant for.
        truth: The true label, where it is known.
    """
    original, found, other = (
        justification.original,
        justification.found.large,
        justification.alternative.large,
    )
    target, names = justification.target, justification.files
    difference = difference_map(found, other, original)
    against = difference_map(original, other, original, difference.limit)
    colours = f"orange brighter, blue darker, full colour at {difference.limit} of 255 grey levels"
    frames = [walk_frame(step, target) for step in justification.walk]
    maps = {
        name: webp(heat_map(one.values, original))
        for name, one in zip(names.saliency, justification.saliency, strict=True)
    }
    reconstructions = _both_sizes(
        names.reconstruction,
        justification.found,
        f"the X-ray as the network redraws it; {GENERATED}",
    )
    alternatives = _both_sizes(
        names.alternative,
        justification.alternative,
        f"the X-ray as it would look under {target}; {GENERATED}",
    )
    pictures = {
        "original.png": png(original, "the X-ray as the network saw it"),
        **reconstructions,
        **alternatives,
        names.on_xray: png(
            justification.on_xray.picture,
            f"the X-ray with what would change under {target} drawn on it; partly {GENERATED}",
        ),
        "difference.png": png(
            difference.picture, f"alternative minus reconstruction over the X-ray: {colours}"
        ),
        "difference_original.png": png(
            against.picture,
            f"alternative minus X-ray, which holds the error of the reconstruction, too: {colours}",
        ),
        names.walk: animation(frames),
        **maps,
    }
    large = str(justification.sizes[1])
    if justification.one_shot is not None:
        pictures[f"one_shot_{large}.png"] = png(
            justification.one_shot, f"the reconstruction before it was refined; {GENERATED}"
        )
    sheet = Sheet(folder=folder, record=justification.to_dict(), truth=truth)
    drawn, shown = justification.on_xray, justification.on_xray_seen
    album = Album(
        xray=data_uri(webp(justification.xray)),
        on_xray=data_uri(webp(drawn.picture)),
        region=data_uri(outline(drawn.mask, justification.frame, drawn.picture.shape)),
        original=data_uri(pictures["original.png"]),
        reconstruction=data_uri(pictures[names.reconstruction[large]]),
        alternative=data_uri(pictures[names.alternative[large]]),
        difference=data_uri(pictures["difference.png"]),
        against_original=data_uri(pictures["difference_original.png"]),
        limit=difference.limit,
        walk=data_uri(pictures[names.walk]),
        frames=[data_uri(webp(frame)) for frame in frames],
        steps=[data_uri(webp(tile(step.picture))) for step in justification.walk],
        saliency=[data_uri(data) for data in maps.values()],
    )
    context = justification_context(sheet, album, justification.calibration)
    text = json.dumps(sheet.record, indent=2, ensure_ascii=False, allow_nan=False)
    return Rendered(
        sheet,
        context,
        {
            **pictures,
            STRIP_NAME: webp(strip([original, shown, other, difference.picture])),
            JSON_NAME: f"{text}\n".encode(),
            PAGE_NAME: justification_page(context).encode(),
        },
    )


def write_justification(
    justification: Justification, folder: Path, truth: str | None = None
) -> Sheet:
    """Write a justification's folder; one from an earlier run is replaced.

    Args:
        justification: What to write.
        folder: To write; it appears when it is complete.
        truth: The true label, where it is known.

    Returns:
        What an index shows of it.

    Raises:
        DataError: The folder holds something else or cannot be written.
    """
    rendered = render(justification, folder.name, truth)
    with _atomic_folder(folder) as temporary:
        for name, data in rendered.files.items():
            (temporary / name).write_bytes(data)
    return rendered.sheet


def check_replaceable(folder: Path) -> None:
    """Check that nothing but an earlier justification lies where one is to be written.

    Raises:
        DataError: Something does.
    """
    if folder.exists() and not (folder / JSON_NAME).is_file():
        raise DataError(f"{folder}: exists and is no justification; choose another folder")


def write_index(folder: Path, page: str, sheets: Sequence[Sheet]) -> Path:
    """Write the page that lists a folder's justifications, and links from theirs to it.

    Args:
        folder: That the justifications' folders lie in.
        page: As `index_page` gives it.
        sheets: What it shows, in this order.

    Returns:
        Its path.
    """
    path = folder / INDEX_NAME
    _replace(path, page)
    around = [None, *sheets, None]
    for number, sheet in enumerate(sheets, 1):
        own = folder / sheet.folder / PAGE_NAME
        before, after = around[number - 1], around[number + 1]
        place = f"{number:,} of {len(sheets):,}"
        _replace(own, linked(own.read_text(encoding="utf-8"), before, after, place))
    return path


def _replace(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _both_sizes(names: Mapping[str, str], reading: Reading, description: str) -> dict[str, bytes]:
    drawn = (reading.small, reading.large)
    return {names[str(len(picture))]: png(picture, description) for picture in drawn}


@contextmanager
def _atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder` to fill; move it there on success.

    Raises:
        DataError: `folder` holds something else than a justification, or cannot be written.
    """
    parent, process = folder.parent, os.getpid()
    temporary = parent / f"{WRITING}{process}" / folder.name
    old = parent / f"{REPLACED}{process}" / folder.name
    try:
        check_replaceable(folder)
        _tidy(parent)
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            old.parent.mkdir(exist_ok=True)
            folder.rename(old)
        temporary.rename(folder)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from error
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)
            with suppress(OSError):  # another thread's folder is in it, or it was never made
                left.parent.rmdir()


def _tidy(parent: Path) -> None:
    """Clear away what killed processes left: half-written folders go, replaced ones come back."""
    for left in [*parent.glob(f"{WRITING}*"), *parent.glob(f"{REPLACED}*")]:
        process = left.name.rpartition("-")[2]
        if not process.isdecimal() or _is_alive(int(process)):
            continue
        if left.name.startswith(REPLACED):
            for folder in left.iterdir():
                if not (parent / folder.name).exists():
                    folder.rename(parent / folder.name)
        shutil.rmtree(left, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
