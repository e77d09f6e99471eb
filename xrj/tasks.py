"""What `infer.py` does: justify X-rays, report on a chain, walk through the text space."""

import shlex
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from xrj import __version__
from xrj.archive import Part, justify_archive, merge_tables
from xrj.card import write_card
from xrj.checks import check_inference, exported
from xrj.config import plain
from xrj.datamodules.images import read_image
from xrj.errors import ConfigError, DataError
from xrj.files import atomic_path, read_json, write_json
from xrj.handover import load_export
from xrj.justify.checklist import count
from xrj.justify.evidence import EvidenceSettings
from xrj.justify.facade import Model
from xrj.justify.intake import (
    NAMES_NAME,
    FolderNames,
    XRays,
    read_names,
    shown_name,
    write_names,
)
from xrj.justify.justification import (
    Justification,
    JustifySettings,
    check_towards,
    justify_all,
)
from xrj.justify.mapping import MappingSettings
from xrj.justify.model import JustificationModel
from xrj.justify.on_xray import BlendSettings
from xrj.justify.output import (
    PAGE_NAME,
    SUMMARY_NAME,
    check_replaceable,
    write_index,
    write_justification,
)
from xrj.justify.page import Sheet, index_page
from xrj.justify.refinement import RefinementSettings
from xrj.justify.wording import percent, readable
from xrj.justify.xray import XRay, read
from xrj.library import SELECTION, load_packed, usable, with_calibration
from xrj.measures.agreement import Lexicon
from xrj.nets.text import TextDecoder, TextEncoder
from xrj.packed import CARD, write_packed
from xrj.seeding import numpy_rng

WALKS_NAME = "interpolation.txt"
MOST_KNOWN = 100
"""Captions of a label that an exported model can be told to keep to."""


def run_task(cfg: DictConfig) -> None:
    """Do what `cfg.task` names.

    Raises:
        UserError: The configuration, the chain, the data or the files do not allow it.
    """
    check_inference(cfg)
    TASKS[cfg.task](cfg)


def justify_images(cfg: DictConfig) -> None:
    """Justify one X-ray or several; print a line for each and the page to open."""
    if cfg.table:
        justify_table(cfg)
        return
    xrays = XRays(cfg.image)
    out = Path(cfg.out or "justifications")
    names = read_names(out / NAMES_NAME) if cfg.names == "keep" else {}
    model = _load(cfg)
    folders = FolderNames()
    due: deque[str] = deque()
    sheets: list[Sheet] = []
    skipped: list[str] = []
    total = 0

    def readable_ones() -> Iterator[XRay]:
        nonlocal total
        for path in xrays:
            total += 1
            shown = shown_name(path)
            folder = folders.name(shown)
            names[folder] = str(path.absolute())
            try:
                check_replaceable(out / folder)
                xray = read(path, shown)
            except DataError as error:
                if xrays.single:
                    raise
                skipped.append(readable(str(error).replace(str(path), shown)))
                continue
            due.append(folder)
            yield xray

    for justification in model.justify(readable_ones(), justify_settings(cfg), cfg.seed):
        sheet = write_justification(justification, out / due.popleft())
        sheets.append(sheet)
        print(_line(sheet), flush=True)
        for doubt in justification.doubts:
            print(f"warning: {sheet.name}: {doubt}", file=sys.stderr)
        if not due and cfg.names == "keep":
            write_names(out / NAMES_NAME, names)
    if not sheets:
        raise DataError(f"{cfg.image}: none of {total} files can be read; the first: {skipped[0]}")
    for line in skipped:
        print(f"skipped: {line}", file=sys.stderr)
    if skipped:
        print(f"{len(skipped)} of {total} files were skipped", file=sys.stderr)
    if told := xrays.told():
        print(told, file=sys.stderr)
    if total > 1:
        title = f"{len(sheets)} chest X-rays, diagnosed and justified"
        print(write_index(out, index_page(title, sheets, skipped=skipped), sheets))
    else:
        print(out / sheets[0].folder / PAGE_NAME)


