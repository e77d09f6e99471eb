import dataclasses
import re
import shutil

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from tests.tiny import ROOT, compose_train
from xrj.checks import check, identity
from xrj.config import STAGES, TrainConfig, plain
from xrj.errors import ConfigError
from xrj.nets.representation import Representation

EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
SOURCES = sorted(
    path.stem for path in (ROOT / "conf" / "data").glob("*.yaml") if path.stem != "_base"
)


BAD_NAMES = ("", " ", ".", "../x", "a/../../x", "/x")


@pytest.fixture(scope="module")
def composed():
    return compose_train("stage=gan1")


@pytest.fixture
def cfg(composed):
    return composed.copy()


@pytest.mark.parametrize("experiment", [None, *EXPERIMENTS])
@pytest.mark.parametrize("source", SOURCES)
def test_everything_composes(experiment, source):
    cfg = compose_train(f"data={source}", *([f"experiment={experiment}"] if experiment else []))
    assert cfg.data.source == source
    for stage in STAGES:
        cfg.stage = stage
        check(cfg)
        assert plain(cfg)  # resolves, nothing missing
        settings = identity(cfg)
        assert settings["stage"] == stage
        assert any(key.startswith(f"{stage}.") for key in settings)


def test_the_command_line_beats_the_experiment():
    assert compose_train("experiment=demo").name == "demo"
    cfg = compose_train("experiment=demo", "name=mine", "gan1.width=5")
    assert (cfg.name, cfg.gan1.width) == ("mine", 5)


def test_residual_blocks_are_for_real_xrays_and_not_the_papers():
    for experiment, blocks in (
        ("small", 1),
        ("demo", 0),
        ("[demo,large]", 0),
        ("[paper,small]", 0),
    ):
        assert compose_train(f"experiment={experiment}").inverse.residual_blocks == blocks


def test_the_larger_phantom_keeps_all_of_the_demo_but_its_length():
    demo, large = compose_train("experiment=demo"), compose_train("experiment=[demo,large]")
    assert large.data.phantom.reports == 4 * demo.data.phantom.reports
    assert (large.gan1.width, large.gan1.locality) == (demo.gan1.width, demo.gan1.locality)
    chain = [stage for stage in STAGES if stage != "segmenter"]
    steps = {stage: 4 * large[stage].max_epochs / demo[stage].max_epochs for stage in chain}
    assert all(1 <= times <= 1.5 for times in steps.values()), steps
    assert compose_train("experiment=[paper,demo,large]").gan1.anchor == 0


def test_three_labels_keep_all_of_the_demo_but_the_data_and_the_teaching():
    demo, three = compose_train("experiment=demo"), compose_train("experiment=three")
    assert [label.name for label in three.data.labels] == [
        "normal",
        "cardiomegaly",
        "pleural effusion",
    ]
    assert three.data.phantom.effusion > 0.15
    assert all(three[stage] == demo[stage] for stage in STAGES if "gan" not in stage)
    changed = {
        (stage, key)
        for stage in ("gan1", "gan2")
        for key in demo[stage]
        if three[stage][key] != demo[stage][key]
    }
    own = {("gan1", "max_epochs")}
    assert changed == {(x, y) for x in ("gan1", "gan2") for y in ("locality", "teaching")} | own


