"""The justification as an object and as JSON."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.chains import LARGE, SMALL, mapping_settings
from xrj.errors import HandoverError
from xrj.justify.justification import justify
from xrj.justify.model import STAGES, JustificationModel

FILES = {
    kind: {str(size): f"{kind}_{size}.png" for size in (SMALL, LARGE)}
    for kind in ("reconstruction", "alternative")
}


def test_json_has_the_promised_keys_and_no_other(justification, model):
    record = json.loads(json.dumps(justification.to_json(model, FILES), allow_nan=False))
    assert list(record) == [
        *("image", "diagnosis", "certainty", "caption", "reconstruction", "alternative"),
        *("model", "version"),
    ]
    assert list(record["alternative"]) == [
        *("diagnosis", "caption", "certainty", "xray", "converged", "tries", "seconds", "loss")
    ]
    assert set(record["alternative"]["loss"]) == {
        *("alt_diagnosis", "img_similarity", "emb_similarity")
    }
    assert set(record["model"]) == {"name", "stages", "split"}
    assert set(record["model"]["stages"]) == {"arae", "gan1", "gan2", "inverse"}
    assert set(record["reconstruction"]) == set(record["alternative"]["xray"]) == {"16", "64"}


def test_json_has_the_promised_types(justification, model):
    record = justification.to_json(model, FILES)
    other = record["alternative"]
    labels = {"normal", "cardiomegaly"}
    assert {record["diagnosis"], other["diagnosis"]} == labels
    for certainty in (record["certainty"], other["certainty"]):
        assert set(certainty) == labels
        assert sum(certainty.values()) == pytest.approx(1)
    assert record["diagnosis"] == max(record["certainty"], key=record["certainty"].get)
    assert type(other["converged"]) is bool
    assert type(other["tries"]) is int
    assert type(other["seconds"]) is float
    assert isinstance(record["caption"], str)
    assert record["image"].endswith("patient.png")
    assert record["model"]["stages"]["gan2"] == model.exports["gan2"].hash


def test_an_infinite_loss_is_null(justification, model):
    terms = {"alt_diagnosis": math.inf, "img_similarity": 1.0, "emb_similarity": math.nan}
    broken = replace(justification, mapping=replace(justification.mapping, terms=terms))
    loss = broken.to_json(model, FILES)["alternative"]["loss"]
    assert loss == {"alt_diagnosis": None, "img_similarity": 1.0, "emb_similarity": None}


def test_pictures_have_the_models_sizes(justification, model):
    assert model.sizes == (SMALL, LARGE)
    assert justification.original.shape == (LARGE, LARGE)
    for reading in (justification.found, justification.alternative):
        assert reading.small.shape == (SMALL, SMALL)
        assert reading.large.shape == (LARGE, LARGE)
        assert reading.small.dtype == reading.large.dtype == np.uint8


def test_the_same_seed_gives_the_same_justification(model, image, justification, tmp_path):
    settings = mapping_settings(tries=2)
    again = justify(model, image, tmp_path / "elsewhere" / "patient.png", settings, seed=0)
    assert torch.equal(again.mapping.r, justification.mapping.r)
    assert np.array_equal(again.found.large, justification.found.large)


def test_nothing_of_the_model_changes(model, image, tmp_path):
    nets = (model.encoder, model.decoder, model.stage1, model.stage2, model.inverse)
    before = [{k: v.clone() for k, v in net.state_dict().items()} for net in nets]
    justify(model, image, tmp_path / "x.png", mapping_settings(tries=1), seed=0)
    for net, state in zip(nets, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
        assert not net.training
        assert not any(parameter.requires_grad for parameter in net.parameters())


def test_a_selection_that_was_not_kept_is_named(chain_runs):
    folders = {stage: chain_runs / "tiny" / stage for stage in STAGES}
    with pytest.raises(HandoverError, match="keeps ours_label, ours_caption, not 'best'"):
        JustificationModel.load(folders, "tiny", "best", "cpu")
