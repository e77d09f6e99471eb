"""What a finished stage gives the next: slim safetensors and a JSON that says what they are.

A folder `export/` in the stage's run folder holds one `<selection>.safetensors` for each kept
epoch and `stage.json`. Loading checks all of it and unpickles nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from xrj import __version__
from xrj.datamodules.vocabulary import Vocabulary
from xrj.errors import DataError, HandoverError
from xrj.files import atomic_path, read_json, sha256_file, sha256_json, write_json
from xrj.finished import require_finished, training
from xrj.nets.registry import NETS, build_net
from xrj.programs import program

SCHEMA = 1
IMAGE_RANGE = (-1.0, 1.0)

_R = ("embedding", "noise", "noise_kind", "code_scale")
SHAPING: Mapping[str, tuple[str, ...]] = {
    "arae": ("embedding",),
    "gan1": (*_R, "small"),
    "gan2": (*_R, "small", "large"),
    "inverse": (*_R, "small"),
    "classifier": (),
    "embedding_gan1": (*_R, "small"),
    "captioner": (),
    "segmenter": (),
}
"""The shared sizes that each stage's nets depend on."""


UNFIT = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError),
    *(RuntimeError, SafetensorError),
)
"""What nets are answered by that are built from sizes which are none."""


@dataclass(frozen=True)
class Kept:
    """The nets of one kept epoch.

    Attributes:
        epoch: Counted from 1.
        monitor: The measure it was chosen by; None for the last epoch.
        metrics: All validation measures of that epoch; one that is not finite is not written.
        weights: Tensors by "net.parameter".
    """

    epoch: int
    monitor: str | None
    metrics: Mapping[str, float]
    weights: Mapping[str, Tensor]


@dataclass(frozen=True)
class StageExport:
    """A stage's export, checked; see `load_export`.

    Attributes:
        folder: Where it lies.
        info: The content of `stage.json`.
        prefix: What precedes the names of its tensors, in a file that holds other stages', too.
        remedy: What a user does about broken files.
    """

    folder: Path
    info: Mapping[str, Any]
    prefix: str = ""
    remedy: str = ""

    @property
    def hash(self) -> str:
        """Identity of the export: sizes, vocabulary, split, parents and the weights' bytes."""
        return str(self.info["hash"])

    @property
    def vocabulary(self) -> Vocabulary:
        """Vocabulary that the stage was trained with."""
        return Vocabulary.from_dict(self.info["vocabulary"])

    def net(self, name: str, selection: str | None = None) -> nn.Module:
        """Build a net, load its weights, freeze it and put it in evaluation mode.

        Args:
            name: As in `StageModule.exports`.
            selection: Which kept epoch; the first by default.

        Raises:
            HandoverError: There is no such selection, or the weights are not those recorded.
        """
        selections = self.info["selections"]
        selection = selection or next(iter(selections))
        if selection not in selections:
            raise HandoverError(
                f"{self.folder}: keeps {', '.join(selections)}, not '{selection}'; "
                "choose one of these"
            )
        entry = selections[selection]
        path = self.folder / entry["file"]
        if not path.is_file() or sha256_file(path) != entry["sha256"]:
            raise HandoverError(f"{path}: missing or changed since it was written; {self.remedy}")
        try:
            net = build_net(self.info["nets"][name])
            with safe_open(path, framework="pt") as weights:
                prefix = f"{self.prefix}{name}."
                state = {
                    key.removeprefix(prefix): weights.get_tensor(key)
                    for key in weights.keys()  # noqa: SIM118  # not a mapping
                    if key.startswith(prefix)
                }
            net.load_state_dict(state)
        except UNFIT as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise HandoverError(
                f"{path}: does not fit '{name}' ({reason}); {self.remedy}"
            ) from error
        return net.requires_grad_(False).eval()


def _again(export: Path) -> str:
    """Say how an export is made anew; its checkpoint holds the kept weights."""
    return f"remove {export} and run {training(export.parent, export.parent.name)} again"


def write_export(
    folder: Path,
    *,
    stage: str,
    nets: Mapping[str, Mapping[str, Any]],
    kept: Mapping[str, Kept],
    dims: Mapping[str, Any],
    vocabulary: Vocabulary,
    split_hash: str,
    parents: Mapping[str, str],
    data: Mapping[str, Any],
) -> None:
    """Write the export; `stage.json` comes last and makes it whole.

    Args:
        folder: Of the export.
        stage: Stage name.
        nets: Class and sizes of each net, as `registry.build_net` takes them.
        kept: Kept epochs by name of the selection.
        dims: Shared sizes.
        vocabulary: Of the data.
        split_hash: Of the data.
        parents: Export hash of each parent stage.
        data: How the data module was configured.
    """
    selections = {}
    for name, epoch in kept.items():
        path = folder / f"{name}.safetensors"
        with atomic_path(path) as temporary:
            temporary.write_bytes(
                save({key: value.contiguous() for key, value in epoch.weights.items()})
            )
        selections[name] = {
            "file": path.name,
            "sha256": sha256_file(path),
            "epoch": epoch.epoch,
            "monitor": epoch.monitor,
            "metrics": {
                name: value for name, value in epoch.metrics.items() if math.isfinite(value)
            },
        }
    info: dict[str, Any] = {
        "schema": SCHEMA,
        "version": __version__,
        "stage": stage,
        "intended_use": "research; not for clinical decisions",
        "nets": nets,
        "selections": selections,
        "dims": dims,
        "image_range": IMAGE_RANGE,
        "vocabulary": {**vocabulary.to_dict(), "hash": vocabulary.hash},
        "split": split_hash,
        "parents": parents,
        "data": data,
    }
    write_json(folder / "stage.json", {**info, "hash": sha256_json(info)})


