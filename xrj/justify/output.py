"""A justification on disk: one folder that appears whole, with JSON, pictures and page."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrj.datamodules.images import UInt8
from xrj.errors import DataError
from xrj.files import atomic_path
from xrj.justify.justification import Files, Justification, Reading
from xrj.justify.page import (
    Album,
    Calibration,
    Sheet,
    justification_context,
    justification_page,
    linked,
)
from xrj.justify.pictures import data_uri, difference_map, heat_map, outline, png, strip, tile, webp
from xrj.justify.protocol import Justifiable
from xrj.justify.walk import animation, walk_frame

JSON_NAME = "justification.json"
PAGE_NAME = "justification.html"
ON_XRAY_NAME = "alternative_on_xray.png"
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


def render(
    justification: Justification,
    model: Justifiable,
    folder: str,
    truth: str | None = None,
    calibration: Calibration | None = None,
    doubts: Sequence[str] = (),
) -> Rendered:
    """Draw and describe a justification.

    Args:
        justification: What to show.
        model: That made it.
        folder: Name of the folder that the files are meant for.
        truth: The true label, where it is known.
        calibration: Of the model's certainties, where it was measured.
        doubts: A sentence for each thing that is doubtful of how the file was read.
    """
    original, found, other = (
        justification.original,
        justification.found.large,
        justification.alternative.large,
    )
    target = model.labels[justification.mapping.target]
    difference = difference_map(found, other, original)
    against = difference_map(original, other, original, difference.limit)
    colours = f"orange brighter, blue darker, full colour at {difference.limit} of 255 grey levels"
    frames = [walk_frame(step, target) for step in justification.walk]
    maps = {
        f"saliency_{one.method}.webp": webp(heat_map(one.values, original))
        for one in justification.saliency
    }
    reconstructions = _both_sizes(
        "reconstruction",
        justification.found,
        model,
        f"the X-ray as the network redraws it; {GENERATED}",
    )
    alternatives = _both_sizes(
        "alternative",
        justification.alternative,
        model,
        f"the X-ray as it would look under {target}; {GENERATED}",
    )
    pictures = {
        "original.png": png(original, "the X-ray as the network saw it"),
        **reconstructions,
        **alternatives,
        ON_XRAY_NAME: png(
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
        "walk.webp": animation(frames),
        **maps,
    }
    if justification.one_shot is not None:
        pictures[f"one_shot_{model.sizes[1]}.png"] = png(
            justification.one_shot, f"the reconstruction before it was refined; {GENERATED}"
        )
    files = Files(
        reconstruction=_by_size(model, reconstructions),
        alternative=_by_size(model, alternatives),
        on_xray=ON_XRAY_NAME,
        walk="walk.webp",
        saliency=tuple(maps),
    )
    record = {**justification.to_json(model, files), "doubts": list(doubts)}
    sheet = Sheet(folder=folder, record=record, truth=truth)
    large = str(model.sizes[1])
    drawn = justification.on_xray
    shown = model.view(drawn.picture, model.sizes[1])
    album = Album(
        xray=data_uri(webp(justification.xray)),
        on_xray=data_uri(webp(drawn.picture)),
        region=data_uri(outline(drawn.mask, model.frame(drawn.picture.shape), drawn.picture.shape)),
        original=data_uri(pictures["original.png"]),
        reconstruction=data_uri(pictures[files.reconstruction[large]]),
        alternative=data_uri(pictures[files.alternative[large]]),
        difference=data_uri(pictures["difference.png"]),
        against_original=data_uri(pictures["difference_original.png"]),
        limit=difference.limit,
        walk=data_uri(pictures["walk.webp"]),
        frames=[data_uri(webp(frame)) for frame in frames],
        steps=[data_uri(webp(tile(step.picture))) for step in justification.walk],
        saliency=[data_uri(data) for data in maps.values()],
    )
    context = justification_context(sheet, album, calibration)
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
    justification: Justification,
    model: Justifiable,
    folder: Path,
    truth: str | None = None,
    calibration: Calibration | None = None,
    doubts: Sequence[str] = (),
) -> Sheet:
    """Write a justification's folder; one from an earlier run is replaced.

    Args:
        justification: What to write.
        model: That made it.
        folder: To write; it appears when it is complete.
        truth: The true label, where it is known.
        calibration: Of the model's certainties, where it was measured.
        doubts: A sentence for each thing that is doubtful of how the file was read.

    Returns:
        What an index shows of it.

    Raises:
        DataError: The folder holds something else or cannot be written.
    """
    rendered = render(justification, model, folder.name, truth, calibration, doubts)
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
        raise DataError(f"{folder}: exists and is no justification; choose another out=")


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


def _both_sizes(
    kind: str, reading: Reading, model: Justifiable, description: str
) -> dict[str, bytes]:
    drawn: tuple[UInt8, UInt8] = (reading.small, reading.large)
    return {
        f"{kind}_{size}.png": png(picture, description)
        for size, picture in zip(model.sizes, drawn, strict=True)
    }


def _by_size(model: Justifiable, names: Iterable[str]) -> dict[str, str]:
    return {str(size): name for size, name in zip(model.sizes, names, strict=True)}


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
            f"{folder}: cannot be written ({error.strerror}); free space or choose another out="
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
