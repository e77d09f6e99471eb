"""What `task=study` does, by the name of the step."""

import re
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress

from xrj.build import build_evaluation_data
from xrj.config import plain
from xrj.errors import ConfigError, DataError
from xrj.files import atomic_path, locked, write_json
from xrj.justify.justification import JustifySettings
from xrj.justify.model import JustificationModel
from xrj.study.analysis import analyse as analyse_ratings
from xrj.study.design import Design
from xrj.study.folder import (
    LINKS_NAME,
    LOCK_NAME,
    check_free,
    open_study,
    read_links,
    write_links,
    write_study,
)
from xrj.study.ratings import export, read_ratings
from xrj.study.sample import describe, justify_items, plan
from xrj.study.simulate import Opinion
from xrj.study.simulate import simulate as simulate_readers
from xrj.study.tables import as_markdown, as_page, as_text, tables

Load = Callable[[], tuple[JustificationModel, JustifySettings]]
STEPS = ("sample", "serve", "analyse", "link", "simulate")
ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  # compared with, not listened on
TITLE = "Analysis of the expert study"


def run_step(cfg: DictConfig, load: Load, command: str) -> None:
    """Do what `cfg.study.step` names.

    Args:
        cfg: Of `infer.py`.
        load: Loads the chain and says how it justifies.
        command: As it was typed.

    Raises:
        UserError: The configuration, the chain, the data or the study do not allow it.
    """
    match cfg.study.step:
        case "sample":
            sample(cfg, load, command)
        case "serve":
            serve(cfg)
        case "analyse":
            analyse(cfg, command)
        case "link":
            link(cfg)
        case "simulate":
            simulate(cfg)
        case None:
            raise ConfigError(f"study.step: says what to do; choose one of {', '.join(STEPS)}")
        case step:
            raise ConfigError(f"study.step={step}: unknown; choose one of {', '.join(STEPS)}")


def sample(cfg: DictConfig, load: Load, command: str) -> None:
    """Draw a study and print what was drawn."""
    for name in cfg.study.readers:
        if not re.fullmatch(r"[\w.-]+( [\w.-]+)*", str(name)):
            raise ConfigError(
                f"study.readers: {name!r}: give names of letters, digits, dots and hyphens"
            )
    design = Design(
        methods=tuple(cfg.study.methods),
        readers=tuple(cfg.study.readers),
        per_reader=cfg.study.per_reader,
        shared=cfg.study.shared,
        overlap=cfg.study.overlap,
    )
    folder, url = _folder(cfg), _url(cfg)
    check_free(folder)
    model, settings = load()
    data = build_evaluation_data(model.exports["inverse"], plain(cfg.data), "images")
    drawn = plan(model, data, design, cfg.seed)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("Justifying", total=len(drawn.items))
        evidence, truth = justify_items(
            model, drawn, settings, cfg.seed, lambda n: progress.advance(bar, n)
        )
    counts, lines = describe(drawn)
    study = write_study(
        folder,
        design=design,
        seed=cfg.seed,
        about={
            "counts": counts,
            "data": {"source": data.source, "split": "test", "split_hash": data.split_hash},
            "model": {**model.identity, "selection": cfg.selection, "beams": cfg.beams},
            "command": command,
        },
        evidence=evidence,
        truth=truth,
        orders=drawn.orders(cfg.seed),
        url=url,
    )
    print(*lines, sep="\n")
    print(f"personal links, one a reader: {study.folder / LINKS_NAME}")


def serve(cfg: DictConfig) -> None:
    """Serve the readers' pages until told to stop; one server a study."""
    from xrj.study.server import PAGES, make_app  # no other step needs a web server
    from xrj.web.server import secure
    from xrj.web.server import serve as listen

    study = open_study(_folder(cfg))
    for item in study.info["evidence"]:
        study.evidence(item)
    if study.store.get("simulated"):
        raise DataError(
            f"{study.folder}: holds simulated answers, which people's would mix with; sample "
            "another study"
        )
    with locked(study.folder / LOCK_NAME, wait=False) as held:
        if not held:
            raise DataError(
                f"{study.folder}: another server serves this study; use that one or stop it first"
            )
        links = {
            reader: f"{_url(cfg)}/r/{link.rpartition('/r/')[2]}"
            for reader, link in read_links(study.folder).items()
        }
        if links:
            write_links(study.folder, links)
            print(f"personal links, one a reader: {study.folder / LINKS_NAME}")
        hosts = [*cfg.serve.hosts, *filter(None, [urlsplit(_url(cfg)).hostname])]
        app = secure(make_app(study), pages=PAGES, hosts=hosts)
        listen(app, host=cfg.serve.host, port=cfg.serve.port)


def analyse(cfg: DictConfig, command: str) -> None:
    """Export the answers, analyse them, write and print the tables."""
    study = open_study(_folder(cfg))
    ratings = read_ratings(study)
    analysis = analyse_ratings(study, ratings, cfg.study.resamples, cfg.seed)
    notes = ["Simulated readers: no person gave these answers."] if analysis.simulated else []
    notes.append(
        f"Study drawn with seed {analysis.about['seed']}; {analysis.resamples} bootstrap "
        f"resamples, seed {cfg.seed}. Command: {command}"
    )
    found = tables(analysis)
    export(ratings, study.folder)
    write_json(study.folder / "analysis.json", {**analysis.to_json(), "command": command})
    for name, text in (
        ("analysis.md", as_markdown(TITLE, notes, found)),
        ("analysis.html", as_page(TITLE, notes, found)),
    ):
        with atomic_path(study.folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(*notes, "", as_text(found), "", study.folder / "analysis.html", sep="\n")


def link(cfg: DictConfig) -> None:
    """Give one reader a new link; the old one is void."""
    study = open_study(_folder(cfg))
    readers = {reader.name: reader for reader in study.store.readers()}
    if cfg.study.reader not in readers:
        raise ConfigError(
            f"study.reader={cfg.study.reader}: no reader of this study; choose one of "
            f"{', '.join(readers)}"
        )
    token = secrets.token_urlsafe(32)
    study.store.replace_token(readers[cfg.study.reader], token)
    links = read_links(study.folder) | {cfg.study.reader: f"{_url(cfg)}/r/{token}"}
    print(f"{cfg.study.reader} has a new link: {write_links(study.folder, links)}")


def simulate(cfg: DictConfig) -> None:
    """Answer a study by readers of known opinion."""
    study = open_study(_folder(cfg))
    ratings = simulate_readers(study, Opinion(**plain(cfg.study.simulated)), cfg.seed)
    print(f"{ratings} ratings by simulated readers; analyse them by study.step=analyse")


def _folder(cfg: DictConfig) -> Path:
    return Path(cfg.out) if cfg.out else Path(cfg.runs) / cfg.name / "study"


def _url(cfg: DictConfig) -> str:
    """Return how the readers' links begin.

    Raises:
        ConfigError: It is no address.
    """
    if cfg.study.url is None:
        host, port = cfg.serve.host, cfg.serve.port
        if not port:
            raise ConfigError("serve.port=0: the readers' links need a port that stays; name one")
        if host in ANY_ADDRESS:
            raise ConfigError(
                f"serve.host={host}: is every address; give the one that readers use as study.url="
            )
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    url = urlsplit(cfg.study.url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(f"study.url={cfg.study.url}: give one such as https://study.example.org")
    return str(cfg.study.url).rstrip("/")
