"""From configuration to objects: data, nets and modules of a stage."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from omegaconf import DictConfig
from torch import nn

from xrj.config import plain
from xrj.datamodules.datamodule import IUXRayDataModule
from xrj.datamodules.images import to_tensor
from xrj.datamodules.mask_data import MaskDataModule
from xrj.datamodules.vocabulary import Vocabulary
from xrj.errors import ConfigError
from xrj.handover import StageExport, check_fit
from xrj.modules.arae import AraeModule
from xrj.modules.base import StageModule
from xrj.modules.captioner import CaptionerModule
from xrj.modules.classifier import ClassifierModule
from xrj.modules.embedding_gan1 import EmbeddingGan1Module
from xrj.modules.gan1 import Gan1Module
from xrj.modules.gan2 import Gan2Module
from xrj.modules.inverse import InverseModule
from xrj.modules.segmenter import SegmenterModule
from xrj.nets.captioner import ConvolutionalCaptioner
from xrj.nets.familiarity import Familiarity
from xrj.nets.noise import NoiseEncoder
from xrj.nets.registry import build_net
from xrj.nets.representation import Representation
from xrj.nets.zoo import Classifier

Exports = Mapping[str, StageExport]

CHANNELS = 1
"""X-rays are grey."""
LEARNT = 4096
"""Most training X-rays that `Familiarity` is fitted to, evenly out of all."""
TEACHER_WIDTH = 32
"""Channels of the teachers' first layers: they diagnose as well as wider ones at 64 pixels."""


def build_data(cfg: DictConfig) -> IUXRayDataModule:
    """Return the data module of the stage, not yet set up."""
    settings, dims = cfg[cfg.stage], cfg.dims
    resolution = dims.large if cfg.stage == "gan2" else settings.get("resolution", dims.small)
    data = plain(cfg.data)
    data["labels"] = _label_rules(data["labels"])
    own = plain(settings).get("augmentations", [])
    data["augmentations"] = {
        "data.augmentations": data["augmentations"],
        f"{cfg.stage}.augmentations": own,
    }
    data |= {
        "small": dims.small,
        "large": dims.large,
        "content": "captions" if cfg.stage == "arae" else "images",
        "resolution": resolution,
        "batch_size": settings.batch_size,
        "seed": cfg.seed,
        "balance_labels": cfg.stage in ("gan1", "gan2", "embedding_gan1")
        and settings.balance_labels,
        "telling": settings.telling if cfg.stage == "inverse" else 0.0,
        "recombine": cfg.arae.recombine,
    }
    if cfg.stage == "segmenter":
        return MaskDataModule(phantoms=settings.phantoms, **data)
    return IUXRayDataModule(**data)


def build_evaluation_data(
    export: StageExport, moved: Mapping[str, str | None], content: Literal["captions", "images"]
) -> IUXRayDataModule:
    """Return the data module of the run that made an export, prepared, for its test split.

    Args:
        export: Of any stage; it records how its data were configured.
        moved: root, csv and cache_dir where they differ from the recorded ones; None where not.
            A split file is read from the run's own copy, where there is one.
        content: As in `IUXRayDataModule`.

    Raises:
        DataError: The data cannot be read.
        HandoverError: They are not those that the stage was trained on.
    """
    recorded, dims = export.info["data"], export.info["dims"]
    split, own = recorded["split"], export.folder.parent / "split.json"
    if split["file"] is not None and own.is_file():
        split = {**split, "file": str(own)}
    data = IUXRayDataModule(
        **{
            **recorded,
            **{key: value for key, value in moved.items() if value is not None},
            "split": split,
            "labels": _label_rules(recorded["labels"]),
            "augmentations": {},
            "download": False,
        },
        small=dims["small"],
        large=dims["large"],
        content=content,
        resolution=dims["small"],
        batch_size=1,
        seed=0,
        balance_labels=False,
        telling=0.0,
        recombine=False,
    )
    data.prepare_data()
    check_fit(export, vocabulary=data.vocabulary, split_hash=data.split_hash)
    return data


def _label_rules(rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in rule.items() if value is not None} for rule in rules]


def build_module(cfg: DictConfig, data: IUXRayDataModule, parents: Exports) -> StageModule:
    """Return the stage's module with new nets of its own and its parents' nets frozen."""
    module = _BUILDERS[cfg.stage](cfg, plain(cfg[cfg.stage]), data, parents)
    module.freeze_parents()
    return module


def _build_arae(
    cfg: DictConfig, settings: dict[str, Any], data: IUXRayDataModule, _parents: Exports
) -> StageModule:
    size, embedding = data.vocabulary.size, cfg.dims.embedding
    text = {"vocabulary_size": size, "embedding": embedding, "dropout": settings["dropout"]}
    decoder = _pick(settings, "hidden tied") | {"scale": Representation.of(plain(cfg.dims)).scale}
    latent = {"noise": settings["latent_noise"], "embedding": embedding}
    return AraeModule(
        encoder=build_net({"net": "TextEncoder", **text}),
        decoder=build_net({"net": "TextDecoder", **text, **decoder}),
        generator=build_net({"net": "CodeGenerator", **latent}),
        critic=build_net({"net": "CodeCritic", "embedding": embedding}),
        vocabulary=data.vocabulary,
        seed=cfg.seed,
        **_pick(
            settings,
            "rate adversarial_rate against_rate cosine noise noise_decay critic_steps penalty "
            "clip word_dropout substitution latent_noise",
        ),
    )