def test_the_paper_is_followed_to_the_letter():
    cfg = compose_train("experiment=paper")
    dims = plain(cfg.dims)
    assert (dims["embedding"], dims["noise"], dims["small"], dims["large"]) == (300, 100, 64, 256)
    assert Representation.of(dims).scale == 1
    assert (cfg.arae.max_epochs, cfg.inverse.max_epochs) == (300, 100)
    assert cfg.gan1.width == cfg.gan2.width == 96
    assert cfg.gan1.condition_on_noise
    assert str(cfg.gan2.reading) == "paper"
    assert not cfg.gan2.skip
    assert not cfg.gan2.lean
    assert cfg.gan2.consistency == cfg.inverse.noise_weight == cfg.inverse.caption_weight == 0
    assert (cfg.inverse.convolution_dropout, cfg.inverse.dropout) == (0.1, 0.5)
    assert cfg.inverse.residual_blocks == 0


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_a_noise_sweep_names_its_points_and_shares_the_arae(kind):
    cfg = compose_train("experiment=noise_sweep", "dims.noise=50", f"dims.noise_kind={kind}")
    assert cfg.name == f"noise/{kind}50"
    assert cfg.parents.arae == "runs/default/arae"
    assert cfg.parents.gan1 == f"runs/noise/{kind}50/gan1"
    assert cfg.stage == "gan1"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("no_such_key=1", "Could not override 'no_such_key'"),
        ("gan1.no_such_key=1", "Could not override 'gan1.no_such_key'"),
        ("dims.noise=many", "dims.noise=many"),
        ("gan2.reading=loose", "gan2.reading=loose"),
        ("data.source=nowhere", "data.source=nowhere"),
        ("data=nowhere", "data/nowhere"),
        ("experiment=nothing", "experiment/nothing"),
    ],
)
def test_what_is_not_in_the_schema_does_not_compose(override, words):
    with pytest.raises(ConfigCompositionException, match=re.escape(words)):
        compose_train(override)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("stage", "gan3", "stage=gan3: unknown; choose one of arae, gan1, gan2, inverse"),
        ("dims.small", 48, "dims.small=48"),
        ("dims.large", 4, "dims.large=4"),
        ("dims.large", 64, "dims.large=64: must exceed dims.small=64"),
        ("gan1.batch_size", 1, "gan1.batch_size=1: must be at least 2"),
        ("gan1.max_epochs", 0, "gan1.max_epochs=0: must be at least 1"),
        ("gan1.width", 0, "gan1.width=0: must be at least 1"),
        ("gan1.rate", -1.0, "gan1.rate=-1.0: must be at least 0"),
        ("gan1.average", 1.5, "gan1.average=1.5: must be at most 1"),
        ("dims.embedding", 0, "dims.embedding=0: must be at least 1"),
        ("logger.pictures_every", 0, "logger.pictures_every=0: must be at least 1"),
        ("data.margin", -0.5, "data.margin=-0.5: must be at least 0"),
        ("data.captions.max_words", 0, "data.captions.max_words=0: must be at least 1"),
        ("logger.wandb", "sometimes", "logger.wandb=sometimes: choose offline"),
        ("trainer.callbacks", {"x": {"a": 1}}, "trainer.callbacks.x={'a': 1}: has no _target_"),
        *((("name"), name, f"name={name}: must be a folder below runs") for name in BAD_NAMES),
    ],
)
def test_settings_that_cannot_run_are_refused(cfg, key, value, words):
    OmegaConf.update(cfg, key, value, force_add=True)
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        check(cfg)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.run",
        "torch.load",
        "xrj.files.write_json",
        "albumentations_evil.Crop",
        "albumentations.core.serialization.load",
        "pytorch_lightning.callbacks.model_checkpoint.shutil.rmtree",
        "pytorch_lightning.callbacks.model_checkpoint.os.system",
        "pytorch_lightning.Trainer",
    ],
)
@pytest.mark.parametrize(
    ("key", "wrap"),
    [
        ("trainer.callbacks", lambda node: {"x": node}),
        ("trainer.callbacks", lambda node: {"x": {"_target_": "albumentations.Blur", "y": [node]}}),
        ("data.augmentations", lambda node: [node]),
    ],
    ids=["callback", "nested", "augmentation"],
)
def test_targets_outside_the_allow_list_are_refused(cfg, target, key, wrap):
    OmegaConf.update(cfg, key, wrap({"_target_": target}), force_add=True)
    with pytest.raises(ConfigError, match=re.escape(f"_target_={target}: not allowed")):
        check(cfg)


@pytest.mark.parametrize("key", ["typo", "gan1.typo", "data.captions.typo"])
def test_a_key_that_is_forced_in_is_refused(key):
    with pytest.raises(ConfigError, match=f"{re.escape(key)}: no such setting; .*knows "):
        check(compose_train(f"+{key}=1"))


@pytest.mark.parametrize("stage", ["gan1", "gan2", "embedding_gan1"])
def test_noise_that_is_read_off_xrays_is_normal(stage):
    uniform = [f"stage={stage}", "dims.noise_kind=uniform"]
    with pytest.raises(ConfigError, match=re.escape(f"set {stage}.anchor=0")):
        check(compose_train(*uniform))
    check(compose_train(*uniform, f"{stage}.anchor=0"))
    check(compose_train("dims.noise_kind=uniform"))  # stage arae has no noise


