"""What `infer.py` does: justify X-rays, report on a chain, walk through the text space."""

import shlex
import sys
from collections.abc import Callable, Mapping
from glob import glob
from pathlib import Path
from typing import cast

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from xrj import __version__
from xrj.build import build_evaluation_data
from xrj.checks import check_inference
from xrj.config import plain
from xrj.datamodules.images import read_image
from xrj.errors import ConfigError, DataError
from xrj.evaluate.interpolation import as_text as walk_text
from xrj.evaluate.interpolation import interpolate as interpolate_captions
from xrj.evaluate.readings import balanced_rows, read_test_split
from xrj.evaluate.summary import summarise
from xrj.evaluate.table import as_text, measures
from xrj.files import write_json
from xrj.handover import load_export
from xrj.justify.justification import justify
from xrj.justify.mapping import MappingSettings
from xrj.justify.model import JustificationModel
from xrj.justify.output import (
    PAGE_NAME,
    SUMMARY_NAME,
    folder_names,
    write_index,
    write_justification,
)
from xrj.justify.page import Sheet, index_page, percent
from xrj.measures.agreement import Lexicon
from xrj.nets.text import TextDecoder, TextEncoder
from xrj.seeding import numpy_rng

SUFFIXES = (".png", ".jpg", ".jpeg")


def run_task(cfg: DictConfig) -> None:
    """Do what `cfg.task` names.

    Raises:
        UserError: The configuration, the chain, the data or the files do not allow it.
    """
    check_inference(cfg)
    if cfg.task not in TASKS:
        raise ConfigError(f"task={cfg.task}: unknown; choose one of {', '.join(TASKS)}")
    TASKS[cfg.task](cfg)