def justify_table(cfg: DictConfig) -> None:
    """Write a row for each X-ray, and say what the table holds."""
    part, out = Part(cfg.shard, cfg.shards), Path(cfg.out).expanduser()
    settings = justify_settings(cfg)
    told = justify_archive(
        _load(cfg), cfg.image, out, settings, cfg.seed, part=part, pages=str(cfg.pages)
    )
    new = told.done - told.found
    print(
        f"{told.done:,} rows, {new:,} of them new; of these {told.broken:,} cannot be read and "
        f"{told.warned:,} carry a warning"
    )
    print(told.table)


def merge(cfg: DictConfig) -> None:
    """Put the parts of a table together."""
    table, rows = merge_tables(Path(cfg.out).expanduser())
    print(f"{rows:,} rows")
    print(table)


def report(cfg: DictConfig) -> None:
    """Measure a chain on its test split and show some of its justifications."""
    # Lightning and measures take seconds to import, which a single X-ray need not wait for.
    from xrj.build import build_evaluation_data
    from xrj.evaluate.readings import balanced_rows, read_test_split
    from xrj.evaluate.summary import summarise
    from xrj.evaluate.table import as_text, measures

    lexicon = Lexicon.from_config(plain(cfg.lexicon))
    model = _load_chain(cfg)
    data = build_evaluation_data(model.exports["inverse"], plain(cfg.data), "images")
    out = Path(cfg.out) if cfg.out else _report_folder(cfg)
    readings = read_test_split(model, data)
    chosen = balanced_rows(readings.targets, max(cfg.mapped, cfg.count), cfg.seed)
    paths = [readings.frame["path"].iloc[row] for row in chosen]
    truths = [model.labels[readings.targets[row]] for row in chosen]
    settings = justify_settings(cfg)
    shown = _justify_files(model, paths[: cfg.count], settings, cfg.seed)
    # The others are measured, not shown.
    measured = replace(settings, walk=2, saliency=False)
    others = _justify_files(model, paths[cfg.count :], measured, cfg.seed)
    justifications = shown + others
    summary = summarise(
        readings,
        justifications,
        chosen=chosen,
        lexicon=lexicon,
        truth=data.path / "truth.csv",
    )
    folders = map(FolderNames().name, map(str, paths[: cfg.count]))
    sheets = [
        write_justification(
            replace(justification, calibration=summary.calibration), out / folder, label
        )
        for justification, folder, label in zip(shown, folders, truths[: cfg.count], strict=True)
    ]
    command, table = _command(), measures(summary)
    write_json(
        out / SUMMARY_NAME,
        {
            "measures": summary.to_dict(),
            "table": [asdict(row) for row in table],
            "data": {"source": data.source, "split": "test", "split_hash": data.split_hash},
            "model": sheets[0].record["model"] | {"selection": cfg.selection, "beams": cfg.beams},
            "mapping": plain(cfg.mapping),
            "refinement": plain(cfg.refinement),
            "seed": cfg.seed,
            "command": command,
            "version": __version__,
        },
    )
    setting = (
        f"All {len(readings.targets)} X-rays of the test split ({data.source}), whose patients no "
        f"stage has seen; the mapping on {len(justifications)} of them, labels balanced, seed "
        f"{cfg.seed}. Intervals are 95 % intervals: Wilson's for shares, Student's for means. "
        f"Command: {command}"
    )
    title = f"{len(sheets)} chest X-rays, diagnosed and justified"
    index = index_page(title, sheets, measures=table, setting=setting)
    page = write_index(out, index, sheets)
    print(as_text(table))
    print(page)


def evaluate(cfg: DictConfig) -> None:
    """Make the paper's tables and figures, and those beyond it, out of what was trained."""
    from xrj.reproduction.run import evaluate as reproduce

    # No walks and no saliency maps but those of figure 4.
    print(reproduce(cfg, replace(justify_settings(cfg), walk=2), usable(cfg.device), _command()))