def _adversarial(
    cfg: DictConfig, settings: dict[str, Any], vocabulary: Vocabulary, encoder: nn.Module, size: int
) -> dict[str, Any]:
    representation = Representation.of(plain(cfg.dims))
    condition = representation.size if settings["condition_on_noise"] else representation.embedding
    return {
        "encoder": encoder,
        "discriminator": build_net(
            {
                "net": "Discriminator",
                "condition": condition,
                "width": settings["width"],
                "size": size,
                "channels": CHANNELS,
                "lean": settings.get("lean", True),
            }
        ),
        "representation": representation,
        "vocabulary": vocabulary,
        "milestones": _milestones(settings),
        "seed": cfg.seed,
        **_pick(
            settings, "rate average condition_on_noise anchor locality code_noise augment teaching"
        ),
    }


def _stage1(
    cfg: DictConfig, settings: dict[str, Any], data: IUXRayDataModule, encoder: nn.Module
) -> dict[str, Any]:
    shared = _adversarial(cfg, settings, data.vocabulary, encoder, cfg.dims.small)
    generator = {
        "net": "GeneratorStage1",
        "representation": shared["representation"].size,
        "width": settings["width"],
        "size": cfg.dims.small,
        "channels": CHANNELS,
    }
    reader = {
        "net": "NoiseEncoder",
        "noise": cfg.dims.noise,
        "width": settings["width"],
        "size": cfg.dims.small,
        "channels": CHANNELS,
        "labels": len(data.label_names),
    }
    teachers = {
        "net": "Teachers",
        "labels": len(data.label_names),
        "width": TEACHER_WIDTH,
        "size": cfg.dims.small,
        "channels": CHANNELS,
    }
    return {
        "generator": build_net(generator),
        "noise_encoder": build_net(reader) if settings["anchor"] else None,
        "teachers": build_net(teachers) if settings["teaching"] else None,
        **_pick(settings, "divergence leak"),
        **shared,
    }


def _build_gan1(
    cfg: DictConfig, settings: dict[str, Any], data: IUXRayDataModule, parents: Exports
) -> StageModule:
    return Gan1Module(**_stage1(cfg, settings, data, parents["arae"].net("encoder")))


def _build_embedding_gan1(
    cfg: DictConfig, settings: dict[str, Any], data: IUXRayDataModule, _parents: Exports
) -> StageModule:
    encoder = {
        "net": "TextEncoder",
        "vocabulary_size": data.vocabulary.size,
        "embedding": cfg.dims.embedding,
        "dropout": 0.0,
    }
    return EmbeddingGan1Module(**_stage1(cfg, settings, data, build_net(encoder)))


def _build_gan2(
    cfg: DictConfig, settings: dict[str, Any], data: IUXRayDataModule, parents: Exports
) -> StageModule:
    encoder = parents["arae"].net("encoder")
    shared = _adversarial(cfg, settings, data.vocabulary, encoder, cfg.dims.large)
    generator = {
        "net": "GeneratorStage2",
        "representation": shared["representation"].size,
        "width": settings["width"],
        "small": cfg.dims.small,
        "size": cfg.dims.large,
        "channels": CHANNELS,
        **_pick(settings, "reading skip"),
    }
    return Gan2Module(
        generator=build_net(generator),
        stage1=parents["gan1"].net("generator"),
        noise_encoder=_read_noise(parents["gan1"]) if settings["anchor"] else None,
        teachers=_teachers(parents["gan1"]) if settings["teaching"] else None,
        consistency=settings["consistency"],
        **shared,
    )


def _read_noise(gan1: StageExport) -> NoiseEncoder:
    encoder = noise_encoder(gan1)
    if encoder is None:
        raise ConfigError(
            f"gan2.anchor: {gan1.folder} was trained with gan1.anchor=0 and reads no noise off "
            "X-rays; set gan2.anchor=0"
        )
    return encoder


def _teachers(gan1: StageExport) -> nn.Module:
    if "teachers" not in gan1.info["nets"]:
        raise ConfigError(
            f"gan2.teaching: {gan1.folder} was trained with gan1.teaching=0 and has no teachers; "
            "set gan2.teaching=0"
        )
    return gan1.net("teachers")


def noise_encoder(gan1: StageExport) -> NoiseEncoder | None:
    """Return the net of a stage I that reads noise off X-rays; None without `anchor`."""
    known = "noise_encoder" in gan1.info["nets"]
    return cast(NoiseEncoder, gan1.net("noise_encoder")) if known else None


