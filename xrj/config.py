"""The composed configuration: its types, its checks, its identity."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from xrj.errors import ConfigError

ALLOWED_TARGETS = re.compile(r"(albumentations|pytorch_lightning\.callbacks)\.[A-Z]\w*")
"""What `_target_` may name: these packages' classes, and nothing that their modules import."""

STAGES: Mapping[str, tuple[str, ...]] = {
    "arae": (),
    "gan1": ("arae",),
    "gan2": ("arae", "gan1"),
    "inverse": ("arae", "gan1"),
}
"""Each stage and the stages whose exports it needs."""


class Source(StrEnum):
    """Where X-rays come from."""

    phantom = "phantom"
    iu_xray = "iu_xray"
    manifest = "manifest"


class NoiseKind(StrEnum):
    """Distribution of the noise part of r."""

    normal = "normal"
    uniform = "uniform"


class CodeScale(StrEnum):
    """Factor on the unit-norm code inside r: sqrt(v), or 1."""

    sqrt_dim = "sqrt_dim"
    none = "none"


class Reading(StrEnum):
    """Reading of appendix A for the stage II generator."""

    paper = "paper"
    stackgan = "stackgan"


class LabelMeasure(StrEnum):
    """Measure by which the `ours_label` epoch is kept."""

    accuracy = "accuracy"
    balanced_accuracy = "balanced_accuracy"


class WrongCaptions(StrEnum):
    """Where the discriminator's wrong captions come from."""

    other_label = "other_label"
    mixed = "mixed"


@dataclass
class DimsConfig:
    """Sizes that several stages share."""

    embedding: int = MISSING
    noise: int = MISSING
    noise_kind: NoiseKind = MISSING
    code_scale: CodeScale = MISSING
    small: int = MISSING
    large: int = MISSING


@dataclass
class AraeConfig:
    """Stage `arae`; see `AraeModule`."""

    batch_size: int = MISSING
    max_epochs: int = MISSING
    hidden: int = MISSING
    dropout: float = MISSING
    tied: bool = MISSING
    rate: float = MISSING
    adversarial_rate: float = MISSING
    cosine: bool = MISSING
    noise: float = MISSING
    noise_decay: float = MISSING
    critic_steps: int = MISSING
    penalty: float = MISSING
    clip: float = MISSING
    word_dropout: float = MISSING
    latent_noise: int = MISSING
    recombine: bool = MISSING


@dataclass
class GanConfig:
    """Both stages of the text-to-image GAN; see `AdversarialModule`."""

    batch_size: int = MISSING
    max_epochs: int = MISSING
    width: int = MISSING
    rate: float = MISSING
    halve_at: list[float] = MISSING
    average: float = MISSING
    condition_on_noise: bool = MISSING
    anchor: float = MISSING
    balance_labels: bool = MISSING


@dataclass
class Gan1Config(GanConfig):
    """Stage `gan1`; see `Gan1Module`."""

    divergence: float = MISSING


@dataclass
class Gan2Config(GanConfig):
    """Stage `gan2`; see `Gan2Module` and the nets in `xrj.nets.image`."""

    reading: Reading = MISSING
    skip: bool = MISSING
    lean: bool = MISSING
    consistency: float = MISSING


@dataclass
class InverseConfig:
    """Stage `inverse`; see `InverseModule`."""

    batch_size: int = MISSING
    max_epochs: int = MISSING
    width: int = MISSING
    rate: float = MISSING
    halve_at: list[float] = MISSING
    balance_labels: bool = MISSING
    image_weight: float = MISSING
    noise_weight: float = MISSING
    caption_weight: float = MISSING
    label_measure: LabelMeasure = MISSING


@dataclass
class PhantomConfig:
    """What the phantom is made of; see `phantom.write_phantom`."""

    reports: int = MISSING
    seed: int = MISSING
    size: int = MISSING
    cardiomegaly: float = MISSING
    other: float = MISSING


@dataclass
class LabelConfig:
    """One label and its rule over MeSH terms; see `labels.LabelRule`."""

    name: str = MISSING
    only: list[str] | None = None
    any: list[str] | None = None