def interpolate(cfg: DictConfig) -> None:
    """Print walks between captions of the test split; needs the stage `arae` alone.

    Where `cfg.out` names a folder, they are written there, too.
    """
    from xrj.build import build_evaluation_data
    from xrj.evaluate.interpolation import as_text, interpolate

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
    walks = []
    for number in range(1, cfg.count + 1):
        first, second = rng.choice(len(captions), 2, replace=False)
        ends = captions[first], captions[second]
        walk = interpolate(encoder, decoder, export.vocabulary, ends, cfg.steps, length)
        walks.append(f"{as_text(number, ends, walk)}\n\n")
        print(walks[-1], end="")
    if cfg.out:
        path = Path(cfg.out).expanduser() / WALKS_NAME
        with atomic_path(path) as temporary:
            temporary.write_text("".join(walks), encoding="utf-8")
        print(path)


def study(cfg: DictConfig) -> None:
    """Draw, serve or analyse an expert study."""
    from xrj.study.steps import run_step

    run_step(cfg, lambda: (_load_chain(cfg), justify_settings(cfg)), _command())


def serve(cfg: DictConfig) -> None:
    """Serve the page where X-rays are uploaded, until it is interrupted."""
    from xrj.web.app import ServeSettings, justifier, make_app
    from xrj.web.server import secure
    from xrj.web.server import serve as listen

    model = _load(cfg)
    work = justifier(model, justify_settings(cfg), cfg.seed)
    limits = plain(cfg.serve)
    host, port, hosts = (limits.pop(key) for key in ("host", "port", "hosts"))
    app = make_app(work, ServeSettings(batch=cfg.batch, **limits), model.labels)
    listen(secure(app, hosts=[host, *hosts]), host=host, port=port)


def export(cfg: DictConfig) -> None:
    """Write a chain as one folder to hand on; see `packed`."""
    model = _load_chain(cfg)
    said = _known_captions(cfg, model) if cfg.card.captions == "known" else None
    calibration, measures = with_calibration(model, _report_folder(cfg)).calibration, []
    if calibration is not None:  # the report is of this very chain
        table = read_json(_report_folder(cfg) / SUMMARY_NAME).get("table", [])
        measures = [  # the report's captions are decoded freely
            (row["name"], row["value"], row["n"])
            for row in table
            if said is None or "aption" not in row["name"]
        ]
    about = plain(cfg.card)
    further = about.pop("measures")
    del about["captions"], about["unsaid"]
    name = Path(cfg.name).name
    card = {**model.card, "learned_from": about["learned_from"]}
    folder = Path(cfg.out).expanduser()
    write_packed(
        folder,
        model.exports,
        cfg.selection,
        about={
            "name": name,
            "trained_on": model.training,
            "learned_from": about["learned_from"],
            "calibration": calibration and asdict(calibration),
            "captions": said,
            "about": about,
        },
        card=write_card(name, card, about, measures, further and read_json(Path(further))),
        licence=f"The weights in this folder: {about['licence']}\n"
        f"https://spdx.org/licenses/{about['licence']}.html\n",
    )
    print(folder / CARD)
    if cfg.formats:
        from xrj.portable import write_portable  # torch.export takes seconds to import

        packed = load_packed(folder, cfg.selection, cfg.beams, "cpu").inner
        for one in write_portable(cast(JustificationModel, packed), folder, cfg.formats):
            compared = ""
            if one.seconds is not None:
                ours, theirs = (f"{1000 * seconds:.2f} ms" for seconds in one.seconds)
                compared = f": differs from torch by {one.difference:.1e}; {ours}, torch {theirs}"
            print(f"{one.path}{compared}")


def _known_captions(cfg: DictConfig, model: JustificationModel) -> dict[str, list[str]]:
    """Return the captions of the training X-rays by label.

    Raises:
        ConfigError: They are too many to be handed on, as those of real reports are, or none is
            left of a label.
    """
    from xrj.build import build_evaluation_data

    data = build_evaluation_data(model.exports["inverse"], plain(cfg.data), "captions")
    images = data.table.images
    said: dict[str, set[str]] = {label: set() for label in model.labels}
    for label, captions in images.loc[images["split"] == "train", ["label", "captions"]].itertuples(
        index=False
    ):
        allowed = (words for words in captions if not set(words) & set(cfg.card.unsaid))
        said[label].update(" ".join(words) for words in allowed)
    if empty := [label for label, texts in said.items() if not texts]:
        raise ConfigError(f"card.unsaid: leaves '{empty[0]}' no caption; let it say more")
    if (most := max(map(len, said.values()))) > MOST_KNOWN:
        raise ConfigError(
            f"card.captions=known: training has {most:,} different captions of a label, and "
            f"{MOST_KNOWN} can be known; leave it out"
        )
    return {label: sorted(texts) for label, texts in said.items()}


