"""The types of `train.py`'s composed configuration, and how both commands' reach Hydra."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from xrj.infer_config import InferConfig
from xrj.programs import program
from xrj.settings import a_name, a_path, home

STAGES: Mapping[str, tuple[str, ...]] = {
    "arae": (),
    "gan1": ("arae",),
    "gan2": ("arae", "gan1"),
    "inverse": ("arae", "gan1"),
    "classifier": (),
    "embedding_gan1": (),
    "captioner": (),
    "segmenter": (),
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
    """Measure by which the `ours_label` epoch is kept; `last` keeps the last."""

    accuracy = "accuracy"
    balanced_accuracy = "balanced_accuracy"
    auroc = "auroc"
    last = "last"


class Net(StrEnum):
    """Net of the classifier, of torchvision's zoo."""

    resnet18 = "resnet18"
    resnet34 = "resnet34"
    vgg19 = "vgg19"
    alexnet = "alexnet"
    densenet121 = "densenet121"
    inception_v3 = "inception_v3"


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
    against_rate: float = MISSING
    cosine: bool = MISSING
    noise: float = MISSING
    noise_decay: float = MISSING
    critic_steps: int = MISSING
    penalty: float = MISSING
    clip: float = MISSING
    word_dropout: float = MISSING
    substitution: float = MISSING
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
    locality: float = MISSING
    code_noise: float = MISSING
    augment: float = MISSING
    teaching: float = MISSING
    balance_labels: bool = MISSING


@dataclass
class Gan1Config(GanConfig):
    """Stage `gan1`; see `Gan1Module`."""

    divergence: float = MISSING
    leak: float = MISSING


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
    embedding_weight: float = MISSING
    noise_weight: float = MISSING
    caption_weight: float = MISSING
    telling: float = MISSING
    label_measure: LabelMeasure = MISSING
    average: float = MISSING
    dropout: float = MISSING
    convolution_dropout: float = MISSING
    residual_blocks: int = MISSING
    augmentations: list[dict[str, Any]] = MISSING


@dataclass
class ClassifierConfig:
    """Stage `classifier`; see `ClassifierModule` and the nets in `xrj.nets.zoo`."""

    batch_size: int = MISSING
    max_epochs: int = MISSING
    net: Net = MISSING
    width: int = MISSING
    resolution: int = MISSING
    weights: Any = a_path(None)
    rate: float = MISSING
    decay: float = MISSING
    balance_labels: bool = MISSING
    augmentations: list[dict[str, Any]] = MISSING


@dataclass
class CaptionerConfig:
    """Stage `captioner`; see `CaptionerModule` and its net in `xrj.nets.captioner`."""

    batch_size: int = MISSING
    max_epochs: int = MISSING
    width: int = MISSING
    resolution: int = MISSING
    batch_norm: bool = MISSING
    weights: Any = a_path(None)
    rate: float = MISSING
    vision_rate: float = MISSING
    vision_from: int = MISSING
    drop_at: list[float] = MISSING


@dataclass
class SegmenterConfig:
    """Stage `segmenter`; see `SegmenterModule` and its net in `xrj.nets.segmenter`."""

    batch_size: int = MISSING
    max_epochs: int = MISSING
    width: int = MISSING
    resolution: int = MISSING
    phantoms: int = MISSING
    rate: float = MISSING
    decay: float = MISSING
    average: float = MISSING
    augmentations: list[dict[str, Any]] = MISSING


@dataclass
class PhantomConfig:
    """What the phantom is made of; see `phantom.write_phantom`."""

    reports: int = MISSING
    seed: int = MISSING
    size: int = MISSING
    cardiomegaly: float = MISSING
    other: float = MISSING
    effusion: float = MISSING


@dataclass
class LabelConfig:
    """One label and its rule over MeSH terms; see `labels.LabelRule`."""

    name: Any = a_name()
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
    file: Any = a_path(None)


@dataclass
class DataConfig:
    """Where the X-rays come from; see `IUXRayDataModule`."""

    source: Source = MISSING
    root: Any = a_path(None)
    csv: Any = a_path(None)
    download: bool = MISSING
    cache_dir: Any = a_path()
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


class Profiler(StrEnum):
    """What times a training's parts; see `pytorch_lightning.profilers`."""

    simple = "simple"
    advanced = "advanced"
    pytorch = "pytorch"


@dataclass
class TrainerConfig:
    """What the machine does; see the Lightning Trainer, and `flags` for all of its arguments."""

    accelerator: str = MISSING
    devices: Any = MISSING
    num_nodes: int = MISSING
    precision: str = MISSING
    deterministic: bool = MISSING
    sync_batchnorm: bool = MISSING
    compile: bool = MISSING
    early_stopping_ends: bool = MISSING
    callbacks: dict[str, Any] = MISSING
    benchmark: bool | None = None
    detect_anomaly: bool = MISSING
    enable_model_summary: bool = MISSING
    enable_progress_bar: bool | None = None
    log_every_n_steps: int = MISSING
    max_time: str | None = None
    num_sanity_val_steps: int = MISSING
    profiler: Profiler | None = None
    fast_dev_run: Any = MISSING
    limit_train_batches: Any = None
    limit_val_batches: Any = None
    overfit_batches: Any = MISSING


@dataclass
class LoggerConfig:
    """Where a training's measures go, and its pictures every so many epochs."""

    csv: bool = MISSING
    tensorboard: bool = MISSING
    wandb: str = MISSING
    project: Any = a_name()
    pictures_every: int = MISSING


@dataclass
class ParentsConfig:
    """Run folders that earlier stages are taken from."""

    arae: Any = a_path()
    gan1: Any = a_path()


@dataclass
class TrainConfig:
    """All of `train.py`'s configuration."""

    stage: str = MISSING
    name: Any = a_name()
    seed: int = MISSING
    runs: Any = a_path()
    parents: ParentsConfig = MISSING
    dims: DimsConfig = MISSING
    data: DataConfig = MISSING
    arae: AraeConfig = MISSING
    gan1: Gan1Config = MISSING
    gan2: Gan2Config = MISSING
    inverse: InverseConfig = MISSING
    classifier: ClassifierConfig = MISSING
    embedding_gan1: Gan1Config = MISSING
    captioner: CaptionerConfig = MISSING
    segmenter: SegmenterConfig = MISSING
    trainer: TrainerConfig = MISSING
    logger: LoggerConfig = MISSING


def register() -> None:
    """Make the schemas known to Hydra, and two resolvers of texts.

    `${home:PATH}` puts the home folder in the place of ~; `${program:train}` is how that command is
    called here.
    """
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="infer_schema", node=InferConfig)
    OmegaConf.register_new_resolver("home", home, replace=True)
    OmegaConf.register_new_resolver("program", program, replace=True)


def plain(node: Any) -> Any:
    """Return a configuration node as plain lists, dicts, strings and numbers."""
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True, enum_to_str=True)