@dataclass
class CaptionConfig:
    """Caption rules of section 4.1."""

    min_words: int = MISSING
    max_words: int = MISSING
    max_per_image: int = MISSING
    min_count: int = MISSING


@dataclass
class SplitConfig:
    """Shares of train, val and test, drawn by patient; or a file that says who is where."""

    fractions: list[float] = MISSING
    seed: int = MISSING
    file: str | None = None


@dataclass
class DataConfig:
    """Where the X-rays come from; see `IUXRayDataModule`."""

    source: Source = MISSING
    root: str | None = None
    csv: str | None = None
    download: bool = MISSING
    cache_dir: str = MISSING
    phantom: PhantomConfig = MISSING
    labels: list[LabelConfig] = MISSING
    captions: CaptionConfig = MISSING
    split: SplitConfig = MISSING
    use_unlabelled_text: bool = MISSING
    wrong: WrongCaptions = MISSING
    margin: float = MISSING
    augmentations: list[dict[str, Any]] = MISSING
    max_broken: float = MISSING
    num_workers: int = MISSING


@dataclass
class TrainerConfig:
    """What the machine does; see the Lightning Trainer."""

    accelerator: str = MISSING
    devices: Any = MISSING
    num_nodes: int = MISSING
    precision: str = MISSING
    deterministic: bool = MISSING
    sync_batchnorm: bool = MISSING
    channels_last: bool = MISSING
    compile: bool = MISSING
    callbacks: dict[str, Any] = MISSING


@dataclass
class LoggerConfig:
    """Weights & Biases beside the CSV that is always written; pictures every so many epochs."""

    wandb: str = MISSING
    project: str = MISSING
    pictures_every: int = MISSING


@dataclass
class TrainConfig:
    """All of `train.py`'s configuration."""

    stage: str = MISSING
    name: str = MISSING
    seed: int = MISSING
    runs: str = MISSING
    parents: dict[str, str] = MISSING
    dims: DimsConfig = MISSING
    data: DataConfig = MISSING
    arae: AraeConfig = MISSING
    gan1: Gan1Config = MISSING
    gan2: Gan2Config = MISSING
    inverse: InverseConfig = MISSING
    trainer: TrainerConfig = MISSING
    logger: LoggerConfig = MISSING


@dataclass
class MappingConfig:
    """The mapping M; see `justify.mapping.MappingSettings`."""

    rate: float = MISSING
    steps: int = MISSING
    iterations: int = MISSING
    line_search: bool = MISSING
    tries: int = MISSING
    restart: float = MISSING
    certainty: float = MISSING
    tolerance: float = MISSING
    alt_diagnosis: float = MISSING
    img_similarity: float = MISSING
    emb_similarity: float = MISSING


@dataclass
class MovedDataConfig:
    """Where the data lie now, where that is not where the run recorded them."""

    root: str | None = None
    csv: str | None = None
    cache_dir: str | None = None


@dataclass
class InferConfig:
    """All of `infer.py`'s configuration; see `tasks`."""

    task: str = MISSING
    name: str = MISSING
    runs: str = MISSING
    chain: dict[str, str] = MISSING
    image: str | None = None
    out: str | None = None
    selection: str = MISSING
    count: int = MISSING
    mapped: int = MISSING
    steps: int = MISSING
    seed: int = MISSING
    device: str = MISSING
    data: MovedDataConfig = MISSING
    mapping: MappingConfig = MISSING
    lexicon: dict[str, Any] = MISSING
    ctr_direction: dict[str, int] = MISSING


def register() -> None:
    """Make the schemas known to Hydra."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="infer_schema", node=InferConfig)


def plain(node: Any) -> Any:
    """Return a configuration node as plain lists, dicts, strings and numbers."""
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True, enum_to_str=True)


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
    """Refuse keys that the schema lacks, which Hydra's `+key=value` adds without a word."""
    types = {field.name: field.type for field in fields(schema)}
    for key, item in value.items():
        name = f"{path}{key}"
        if key not in types:
            raise ConfigError(
                f"{name}: no such setting; {path or 'the configuration '}knows {', '.join(types)}"
            )
        kind = types[key]
        if isinstance(kind, type) and is_dataclass(kind):
            _check_keys(item, kind, f"{name}.")


