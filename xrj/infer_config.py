"""The types of `infer.py`'s composed configuration."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from omegaconf import MISSING

from xrj.settings import a_name, a_path


class Optimizer(StrEnum):
    """Optimiser of the mapping M: all images at once, or the paper's, one image at a time."""

    batched = "batched"
    reference = "reference"


class Names(StrEnum):
    """Whether the files that justifications are of are named beside the results."""

    drop = "drop"
    keep = "keep"


class Format(StrEnum):
    """What an exported model's nets are written in, beside its own files; see `portable`."""

    onnx = "onnx"
    torch = "torch"


class Captions(StrEnum):
    """What an exported model says: whatever it decodes, or captions of its training alone."""

    free = "free"
    known = "known"


@dataclass
class MappingConfig:
    """The mapping M; see `justify.mapping.MappingSettings`."""

    optimizer: Optimizer = MISSING
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
class RefinementConfig:
    """The refinement of r; see `justify.refinement.RefinementSettings`."""

    steps: int = MISSING
    noise_weight: float = MISSING


@dataclass
class BlendConfig:
    """The alternative on the X-ray; see `justify.on_xray.BlendSettings`."""

    threshold: float = MISSING
    smooth: float = MISSING
    least: float = MISSING
    close: float = MISSING
    feather: float = MISSING


@dataclass
class MovedDataConfig:
    """Where the data lie now, where that is not where the run recorded them."""

    root: Any = a_path(None)
    csv: Any = a_path(None)
    cache_dir: Any = a_path(None)


@dataclass
class ServeConfig:
    """The page for uploads; see `web.app.ServeSettings`."""

    host: str = MISSING
    port: int = MISSING
    hosts: list[str] = MISSING
    max_upload_mb: int = MISSING
    max_pixels: int = MISSING
    max_waiting: int = MISSING
    keep_minutes: float = MISSING


@dataclass
class OpinionConfig:
    """What simulated readers think; see `study.simulate.Opinion`."""

    means: dict[str, list[float]] = MISSING
    agreement: list[float] = MISSING


@dataclass
class StudyConfig:
    """The expert study; see `study.steps` and `study.design.Design`."""

    step: str | None = None
    methods: list[str] = MISSING
    readers: list[Any] = a_name()
    per_reader: int = MISSING
    shared: int = MISSING
    overlap: str = MISSING
    url: str | None = None
    reader: Any = a_name(None)
    resamples: int = MISSING
    simulated: OpinionConfig = MISSING


@dataclass
class CriticConfig:
    """The critics of table 2; see `evaluate.critics.CriticSettings`."""

    steps: int = MISSING
    batch: int = MISSING
    width: int = MISSING
    rate: float = MISSING
    penalty: float = MISSING
    draws: int = MISSING


@dataclass
class EvaluateConfig:
    """Which chains the evaluation is of, and how it measures; see `evaluation`."""

    seeds: list[Any] = a_name()
    folds: bool = MISSING
    paper: list[Any] = a_name()
    classifiers: list[Any] = a_name()
    captioners: list[Any] = a_name()
    embeddings: list[Any] = a_name()
    label_loss: list[Any] = a_name()
    sweep: list[Any] = a_name()
    deviations: list[Any] = a_name()
    study: Any = a_path(None)
    resamples: int = MISSING
    xrays: int | None = None
    critic: CriticConfig = MISSING


@dataclass
class CardConfig:
    """What the card of an exported model says; see `card.write_card`."""

    licence: str | None = None
    learned_from: str | None = None
    source: str | None = None
    words: str | None = None
    failures: list[str] = MISSING
    captions: Captions = MISSING
    unsaid: list[str] = MISSING
    measures: Any = a_path(None)


@dataclass
class ChainConfig:
    """Run folders that stages are taken from."""

    arae: Any = a_path()
    gan1: Any = a_path()
    gan2: Any = a_path()
    inverse: Any = a_path()
    classifier: Any = a_path()


@dataclass
class InferConfig:
    """All of `infer.py`'s configuration; see `tasks`."""

    task: str = MISSING
    name: Any = a_name()
    runs: Any = a_path()
    chain: ChainConfig = MISSING
    image: Any = a_path(None)
    out: Any = a_path(None)
    names: Names = MISSING
    table: bool = MISSING
    pages: Any = MISSING
    shards: int = MISSING
    shard: int = MISSING
    towards: str | None = None
    selection: str = MISSING
    beams: int = MISSING
    count: int = MISSING
    mapped: int = MISSING
    walk: int = MISSING
    batch: int = MISSING
    unexplained: float = MISSING
    steps: int = MISSING
    seed: int = MISSING
    formats: list[Format] = MISSING
    device: str = MISSING
    data: MovedDataConfig = MISSING
    mapping: MappingConfig = MISSING
    refinement: RefinementConfig = MISSING
    blend: BlendConfig = MISSING
    lexicon: dict[str, Any] = MISSING
    ctr_direction: dict[str, int] = MISSING
    serve: ServeConfig = MISSING
    study: StudyConfig = MISSING
    evaluate: EvaluateConfig = MISSING
    card: CardConfig = MISSING