def load_export(folder: Path, stage: str) -> StageExport:
    """Read a stage's export.

    Args:
        folder: The run folder of the stage.
        stage: Which stage it should be.

    Raises:
        HandoverError: It is missing, of another stage, of another schema or has been changed.
    """
    folder = folder / "export"
    path = folder / "stage.json"
    require_finished(folder.parent, stage)
    remedy = _again(folder)
    try:
        info = read_json(path)
    except DataError as error:
        raise HandoverError(f"{error}; {remedy}") from error
    if not isinstance(info, dict) or info.get("schema") != SCHEMA or info.get("stage") != stage:
        raise HandoverError(
            f"{path}: not an export of stage '{stage}' in schema {SCHEMA}; "
            f"name another run folder, or run {program('train')} stage={stage} under another name"
        )
    check_info(info, path, remedy)
    return StageExport(folder, info, remedy=remedy)


def check_info(info: Mapping[str, Any], path: Path, remedy: str) -> None:
    """Check that what a file says of a stage is whole, and of nets that this version knows.

    Args:
        info: It.
        path: The file.
        remedy: What a user does about it.

    Raises:
        HandoverError: It is not.
    """
    if sha256_json({key: value for key, value in info.items() if key != "hash"}) != info.get(
        "hash"
    ):
        raise HandoverError(f"{path}: changed since it was written; {remedy}")
    for key in ("nets", "selections", "dims", "vocabulary", "parents", "data"):
        entries = info.get(key)
        parts = key in ("nets", "selections")  # at least one, each with entries of its own
        if not isinstance(entries, dict) or (
            parts and not (entries and all(isinstance(one, dict) for one in entries.values()))
        ):
            raise HandoverError(f"{path}: its '{key}' cannot be read; {remedy}")
    if info.get("image_range") != list(IMAGE_RANGE):
        raise HandoverError(
            f"{path}: its images lie in {info.get('image_range')}, not {list(IMAGE_RANGE)}; "
            f"{remedy}"
        )
    try:
        Vocabulary.from_dict(info["vocabulary"])
    except DataError as error:
        raise HandoverError(f"{path}: {error}") from error
    for entry in info["selections"].values():
        if not all(isinstance(entry.get(key), str) for key in ("file", "sha256")):
            raise HandoverError(f"{path}: a selection names no file; {remedy}")
    unknown = [n for spec in info["nets"].values() if str(n := spec.get("net")) not in NETS]
    if unknown:
        raise HandoverError(f"{path}: names the unknown net '{unknown[0]}'; {remedy}")


def check_fit(
    export: StageExport,
    *,
    dims: Mapping[str, Any] | None = None,
    vocabulary: Vocabulary | None = None,
    split_hash: str | None = None,
    parents: Mapping[str, str] | None = None,
) -> None:
    """Check that an export fits what is to be built on it.

    Args:
        export: The parent.
        dims: Shared sizes that must agree where the stage depends on them.
        vocabulary: Vocabulary of the data at hand.
        split_hash: Split of the data at hand.
        parents: Export hashes of stages that the parent must descend from, where it does from any.

    Raises:
        HandoverError: Something differs; the message says what and how to mend it.
    """
    info, stage = export.info, export.info["stage"]
    for key in SHAPING[stage]:
        value = info["dims"][key] if dims is None else dims[key]
        if info["dims"][key] != value:
            raise HandoverError(
                f"{export.folder}: stage '{stage}' has dims.{key}={info['dims'][key]}, "
                f"not {value}; use that size or train '{stage}' under another name"
            )
    if vocabulary is not None and info["vocabulary"]["hash"] != vocabulary.hash:
        raise HandoverError(
            f"{export.folder}: stage '{stage}' was trained with another vocabulary; "
            "use the same data settings or train it under another name"
        )
    if split_hash is not None and info["split"] != split_hash:
        raise HandoverError(
            f"{export.folder}: stage '{stage}' was trained on another split, so its training "
            "patients may be test patients here; use the same data.split or train it under "
            "another name"
        )
    for parent, wanted in (parents or {}).items():
        found = info["parents"].get(parent)
        if found is not None and found != wanted:
            raise HandoverError(
                f"{export.folder}: stage '{stage}' was built on another '{parent}'; remove "
                f"{export.folder.parent} and run {training(export.folder.parent, stage)} again, "
                "with the settings that it had"
            )