_LEAST: Mapping[str, float] = {
    **dict.fromkeys(("dims.embedding", "dims.noise", "logger.pictures_every"), 1),
    **dict.fromkeys(("trainer.num_nodes", "data.captions.min_words", "data.captions.min_count"), 1),
    **dict.fromkeys(("data.captions.max_words", "data.captions.max_per_image"), 1),
    **dict.fromkeys(("data.margin", "data.max_broken", "data.num_workers"), 0),
}
_LEAST_OF_STAGE: Mapping[str, float] = {
    "batch_size": 2,  # batch normalisation needs company
    **dict.fromkeys(("max_epochs", "width", "hidden", "latent_noise", "critic_steps"), 1),
    **dict.fromkeys(("rate", "adversarial_rate", "dropout", "word_dropout", "average"), 0),
}
_MOST_OF_STAGE: Mapping[str, float] = dict.fromkeys(("dropout", "word_dropout", "average"), 1)


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
    if not name.strip() or path.is_absolute() or ".." in path.parts or path == PurePath():
        raise ConfigError(f"name={name}: must be a folder below runs, such as demo or noise/50")


def check(cfg: DictConfig) -> None:
    """Check what types alone cannot, before anything is built.

    Raises:
        ConfigError: A key or a stage is unknown, a `_target_` is not allowed, a number is out of
            range, or the name leads out of the runs.
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
        raise ConfigError(f"stage={cfg.stage}: unknown; choose one of {', '.join(STAGES)}")
    for key in ("small", "large"):
        size = cfg.dims[key]
        if size < 8 or size & (size - 1):
            raise ConfigError(f"dims.{key}={size}: must be a power of two from 8 on")
    if cfg.dims.large <= cfg.dims.small:
        raise ConfigError(f"dims.large={cfg.dims.large}: must exceed dims.small={cfg.dims.small}")
    _check_numbers(cfg)
    if cfg.stage == "inverse" and len(cfg.data.labels) < 2:
        raise ConfigError("data.labels: a diagnosis needs at least two labels; add one")
    if cfg.logger.wandb not in ("offline", "online", "disabled"):
        raise ConfigError(f"logger.wandb={cfg.logger.wandb}: choose offline, online or disabled")


def check_inference(cfg: DictConfig) -> None:
    """Check what types alone cannot of `infer.py`'s configuration.

    Raises:
        ConfigError: A key is unknown, a number is out of range, or the name leads out of the runs.
    """
    _check_keys(plain(cfg), InferConfig)
    _check_name(cfg.name)
    numbers = ("count", "mapped", "mapping.steps", "mapping.iterations", "mapping.tries")
    for key, least in [("steps", 2), *((key, 1) for key in numbers)]:
        if (given := OmegaConf.select(cfg, key)) < least:
            raise ConfigError(f"{key}={given}: must be at least {least}")
    if not 0 < cfg.mapping.certainty < 1:
        raise ConfigError(f"mapping.certainty={cfg.mapping.certainty}: must lie between 0 and 1")
    for label, direction in cfg.ctr_direction.items():
        if direction not in (-1, 1):
            raise ConfigError(f"ctr_direction.{label}={direction}: must be 1 or -1")


FREE = ("data.root", "data.csv", "data.cache_dir", "data.download", "data.num_workers")
"""Settings of a run that may change when it continues: they say where and how, not what."""


def identity(cfg: DictConfig) -> dict[str, Any]:
    """Return what makes a run the run that it is, flat: {"dims.noise": 100, ...}.

    A rerun under the same name must agree in all of it: the stage's own settings, the shared ones
    and how many devices share the work; not where things lie, nor what is logged.
    """
    whole = plain(cfg)
    trainer = {
        key: whole["trainer"][key]
        for key in ("devices", "num_nodes", "precision", "sync_batchnorm")
    }
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