def find_images(pattern: str) -> list[Path]:
    """Return the files that a path, a folder or a glob names, sorted.

    Raises:
        DataError: There are none.
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise DataError(f"{path}: no PNG or JPEG file in this folder; choose another image=")
        return found
    if path.is_file():
        return [path]
    matches = glob(str(path), recursive=True)  # noqa: PTH207  # Path.glob refuses absolute patterns
    found = sorted(p for p in map(Path, matches) if p.is_file())
    if not found:
        raise DataError(f"{path}: no such file, folder or match; choose another image=")
    return found


def justify_images(cfg: DictConfig) -> None:
    """Justify one X-ray or several; print a line for each and the page to open."""
    if cfg.image is None:
        raise ConfigError("image: says which X-ray to justify; give image=PATH, a folder or a glob")
    paths = find_images(cfg.image)
    single = len(paths) == 1 and Path(cfg.image).expanduser().is_file()
    out = Path(cfg.out or "justifications").expanduser()
    model = _load(cfg)
    settings = MappingSettings(**plain(cfg.mapping))
    sheets: list[Sheet] = []
    skipped: list[str] = []
    for path, name in zip(paths, folder_names(paths), strict=True):
        try:
            image = read_image(path)
        except DataError as error:
            if single:
                raise
            skipped.append(str(error))
            continue
        justification = justify(model, image, path, settings, cfg.seed)
        sheets.append(write_justification(justification, model, out / name))
        print(_line(sheets[-1]), flush=True)
    if not sheets:
        raise DataError(
            f"{cfg.image}: none of {len(paths)} files can be read; the first: {skipped[0]}"
        )
    for line in skipped:
        print(f"skipped: {line}", file=sys.stderr)
    if skipped:
        print(f"{len(skipped)} of {len(paths)} files were skipped", file=sys.stderr)
    if len(paths) > 1:
        title = f"{len(sheets)} chest X-rays, diagnosed and justified"
        print(write_index(out, index_page(title, sheets, skipped=skipped)))
    else:
        print(out / sheets[0].folder / PAGE_NAME)


def report(cfg: DictConfig) -> None:
    """Measure a chain on its test split and show some of its justifications."""
    lexicon = Lexicon.from_config(plain(cfg.lexicon))
    model = _load(cfg)
    data = build_evaluation_data(model.exports["inverse"], plain(cfg.data), "images")
    out = Path(cfg.out).expanduser() if cfg.out else Path(cfg.runs) / cfg.name / "report"
    readings = read_test_split(model, data)
    chosen = balanced_rows(readings.targets, max(cfg.mapped, cfg.count), cfg.seed)
    rows = readings.frame.iloc[chosen]
    settings = MappingSettings(**plain(cfg.mapping))
    names = folder_names(rows["path"])
    sheets: list[Sheet] = []
    justifications = []
    progress = track(
        list(zip(rows["path"], rows["label"], names, strict=True)),
        "Mapping test X-rays",
        console=Console(stderr=True),
        transient=True,
    )
    for path, label, name in progress:
        justifications.append(justify(model, read_image(path), path, settings, cfg.seed))
        if len(sheets) < cfg.count:
            sheets.append(write_justification(justifications[-1], model, out / name, truth=label))
    summary = summarise(
        readings,
        justifications,
        labels=model.labels,
        lexicon=lexicon,
        ctr_direction=plain(cfg.ctr_direction),
        truth=data.path / "truth.csv",
    )
    command = _command()
    write_json(
        out / SUMMARY_NAME,
        {
            "measures": summary.to_dict(),
            "data": {"source": data.source, "split": "test", "split_hash": data.split_hash},
            "model": sheets[0].record["model"] | {"selection": cfg.selection},
            "mapping": plain(cfg.mapping),
            "seed": cfg.seed,
            "command": command,
            "version": __version__,
        },
    )
    table = measures(summary)
    setting = (
        f"All {len(readings.targets)} X-rays of the test split ({data.source}), whose patients no "
        f"stage has seen; the mapping on {len(justifications)} of them, labels balanced, seed "
        f"{cfg.seed}. Intervals are 95 % Wilson intervals. Command: {command}"
    )
    title = f"{len(sheets)} chest X-rays, diagnosed and justified"
    page = write_index(out, index_page(title, sheets, measures=table, setting=setting))
    print(as_text(table))
    print(page)


def interpolate(cfg: DictConfig) -> None:
    """Print walks between captions of the test split; needs the stage `arae` alone."""
    export = load_export(Path(cfg.chain.arae), "arae")
    data = build_evaluation_data(export, plain(cfg.data), "captions")
    images = data.table.images
    captions = [
        (label, words)
        for label, texts in images.loc[images["split"] == "test", ["label", "captions"]].itertuples(
            index=False
        )
        for words in texts
    ]
    if len(captions) < 2:
        raise DataError(
            f"{data.path}: fewer than two captions in the split 'test'; check data.split"
        )
    encoder = cast(TextEncoder, export.net("encoder"))
    decoder = cast(TextDecoder, export.net("decoder"))
    rng = numpy_rng(cfg.seed, "interpolate")
    length = export.info["data"]["captions"]["max_words"] + 2
    for number in range(1, cfg.count + 1):
        first, second = rng.choice(len(captions), 2, replace=False)
        ends = captions[first], captions[second]
        walk = interpolate_captions(encoder, decoder, export.vocabulary, ends, cfg.steps, length)
        print(walk_text(number, ends, walk), end="\n\n")


TASKS: Mapping[str, Callable[[DictConfig], None]] = {
    "justify": justify_images,
    "report": report,
    "interpolate": interpolate,
}
"""Tasks by the name that `task=` takes."""


def _load(cfg: DictConfig) -> JustificationModel:
    folders = {stage: Path(folder) for stage, folder in plain(cfg.chain).items()}
    return JustificationModel.load(folders, cfg.name, cfg.selection, _device(cfg.device))


def _device(name: str) -> str:
    """Return a device that is there.

    Raises:
        ConfigError: It is not.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device={name}: not usable here ({reason}); choose cpu or auto"
        ) from error
    return name


def _line(sheet: Sheet) -> str:
    record = sheet.record
    other = record["alternative"]
    certainty = percent(record["certainty"][record["diagnosis"]])
    tries = f"{other['tries']} {'try' if other['tries'] == 1 else 'tries'}"
    found = f"{other['diagnosis']} {'after' if other['converged'] else 'NOT found in'} {tries}"
    return f"{sheet.name}: {record['diagnosis']} ({certainty}); alternative {found}"


def _command() -> str:
    return shlex.join(["python", *sys.argv])
