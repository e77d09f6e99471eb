"""The composed configuration: its checks and its identity."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from glob import iglob
from pathlib import Path, PurePath
from typing import Any, cast, get_args

from omegaconf import DictConfig, OmegaConf

from xrj.config import STAGES, TrainConfig, plain
from xrj.errors import ConfigError, DataError
from xrj.finished import STARTER, find_packed, is_finished, require_finished
from xrj.flags import REFUSED
from xrj.infer_config import InferConfig
from xrj.launch import count_devices
from xrj.nets.architectures import ARCHITECTURES, VGG16, WIDTH, Architecture
from xrj.settings import PATH, Setting, nearest

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
"""What the nets are trained in: weights stay in 32 bits."""

ALLOWED_TARGETS = re.compile(r"(albumentations|pytorch_lightning\.callbacks)\.[A-Z]\w*")
"""What `_target_` may name: these packages' classes, and nothing that their modules import."""


def _targets(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "_target_":
                yield path, str(item)
            else:
                yield from _targets(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _targets(item, f"{path}[{index}]")


def _check_keys(value: Mapping[str, Any], schema: type, path: str = "") -> None:
    """Refuse keys that the schema lacks, which Hydra's `+key=value` adds without a word.

    And values that are no text where names and paths stand, as YAML reads 2024_01 without quotes.
    """
    declared = {field.name: field for field in fields(schema)}
    for key, item in value.items():
        name = f"{path}{key}"
        if key not in declared:
            if path == "trainer." and key in REFUSED:
                raise ConfigError(f"{name}: not taken; {REFUSED[key]}")
            near = nearest(name, [f"{path}{known}" for known in declared])
            raise ConfigError(
                f"{name}: no such setting; {near}{path.rstrip('.') or 'the configuration'} knows "
                f"{', '.join(declared)}"
            )
        kind, setting = declared[key].type, Setting.of(declared[key])
        if isinstance(kind, type) and is_dataclass(kind):
            _check_keys(item, kind, f"{name}.")
        for inner in get_args(kind) if setting.many else ():
            if is_dataclass(inner):
                for number, one in enumerate(item):
                    _check_keys(one, cast(type, inner), f"{name}[{number}].")
        if setting.kind and not (setting.optional and item is None):
            for one in item if setting.many else [item]:
                _check_text(name, one, setting.kind)


def _check_text(key: str, value: Any, kind: str) -> None:
    if not isinstance(value, str):
        what = type(value).__name__
        raise ConfigError(f"{key}={value}: was read as {what}, not as text; put it in quotes")
    if kind == PATH and (not value.strip() or "\0" in value):
        raise ConfigError(f"{key}={value!r}: is no path; give one, or leave it out")


_LEAST: Mapping[str, float] = {
    **dict.fromkeys(("dims.embedding", "dims.noise", "logger.pictures_every"), 1),
    **dict.fromkeys(("trainer.num_nodes", "data.captions.min_words", "data.captions.min_count"), 1),
    **dict.fromkeys(("data.captions.max_words", "data.captions.max_per_image"), 1),
    **dict.fromkeys(("data.margin", "data.max_broken", "data.num_workers"), 0),
}
_SHARES = ("dropout", "convolution_dropout", "word_dropout", "substitution", "average")
_LEAST_OF_STAGE: Mapping[str, float] = {
    "batch_size": 2,  # batch normalisation needs company
    **dict.fromkeys(("max_epochs", "width", "hidden", "latent_noise", "critic_steps"), 1),
    **dict.fromkeys(
        ("rate", "adversarial_rate", "against_rate", "vision_rate", "vision_from", "decay"), 0
    ),
    **dict.fromkeys((*_SHARES, "residual_blocks", "augment", "teaching", "phantoms"), 0),
    "resolution": 16,
}
_MOST_OF_STAGE: Mapping[str, float] = dict.fromkeys(_SHARES, 1)


def _check_numbers(cfg: DictConfig) -> None:
    stage = cfg.stage
    least = {**_LEAST, **{f"{stage}.{key}": value for key, value in _LEAST_OF_STAGE.items()}}
    for key, bound in least.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and value < bound:
            raise ConfigError(f"{key}={value}: must be at least {bound}")
    for name, bound in _MOST_OF_STAGE.items():
        value = cfg[stage].get(name, 0)
        if value > bound:
            raise ConfigError(f"{stage}.{name}={value}: must be at most {bound}")


def _check_name(name: str) -> None:
    path = PurePath(name)
    if (
        not name.strip()
        or name.startswith("~")
        or path.is_absolute()
        or ".." in path.parts
        or path == PurePath()
    ):
        raise ConfigError(f"name={name}: must be a folder below runs, such as demo or noise/50")


def check(cfg: DictConfig) -> None:
    """Check what types alone cannot, before anything is built.

    Raises:
        ConfigError: A key or a stage is unknown, a `_target_` is not allowed, a number is out of
            range or does not go with another, or the name leads out of the runs.
    """
    _check_keys(plain(cfg), TrainConfig)
    _check_name(cfg.name)
    for key, callback in plain(cfg.trainer.callbacks).items():
        if not isinstance(callback, dict) or "_target_" not in callback:
            raise ConfigError(
                f"trainer.callbacks.{key}={callback}: has no _target_; give "
                "'{_target_: pytorch_lightning.callbacks.X, ...}'"
            )
    for path, target in _targets(plain(cfg), ""):
        if not ALLOWED_TARGETS.fullmatch(target):
            raise ConfigError(
                f"{path}._target_={target}: not allowed; "
                "name a class of albumentations or pytorch_lightning.callbacks"
            )
    if cfg.stage not in STAGES:
        near = nearest(cfg.stage, STAGES)
        raise ConfigError(f"stage={cfg.stage}: unknown; choose one of {', '.join(STAGES)}; {near}")
    for key in ("small", "large"):
        size = cfg.dims[key]
        if size < 8 or size & (size - 1):
            raise ConfigError(f"dims.{key}={size}: must be a power of two from 8 on")
    if cfg.dims.large <= cfg.dims.small:
        raise ConfigError(f"dims.large={cfg.dims.large}: must exceed dims.small={cfg.dims.small}")
    _check_numbers(cfg)
    if cfg.dims.noise_kind.value == "uniform" and cfg[cfg.stage].get("anchor", 0):
        raise ConfigError(
            "dims.noise_kind=uniform: noise that is read off X-rays is normal; "
            f"set {cfg.stage}.anchor=0"
        )
    if cfg.stage == "classifier":
        net = cfg.classifier.net.value
        _check_zoo("classifier", cfg.classifier, net, ARCHITECTURES[net])
    if cfg.stage == "captioner":
        _check_zoo("captioner", cfg.captioner, "vgg16", VGG16)
    if cfg.stage == "segmenter" and cfg.segmenter.resolution % 16:
        raise ConfigError(
            f"segmenter.resolution={cfg.segmenter.resolution}: must be a multiple of 16"
        )
    if cfg.stage in ("inverse", "classifier", "captioner") and len(cfg.data.labels) < 2:
        raise ConfigError("data.labels: a diagnosis needs at least two labels; add one")
    if cfg.trainer.precision not in PRECISIONS:
        raise ConfigError(
            f"trainer.precision={cfg.trainer.precision}: stages are trained in "
            f"{', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}; choose one of these"
        )
    if cfg.logger.wandb not in ("offline", "online", "disabled"):
        raise ConfigError(f"logger.wandb={cfg.logger.wandb}: choose offline, online or disabled")


def check_parents(cfg: DictConfig) -> None:
    """Check that the stages that a training builds on are there, as far as files' names tell.

    Raises:
        HandoverError: An earlier stage has not finished.
    """
    for stage in STAGES[cfg.stage]:
        require_finished(Path(cfg.parents[stage]), stage)


def check_data(cfg: DictConfig) -> None:
    """Check that the data of a training that has not finished are there, as far as names tell.

    Raises:
        ConfigError: The setting that says where they are is missing.
        DataError: They are not.
    """
    source = cfg.data.source.value
    if is_finished(Path(cfg.runs) / cfg.name / cfg.stage) or source == "phantom":
        return
    if source == "iu_xray" and cfg.data.download:
        return
    key, is_there = ("csv", os.path.isfile) if source == "manifest" else ("root", os.path.exists)
    if (given := cfg.data[key]) is None:
        raise ConfigError(f"data.{key}: data={source} needs it; give data.{key}=PATH")
    if not is_there(given):
        kind = "file" if key == "csv" else "folder"
        raise DataError(f"data.{key}={given}: there is no such {kind}; check the path")


def _check_zoo(stage: str, settings: DictConfig, net: str, architecture: Architecture) -> None:
    width, resolution = settings.width, settings.resolution
    if width != WIDTH and (settings.weights is not None or not architecture.narrows):
        what = f"{net} has" if settings.weights is None else "published weights have"
        raise ConfigError(f"{stage}.width={width}: {what} one width; set {WIDTH}")
    if settings.weights is not None and not Path(settings.weights).is_file():
        raise ConfigError(
            f"{stage}.weights={settings.weights}: there is no such file; give another path"
        )
    if resolution < architecture.least:
        raise ConfigError(
            f"{stage}.resolution={resolution}: {net} needs at least {architecture.least} pixels"
        )


TASKS: Mapping[str, tuple[str, ...]] = {
    "justify": ("arae", "gan1", "gan2", "inverse"),
    "report": ("arae", "gan1", "gan2", "inverse"),
    "evaluate": ("arae", "gan1", "gan2", "inverse"),
    "interpolate": ("arae",),
    "serve": ("arae", "gan1", "gan2", "inverse"),
    "study": (),
    "export": ("arae", "gan1", "gan2", "inverse"),
    "merge": (),
}
"""Each of `infer.py`'s tasks and the stages that it needs, whatever else is asked."""


def check_inputs(cfg: DictConfig) -> None:
    """Check that a task is given what it works on, as far as the names of files tell.

    Raises:
        ConfigError: No X-ray is named.
        DataError: There is none of that name.
        HandoverError: A stage that the task needs has not finished.
    """
    if cfg.task == "justify":
        if cfg.image is None:
            raise ConfigError(
                "image: says which X-ray to justify; give image=PATH, a folder or a glob"
            )
        if not os.path.exists(cfg.image) and not any(iglob(cfg.image, recursive=True)):  # noqa: PTH110,PTH207
            raise DataError(f"{cfg.image}: no such file, folder or match; choose another image=")
    if (folder := exported(cfg)) is None:
        for stage in TASKS[cfg.task]:
            require_finished(Path(cfg.chain[stage]), stage)
    elif cfg.task not in ("justify", "serve", "merge"):
        raise ConfigError(
            f"name={cfg.name}: {folder} is an exported model, which has no data and no stages; "
            f"task={cfg.task} needs a run's name"
        )


def exported(cfg: DictConfig) -> Path | None:
    """Return the folder of the exported model that `name` means; None where it means a run."""
    if any(Path(folder).is_dir() for folder in plain(cfg.chain).values()):
        return None
    return find_packed(str(cfg.name), Path(cfg.runs))


def choose_model(cfg: DictConfig, typed: Sequence[str]) -> str | None:
    """Let `name` be the model that comes with the package where nothing else is meant.

    Args:
        cfg: The configuration, whose `name` is set.
        typed: The command line's arguments.

    Returns:
        A line that says so; None where `name` stays.
    """
    named = any(one.split("=")[0].lstrip("+").startswith(("name", "chain.")) for one in typed)
    if named or cfg.task not in ("justify", "serve") or (Path(cfg.runs) / cfg.name).is_dir():
        return None
    cfg.name = STARTER
    return f"no name= given: by {STARTER}, the model that comes with xrj, for a first look"


def check_inference(cfg: DictConfig) -> None:
    """Check what types alone cannot of `infer.py`'s configuration.

    Raises:
        ConfigError: A key is unknown, a number is out of range, or the name leads out of the runs.
    """
    _check_keys(plain(cfg), InferConfig)
    if exported(cfg) is None:
        _check_name(cfg.name)
    if cfg.task not in TASKS:
        near = nearest(cfg.task, TASKS)
        raise ConfigError(f"task={cfg.task}: unknown; choose one of {', '.join(TASKS)}; {near}")
    if cfg.towards is not None and cfg.task not in ("justify", "report", "serve"):
        raise ConfigError(f"towards={cfg.towards}: task={cfg.task} takes none; leave it out")
    numbers = (
        "beams",
        "count",
        "mapped",
        "batch",
        "mapping.steps",
        "mapping.iterations",
        "mapping.tries",
    )
    for key, least in [("steps", 2), *((key, 1) for key in numbers)]:
        if (given := OmegaConf.select(cfg, key)) < least:
            raise ConfigError(f"{key}={given}: must be at least {least}")
    if not 2 <= cfg.walk <= 64:
        raise ConfigError(f"walk={cfg.walk}: must lie between 2 and 64")
    for key in ("max_upload_mb", "max_pixels", "max_waiting", "keep_minutes"):
        if cfg.serve[key] < 1:
            raise ConfigError(f"serve.{key}={cfg.serve[key]}: must be at least 1")
    for key in ("study.resamples", "evaluate.resamples"):
        if (given := OmegaConf.select(cfg, key)) < 100:
            raise ConfigError(f"{key}={given}: must be at least 100")
    for key, least in (("steps", 1), ("batch", 2), ("width", 1), ("draws", 1), ("penalty", 0)):
        if not cfg.evaluate.critic[key] >= least:
            given = cfg.evaluate.critic[key]
            raise ConfigError(f"evaluate.critic.{key}={given}: must be at least {least}")
    if not 0 < (rate := cfg.evaluate.critic.rate) < 1:
        raise ConfigError(f"evaluate.critic.rate={rate}: must lie between 0 and 1")
    if cfg.evaluate.xrays is not None and cfg.evaluate.xrays < 2:
        raise ConfigError(f"evaluate.xrays={cfg.evaluate.xrays}: must be at least 2, or null")
    if cfg.task == "export":
        _check_export(cfg)
    _check_table(cfg)
    if cfg.task == "serve" and cfg.out:
        raise ConfigError(
            f"out={cfg.out}: task=serve keeps what is uploaded in memory alone; leave out= away, "
            "the page offers each justification as a file"
        )
    if not 0 <= cfg.serve.port < 1 << 16:
        raise ConfigError(f"serve.port={cfg.serve.port}: must lie between 0 and 65535")
    terms = ("alt_diagnosis", "img_similarity", "emb_similarity")
    mapping = (f"mapping.{key}" for key in ("restart", "tolerance", *terms))
    for key in (*mapping, "refinement.steps", "refinement.noise_weight"):
        if not (given := OmegaConf.select(cfg, key)) >= 0:
            raise ConfigError(f"{key}={given}: must be at least 0")
    if not 0 < cfg.mapping.certainty < 1:
        raise ConfigError(f"mapping.certainty={cfg.mapping.certainty}: must lie between 0 and 1")
    if not cfg.unexplained >= 0:
        raise ConfigError(f"unexplained={cfg.unexplained}: must be at least 0")
    for label, direction in cfg.ctr_direction.items():
        if direction not in (-1, 1):
            raise ConfigError(f"ctr_direction.{label}={direction}: must be 1 or -1")


def _check_table(cfg: DictConfig) -> None:
    pages = str(cfg.pages)
    if pages not in ("none", "all", "warnings") and not pages.isdecimal():
        raise ConfigError(f"pages={pages}: choose none, all, warnings or a number")
    if cfg.shards < 1:
        raise ConfigError(f"shards={cfg.shards}: must be at least 1")
    if not 0 <= cfg.shard < cfg.shards:
        raise ConfigError(f"shard={cfg.shard}: must lie between 0 and {cfg.shards - 1}")
    if not cfg.table and (cfg.shards > 1 or pages != "none"):
        raise ConfigError("table=false: shards and pages are of a table; set table=true")
    if cfg.table and cfg.names.value == "keep":
        raise ConfigError("names=keep: a table names files itself; leave it out")
    if (cfg.table or cfg.task == "merge") and cfg.out is None:
        raise ConfigError("out: says where the table lies; give out=DIR")


def _check_export(cfg: DictConfig) -> None:
    if cfg.out is None:
        raise ConfigError("out: says where the model is written; give out=DIR")
    for key, example in (
        ("licence", "Apache-2.0"),
        ("learned_from", "'X-rays of the Example Hospital'"),
    ):
        if not cfg.card[key]:
            raise ConfigError(
                f"card.{key}: a model is handed on with a card that says it; "
                f"give card.{key}={example}"
            )
    if cfg.card.measures is not None and not Path(cfg.card.measures).is_file():
        raise ConfigError(
            f"card.measures={cfg.card.measures}: there is no such file; give another path"
        )


FREE = (
    *("data.root", "data.csv", "data.cache_dir", "data.split.file"),
    *("data.download", "data.num_workers"),
)
"""Settings of a run that may change when it continues: they say where and how, not what.

What lies there may not: the split's and the vocabulary's hashes are compared.
"""


def identity(cfg: DictConfig) -> dict[str, Any]:
    """Return what makes a run the run that it is, flat: {"dims.noise": 100, ...}.

    A rerun under the same name must agree in all of it: the stage's own settings, the shared ones
    and how many devices share the work; not where things lie, on what kind of device it runs, what
    else watches it, nor what is logged.
    """
    whole = plain(cfg)
    trainer = {key: whole["trainer"][key] for key in ("num_nodes", "precision", "sync_batchnorm")}
    trainer["devices"] = count_devices(cfg.trainer)
    kept = {
        "stage": whole["stage"],
        "seed": whole["seed"],
        "dims": whole["dims"],
        "data": whole["data"],
        whole["stage"]: whole[whole["stage"]],
        "trainer": trainer,
    }
    flat = dict(_flatten(kept, ""))
    return {key: value for key, value in flat.items() if key not in FREE}


def _flatten(value: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        name = f"{path}.{key}" if path else key
        if isinstance(item, dict) and item:
            yield from _flatten(item, name)
        else:
            yield name, item
