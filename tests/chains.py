"""Untrained chains, small enough for a test and handed over like trained ones."""

from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir

from xrj.build import build_data, build_module, net_specs
from xrj.config import STAGES, plain, register
from xrj.handover import Kept, load_export, write_export
from xrj.justify.mapping import MappingSettings
from xrj.measures.agreement import Lexicon
from xrj.programs import CONF as CONF

SMALL, LARGE = 16, 64
SIZES = [
    "dims={embedding: 8, noise: 4, noise_kind: normal, code_scale: sqrt_dim, small: 16, large: 64}",
    "data.phantom={reports: 40, seed: 3, size: 96, cardiomegaly: 0.45, other: 0.1}",
    "data.captions.min_count=2",
    "data.split.fractions=[0.5, 0.2, 0.3]",
    *(
        f"{stage}.width=2"
        for stage in ("gan1", "gan2", "inverse", "classifier", "captioner", "segmenter")
    ),
    "arae.hidden=8",
    "arae.latent_noise=4",
    "captioner.resolution=64",
]


def write_chain(runs: Path, name: str, cache: Path, *changes: str) -> None:
    """Export every stage of an untrained chain on a small phantom."""
    register()
    exports = {}
    for stage in STAGES:
        overrides = [f"stage={stage}", f"name={name}", f"runs={runs}", f"data.cache_dir={cache}"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", [*overrides, *SIZES, *changes])
        data = build_data(cfg)
        if stage == "arae":
            data.prepare_data()
        module = build_module(cfg, data, exports)
        weights = {
            f"{part}.{key}": value.clone()
            for part, net in module.exports().items()
            for key, value in net.state_dict().items()
        }
        selections = ("ours_label", "ours_caption") if stage == "inverse" else ("best",)
        write_export(
            runs / name / stage / "export",
            stage=stage,
            nets=net_specs(module),
            kept={selection: Kept(1, "none", {}, weights) for selection in selections},
            dims=plain(cfg.dims),
            vocabulary=data.vocabulary,
            split_hash=data.split_hash,
            parents={parent: exports[parent].hash for parent in STAGES[stage]},
            data=plain(cfg.data),
        )
        exports[stage] = load_export(runs / name / stage, stage)


def mapping_settings(**changes) -> MappingSettings:
    """Return the mapping's settings but few iterations and even weights, with some changed."""
    config = yaml.safe_load((CONF / "mapping" / "default.yaml").read_text())
    return MappingSettings(**config | {"steps": 5, "tries": 5, "img_similarity": 1.0} | changes)


def heart_lexicon() -> Lexicon:
    """Return the rules for normal hearts and cardiomegaly."""
    return Lexicon.from_config(yaml.safe_load((CONF / "lexicon" / "heart.yaml").read_text()))
