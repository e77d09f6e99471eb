"""A chain of three labels, small, from the phantom to alternatives of each ordered pair."""

import json
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from tests.tiny import ROOT, compose_train, places
from xrj.config import register
from xrj.errors import ConfigError
from xrj.run import train
from xrj.tasks import run_task

pytestmark = pytest.mark.slow

LABELS = ("normal", "cardiomegaly", "pleural effusion")
SMALL = [
    *("experiment=three", "name=three", "logger.wandb=disabled"),
    "data.phantom={reports: 260, size: 96, cardiomegaly: 0.3, effusion: 0.3, other: 0.05}",
    "data.captions.min_count=2",
    "data.split.fractions=[0.7, 0.1, 0.2]",
    "dims={embedding: 48, noise: 16, small: 32, large: 64}",
    *("arae.max_epochs=40", "arae.hidden=96", "arae.latent_noise=16"),
    *("gan1.max_epochs=24", "gan1.width=8", "gan2.max_epochs=3", "gan2.width=6"),
    *("inverse.max_epochs=30", "inverse.width=12", "inverse.batch_size=16"),
    *("classifier.max_epochs=16", "classifier.width=16", "classifier.resolution=64"),
    "classifier.batch_size=16",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    for stage in ("arae", "gan1", "gan2", "inverse", "classifier"):
        train(compose_train(*SMALL, *places(folder), f"stage={stage}"))
    return folder / "runs"


def infer(runs, *overrides):
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        run_task(compose("infer", [f"runs={runs}", "name=three", *overrides]))


@pytest.fixture(scope="module")
def records(runs, tmp_path_factory):
    """Justify the frontal X-rays of the phantom towards each label; return the JSONs by label."""
    (phantom,) = (runs.parent / "cache").glob("phantom-*")
    truth = pd.read_csv(phantom / "truth.csv")
    truth = truth[(truth["view"] == "frontal") & truth["label"].isin(LABELS)]
    images = tmp_path_factory.mktemp("images")
    for name in truth.groupby("label").head(8)["image_id"]:
        (images / f"{name}.png").symlink_to(phantom / f"NLMCXR_png/{name}.png")
    found = {}
    for label in LABELS:
        out = tmp_path_factory.mktemp("out")
        infer(runs, f"image={images}", f"out={out}", f"towards={label}", "walk=2")
        files = out.glob("*/justification.json")
        found[label] = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    return found


@pytest.mark.parametrize(("own", "target"), permutations(LABELS, 2))
def test_each_label_is_justified_towards_each_other(records, own, target):
    pair = [one for one in records[target] if one["diagnosis"] == own]
    assert len(pair) >= 4
    assert {one["alternative"]["diagnosis"] for one in pair} == {target}
    evidence = [one["evidence"] for one in pair]
    assert np.mean([one["validity"]["decoder"] for one in evidence]) == 1
    assert np.mean([one["validity"]["reencoded"] for one in evidence]) >= 0.7
    for one in evidence:
        assert one["validity"]["independent"] is not None
        assert set(one["certainty"]["independent"]) == set(LABELS)
        assert one["captions"]["alternative"] is not None


def test_an_xray_that_has_the_label_gets_its_nearest_alternative(records):
    for label in LABELS:
        own = [one for one in records[label] if one["diagnosis"] == label]
        assert own
        assert {one["alternative"]["diagnosis"] for one in own} <= set(LABELS) - {label}


def test_a_label_that_the_chain_does_not_have_is_refused_in_one_line(runs, tmp_path):
    with pytest.raises(ConfigError, match=r"^towards=fracture: .* pleural effusion") as caught:
        infer(runs, f"image={ROOT}", f"out={tmp_path}", "towards=fracture")
    assert "\n" not in str(caught.value)


def test_the_report_measures_three_labels(runs, tmp_path):
    infer(runs, "task=report", "count=3", "mapped=6", f"out={tmp_path}/report")
    summary = json.loads((tmp_path / "report/summary.json").read_text())
    assert summary["measures"]["diagnosis"]["balanced_accuracy"]["value"] > 0.6
    assert summary["measures"]["captions"]["agree"] is not None