def test_a_diagnosis_needs_two_labels(cfg):
    cfg.data.labels = cfg.data.labels[:1]
    check(cfg)
    cfg.stage = "inverse"
    with pytest.raises(ConfigError, match="at least two labels"):
        check(cfg)


@pytest.mark.parametrize("name", ["a b", "Zoë", "noise/normal50", "x..y"])
def test_any_folder_name_is_taken(cfg, name):
    cfg.name = name
    check(cfg)


def test_targets_of_the_allow_list_are_taken():
    cfg = compose_train(
        "data.augmentations=[{_target_: albumentations.Rotate, limit: 3}]",
        "+trainer.callbacks.x={_target_: pytorch_lightning.callbacks.Timer}",
    )
    check(cfg)
    assert len(cfg.data.augmentations) == len(cfg.trainer.callbacks) == 1


def test_identity_ignores_where_things_lie_and_what_is_logged(composed):
    first = identity(composed)
    second = identity(
        compose_train(
            "stage=gan1",
            "name=other",
            "runs=/elsewhere",
            "data.root=/data",
            "data.csv=/data.csv",
            "data.cache_dir=/cache",
            "data.split.file=/split.json",
            "data.num_workers=2",
            "logger.wandb=disabled",
            "trainer.accelerator=cpu",
            "+trainer.callbacks.x={_target_: pytorch_lightning.callbacks.Timer}",
            "gan2.width=5",
            "inverse.max_epochs=1",
        )
    )
    assert first == second


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("gan1.width", 5),
        ("gan1.max_epochs", 2),
        ("dims.noise", 7),
        ("data.source", "manifest"),
        ("data.split.seed", 3),
        ("data.phantom.reports", 9),
        ("data.augmentations", [{"_target_": "albumentations.Blur"}]),
        ("trainer.devices", 2),
        ("trainer.precision", "bf16-mixed"),
    ],
)
def test_identity_holds_what_makes_the_weights(cfg, key, value):
    before = identity(cfg)
    OmegaConf.update(cfg, key, value, force_add=True)
    changed = {name for name, now in identity(cfg).items() if before[name] != now}
    assert changed == {key}


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "16-true", "32", "bf16", "8"])
def test_a_precision_that_stages_are_not_trained_in_is_refused(precision):
    with pytest.raises(
        ConfigError, match=f"trainer.precision={precision}: .* auto, 32-true, bf16-mixed"
    ):
        check(compose_train("stage=arae", f"trainer.precision={precision}"))
    check(compose_train("stage=arae", "trainer.precision=16-mixed"))


def test_every_setting_has_its_value_in_conf():
    """The schema types; every number is in conf/ (an optional path may be null)."""

    def defaults(cls, path=""):
        for field in dataclasses.fields(cls):
            name = f"{path}{field.name}"
            nested = OmegaConf.structured(cls)._metadata.object_type
            assert nested is cls
            if dataclasses.is_dataclass(field.type):
                yield from defaults(field.type, f"{name}.")
            else:
                yield name, field.default

    assert {default for _, default in defaults(TrainConfig)} == {"???", None}


def test_labels_of_ones_own_compose_as_documented(tmp_path):
    """The block of docs/data.md, copied to where it says."""
    text = (ROOT / "docs" / "data.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf" / "local").mkdir(exist_ok=True)
    (tmp_path / "conf" / "local" / "default.yaml").write_text(block)
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        cfg = compose("train", ["data=manifest"])
    check(cfg)
    assert [label.name for label in cfg.data.labels] == ["normal", "cardiomegaly", "effusion"]


def test_slurm_composes():
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(
            "train",
            ["cluster=slurm", "trainer.num_nodes=2", "hydra.launcher.tasks_per_node=4"],
            return_hydra_config=True,
        )
    launcher = cfg.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert launcher.submitit_folder == "runs/.submitit/%j"
    assert (launcher.nodes, launcher.tasks_per_node, launcher.gpus_per_node) == (2, 4, 4)
    assert launcher.array_parallelism == 1  # the stages of a chain wait for each other
    assert launcher.max_num_timeout > 0  # a job that is queued again continues
    assert "launcher" not in cfg
    assert cfg.hydra.sweeper.max_batch_size is None