def _build_inverse(
    cfg: DictConfig, settings: dict[str, Any], data: IUXRayDataModule, parents: Exports
) -> StageModule:
    representation = Representation.of(plain(cfg.dims))
    inverse = {
        "net": "InverseMapping",
        "embedding": representation.embedding,
        "noise": representation.noise,
        "scale": representation.scale,
        "width": settings["width"],
        "size": cfg.dims.small,
        "channels": CHANNELS,
        **_pick(settings, "dropout convolution_dropout residual_blocks"),
    }
    return InverseModule(
        inverse=build_net(inverse),
        familiarity=build_familiarity(cfg.dims.small, data),
        encoder=parents["arae"].net("encoder"),
        decoder=parents["arae"].net("decoder"),
        generator=parents["gan1"].net("generator"),
        noise_encoder=noise_encoder(parents["gan1"]),
        representation=representation,
        vocabulary=data.vocabulary,
        milestones=_milestones(settings),
        label_weights=_label_weights(data) if settings["balance_labels"] else None,
        caption_length=cfg.data.captions.max_words + 2,
        references=_references(data),
        **_pick(
            settings,
            "rate image_weight embedding_weight noise_weight caption_weight label_measure average",
        ),
    )


def build_familiarity(size: int, data: IUXRayDataModule) -> Familiarity:
    """Return what tells X-rays unlike those of the training split, fitted to them."""
    familiarity = cast(Familiarity, build_net({"net": "Familiarity", "size": size}))
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    train, validation = (data.evaluation_images(split, size)[0] for split in splits)
    familiarity.fit(to_tensor(train[:: math.ceil(len(train) / LEARNT)]), to_tensor(validation))
    return familiarity


def _build_classifier(
    _cfg: DictConfig, settings: dict[str, Any], data: IUXRayDataModule, _parents: Exports
) -> StageModule:
    net = {
        "net": "Classifier",
        "architecture": settings["net"],
        "labels": len(data.label_names),
        **_pick(settings, "width resolution"),
    }
    classifier = cast(Classifier, build_net(net))
    if settings["weights"] is not None:
        classifier.load_published(Path(settings["weights"]), "classifier.weights")
    return ClassifierModule(
        classifier=classifier,
        vocabulary=data.vocabulary,
        label_weights=_label_weights(data) if settings["balance_labels"] else None,
        **_pick(settings, "rate decay"),
    )


def _build_captioner(
    cfg: DictConfig, settings: dict[str, Any], data: IUXRayDataModule, _parents: Exports
) -> StageModule:
    net = {
        "net": "ConvolutionalCaptioner",
        "vocabulary_size": data.vocabulary.size,
        **_pick(settings, "width resolution batch_norm"),
    }
    captioner = cast(ConvolutionalCaptioner, build_net(net))
    if settings["weights"] is not None:
        captioner.vision.load_published(Path(settings["weights"]), "captioner.weights")
    return CaptionerModule(
        captioner=captioner,
        vocabulary=data.vocabulary,
        milestones=_milestones(settings, "drop_at"),
        caption_length=cfg.data.captions.max_words + 2,
        references=_references(data),
        **_pick(settings, "rate vision_rate vision_from"),
    )


def _build_segmenter(
    _cfg: DictConfig, settings: dict[str, Any], _data: IUXRayDataModule, _parents: Exports
) -> StageModule:
    net = build_net({"net": "Segmenter", **_pick(settings, "width resolution")})
    return SegmenterModule(segmenter=net, **_pick(settings, "rate decay average"))


_BUILDERS = {
    "arae": _build_arae,
    "gan1": _build_gan1,
    "gan2": _build_gan2,
    "inverse": _build_inverse,
    "classifier": _build_classifier,
    "embedding_gan1": _build_embedding_gan1,
    "captioner": _build_captioner,
    "segmenter": _build_segmenter,
}


def net_specs(module: StageModule) -> dict[str, Any]:
    """Return class and sizes of the nets that a module exports."""
    return {name: _spec(net) for name, net in module.exports().items()}


def _spec(net: nn.Module) -> Any:
    return net.spec


def _pick(settings: dict[str, Any], names: str) -> dict[str, Any]:
    return {name: settings[name] for name in names.split()}


def _milestones(settings: dict[str, Any], shares: str = "halve_at") -> list[int]:
    return [round(share * settings["max_epochs"]) for share in settings[shares]]


def _references(data: IUXRayDataModule) -> list[list[str]]:
    """Return the captions of each row of the table as text."""
    return [[" ".join(words) for words in captions] for captions in data.table.images["captions"]]


def _label_weights(data: IUXRayDataModule) -> list[float]:
    """Return the labels' inverse frequencies in the training split, with mean 1 over its images."""
    images = data.table.images
    counts = images[images["split"] == "train"]["label"].value_counts()
    present = len(counts)
    return [
        float(counts.sum() / (present * counts[name])) if name in counts else 1.0
        for name in data.label_names
    ]