TASKS: Mapping[str, Callable[[DictConfig], None]] = {
    "justify": justify_images,
    "report": report,
    "evaluate": evaluate,
    "interpolate": interpolate,
    "serve": serve,
    "study": study,
    "export": export,
    "merge": merge,
}
"""Tasks by the name that `task=` takes."""


def justify_settings(cfg: DictConfig) -> JustifySettings:
    """Return how X-rays are justified."""
    return JustifySettings(
        mapping=MappingSettings(**plain(cfg.mapping)),
        refinement=RefinementSettings(**plain(cfg.refinement)),
        blend=BlendSettings(**plain(cfg.blend)),
        evidence=EvidenceSettings(
            plain(cfg.ctr_direction), cfg.unexplained, Lexicon.from_config(plain(cfg.lexicon))
        ),
        walk=cfg.walk,
        batch=cfg.batch,
        towards=cfg.towards,
    )


def _justify_files(
    model: JustificationModel, paths: Sequence[Path], settings: JustifySettings, seed: int
) -> list[Justification]:
    justifications = []
    progress = track(
        range(0, len(paths), settings.batch),
        "Justifying test X-rays",
        console=Console(stderr=True),
        transient=True,
    )
    for start in progress:
        batch = list(paths[start : start + settings.batch])
        images = [read_image(path) for path in batch]
        names = [str(path) for path in batch]
        justifications += justify_all(model, images, names, settings, seed)
    return justifications


def _report_folder(cfg: DictConfig) -> Path:
    return Path(cfg.runs) / cfg.name / "report"


def _load(cfg: DictConfig) -> Model:
    if (folder := exported(cfg)) is not None:
        selection = None if cfg.selection == SELECTION else cfg.selection
        model = load_packed(folder, selection, cfg.beams, usable(cfg.device))
        check_towards(model.inner, cfg.towards)
        return model
    return with_calibration(_load_chain(cfg), _report_folder(cfg))


def _load_chain(cfg: DictConfig) -> JustificationModel:
    folders = {stage: Path(folder) for stage, folder in plain(cfg.chain).items()}
    device = usable(cfg.device)
    model = JustificationModel.load(folders, cfg.name, cfg.selection, cfg.beams, device)
    check_towards(model, cfg.towards)
    return model


def _line(sheet: Sheet) -> str:
    record = sheet.record
    other = record["alternative"]
    certainty = percent(record["certainty"][record["diagnosis"]])
    tries = f"{other['tries']} {'try' if other['tries'] == 1 else 'tries'}"
    found = f"{other['diagnosis']} {'after' if other['converged'] else 'NOT found in'} {tries}"
    warned = f", {count(len(sheet.warnings), 'warning', 'warnings')}" if sheet.warnings else ""
    redrawn = record["evidence"]["reconstruction"]
    first = f"{sheet.strange}, NOT to be relied on: " if sheet.strange else ""
    unsure = ""
    if not sheet.strange and redrawn["unexplained"] > redrawn["allowed"]:
        unsure = "; NOT to be relied on: the reconstruction is far from the X-ray"
    answer = f"{record['diagnosis']} ({certainty}){warned}; alternative {found}{unsure}"
    usual = (sheet.name, Path(sheet.name).stem)
    where = "" if sheet.folder in usual else f" (in {sheet.folder})"  # files of one name in a tree
    return f"{sheet.name}{where}: {first}{answer}"


def _command() -> str:
    # `sys.argv` holds paths quoted for Hydra.
    typed, called = sys.orig_argv, Path(sys.argv[0]).name
    given = [called, *typed[2:]] if called.startswith("xrj-") else ["python", *typed[1:]]
    return readable(shlex.join(given))
