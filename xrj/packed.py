"""A trained chain as one folder that can be handed on: config, weights, card and licence.

It is laid out as hubs of models want it, and holds what justifies and nothing else: neither the
paths of the machine that trained it nor any X-ray. Weights are in 16 bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from xrj import __version__
from xrj.errors import DataError, HandoverError
from xrj.files import atomic_path, read_json, sha256_file, sha256_json, write_json
from xrj.finished import CONFIG, is_packed
from xrj.handover import StageExport, check_info
from xrj.programs import program

WEIGHTS, CARD = "model.safetensors", "README.md"
"""Names of its files, beside `finished.CONFIG`."""
SCHEMA = 1
NETS: Mapping[str, tuple[str, ...]] = {
    "arae": ("decoder",),
    "gan1": ("generator",),
    "inverse": ("inverse", "familiarity"),
    "gan2": ("generator",),
    "classifier": ("classifier",),
}
"""What justifying needs of each stage; parents come first."""
EXACT = ("familiarity.own", "familiarity.others")
"""Whose parameters stay in 32 bits: differences of large distances, which 16 bits would blur."""
DATA = ("source", "labels", "captions", "margin")
"""What is kept of how the data were configured."""
REMEDY = "get the folder anew"


@dataclass(frozen=True)
class Packed:
    """What a folder holds, checked; see `read_packed`.

    Attributes:
        folder: Where it lies.
        config: The content of `config.json`.
        exports: Of each stage.
    """

    folder: Path
    config: Mapping[str, Any]
    exports: Mapping[str, StageExport]


def write_packed(
    folder: Path,
    exports: Mapping[str, StageExport],
    selection: str,
    *,
    about: Mapping[str, Any],
    card: str,
    licence: str,
) -> None:
    """Write a chain; `config.json` comes last and makes it whole.

    Args:
        folder: To write. An earlier chain is replaced.
        exports: Of each stage; "classifier" may be missing.
        selection: The epoch of the inverse mapping.
        about: Entries of `config.json` beside those of the stages: name, trained_on, learned_from,
            calibration, and what the card says.
        card: Text of `README.md`.
        licence: Text of `LICENSE`.

    Raises:
        DataError: The folder holds something else or cannot be written.
        HandoverError: The weights are not those that the exports record.
    """
    if folder.is_dir() and any(folder.iterdir()) and not is_packed(folder):
        raise DataError(f"{folder}: exists and is no exported model; choose another out=")
    (folder / CONFIG).unlink(missing_ok=True)
    chosen = {
        stage: selection if stage == "inverse" else next(iter(export.info["selections"]))
        for stage, export in exports.items()
    }
    tensors: dict[str, Tensor] = {}
    for stage, export in exports.items():
        for name in _nets(export, stage):
            state = export.net(name, chosen[stage]).state_dict()
            for key, value in state.items():
                exact = f"{name}.{key}".startswith(EXACT) or not value.is_floating_point()
                tensors[f"{stage}.{name}.{key}"] = value if exact else value.to(torch.float16)
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(tensors, {"format": "pt"}))
    weights = {"file": WEIGHTS, "sha256": sha256_file(folder / WEIGHTS)}
    stages: dict[str, dict[str, Any]] = {}
    for stage in (stage for stage in NETS if stage in exports):
        info = exports[stage].info
        kept = {**info["selections"][chosen[stage]], **weights}
        slim = {
            **{key: value for key, value in info.items() if key != "hash"},
            "nets": {name: info["nets"][name] for name in _nets(exports[stage], stage)},
            "selections": {chosen[stage]: kept},
            "parents": {name: stages[name]["hash"] for name in info["parents"] if name in stages},
            "data": {key: info["data"][key] for key in DATA},
        }
        stages[stage] = {**slim, "hash": sha256_json(slim)}
    for name, text in ((CARD, card), ("LICENSE", licence)):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    config = {
        "library_name": "xrj",
        "schema": SCHEMA,
        "version": __version__,
        "selection": selection,
        **about,
        "stages": stages,
    }
    write_json(folder / CONFIG, {**config, "hash": sha256_json(config)})


def _nets(export: StageExport, stage: str) -> list[str]:
    return [name for name in NETS[stage] if name in export.info["nets"]]


def read_packed(folder: Path) -> Packed:
    """Read a packed chain.

    Raises:
        HandoverError: It is not whole, has been changed, or is of another schema or program.
    """
    path = folder / CONFIG
    try:
        config = read_json(path)
    except DataError as error:
        raise HandoverError(f"{error}; {REMEDY}") from error
    if not isinstance(config, dict) or config.get("library_name") != "xrj":
        raise HandoverError(f"{path}: of no model of xrj; name another folder")
    if config.get("schema") != SCHEMA:
        raise HandoverError(
            f"{path}: written in schema {config.get('schema')} by xrj {config.get('version')}, "
            f"and xrj {__version__} reads schema {SCHEMA}; install that version, or export anew "
            f"with {program('infer')} task=export"
        )
    stages = config.get("stages")
    if not isinstance(stages, dict) or not {"arae", "gan1", "inverse", "gan2"} <= set(stages):
        raise HandoverError(f"{path}: lacks a stage; {REMEDY}")
    if not (folder / CARD).is_file():
        raise HandoverError(f"{folder / CARD}: the model's card is missing; {REMEDY}")
    exports = {}
    for stage, info in stages.items():
        if stage not in NETS or not isinstance(info, dict):
            raise HandoverError(f"{path}: its stage '{stage}' cannot be read; {REMEDY}")
        check_info(info, path, REMEDY)
        exports[stage] = StageExport(folder, info, f"{stage}.", REMEDY)
    if sha256_json({key: value for key, value in config.items() if key != "hash"}) != config.get(
        "hash"
    ):
        raise HandoverError(f"{path}: changed since it was written; {REMEDY}")
    return Packed(folder, config, exports)
