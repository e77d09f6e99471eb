"""The justification as an object and as JSON."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.chains import LARGE, SMALL, mapping_settings
from tests.justify.handmade import made, vote
from tests.justify.toy import Toy, picture
from xrj.errors import HandoverError
from xrj.justify.justification import justify, justify_all
from xrj.justify.model import STAGES, JustificationModel
from xrj.justify.reading import diagnose_all
from xrj.justify.refinement import RefinementSettings


def test_json_has_the_promised_keys_and_no_other(justification):
    record = json.loads(json.dumps(justification.to_dict(), allow_nan=False))
    assert list(record) == [
        *("image", "diagnosis", "certainty", "caption", "classifier", "reconstruction"),
        *(
            "refinement",
            "alternative",
            "walk",
            "evidence",
            "saliency",
            "model",
            "version",
            "doubts",
        ),
    ]
    assert set(record["refinement"]) == {"error_before", "error_after", "evaluations", "seconds"}
    assert list(record["alternative"]) == [
        *("diagnosis", "caption", "certainty", "xray", "on_xray", "converged", "tries"),
        *("evaluations", "seconds", "loss"),
    ]
    assert set(record["alternative"]["loss"]) == {
        *("alt_diagnosis", "img_similarity", "emb_similarity")
    }
    assert set(record["walk"]) == {"file", "certainty"}
    evidence = record["evidence"]
    assert set(evidence) == {
        *("unlike", "frontal", "validity", "certainty", "distance", "change", "ctr", "captions"),
        "reconstruction",
        "warnings",
    }
    assert set(evidence["captions"]) == {"found", "alternative", "repeated"}
    assert set(evidence["reconstruction"]) == {"unexplained", "allowed"}
    judges = {"decoder", "reencoded", "independent", "on_xray", "on_xray_independent"}
    assert set(evidence["validity"]) == set(evidence["certainty"]) == judges
    assert set(evidence["distance"]) == {"original", "reconstruction", "embedding", "noise"}
    for of in ("original", "reconstruction"):
        assert set(evidence["distance"][of]) == {"l1", "l2", "ssim"}
    assert set(evidence["change"]) == {"heart_share", "changed_share"}
    assert set(evidence["ctr"]) == {
        *("original", "reconstruction", "alternative", "change", "confident", "towards"),
        *("direction", "widths"),
    }
    assert set(record["model"]) == {"name", "stages", "split", "data", "trained_on", "tells_unlike"}
    assert set(record["model"]["stages"]) == {"arae", "gan1", "gan2", "inverse"}
    assert set(record["reconstruction"]) == set(record["alternative"]["xray"]) == {"16", "64"}


def test_json_has_the_promised_types(justification, model):
    record = justification.to_dict()
    other, evidence = record["alternative"], record["evidence"]
    labels = {"normal", "cardiomegaly"}
    assert {record["diagnosis"], other["diagnosis"]} == labels
    for certainty in (record["certainty"], other["certainty"], *record["walk"]["certainty"]):
        assert set(certainty) == labels
        assert sum(certainty.values()) == pytest.approx(1)
    assert record["diagnosis"] == max(record["certainty"], key=record["certainty"].get)
    assert type(other["converged"]) is bool
    assert type(other["tries"]) is type(other["evaluations"]) is int
    assert type(other["seconds"]) is float
    assert isinstance(record["caption"], str)
    assert record["image"] == "folder/patient.png"
    assert record["model"]["stages"]["gan2"] == model.exports["gan2"].hash
    assert record["classifier"] is evidence["validity"]["independent"] is None
    assert type(evidence["validity"]["reencoded"]) is bool
    assert all(isinstance(warning, str) for warning in evidence["warnings"])


def test_json_without_and_with_the_parts_that_may_be_missing():
    bare = made(refinement=None, one_shot=None, saliency=(), found_by_classifier=None)
    record = bare.to_dict()
    assert record["refinement"] is None
    assert record["classifier"] is None
    assert record["saliency"] == []
    full = made(found_by_classifier=vote(0.2, "normal"))
    record = full.to_dict()
    assert record["classifier"]["diagnosis"] == "normal"
    assert record["saliency"][0] == {
        "method": "attention_intermediate",
        "title": "Attention intermediate",
        "target": None,
        "file": "saliency_attention_intermediate.webp",
    }


def test_an_infinite_loss_is_null(justification):
    terms = {"alt_diagnosis": math.inf, "img_similarity": 1.0, "emb_similarity": math.nan}
    broken = replace(justification, mapping=replace(justification.mapping, terms=terms))
    loss = broken.to_dict()["alternative"]["loss"]
    assert loss == {"alt_diagnosis": None, "img_similarity": 1.0, "emb_similarity": None}


def test_pictures_have_the_models_sizes(justification, model, settings):
    assert model.sizes == (SMALL, LARGE)
    assert justification.original.shape == justification.one_shot.shape == (LARGE, LARGE)
    for reading in (justification.found, justification.alternative):
        assert reading.small.shape == (SMALL, SMALL)
        assert reading.large.shape == (LARGE, LARGE)
        assert reading.small.dtype == reading.large.dtype == np.uint8
    assert len(justification.walk) == settings.walk
    assert {step.picture.shape for step in justification.walk} == {(LARGE, LARGE)}


def test_the_same_seed_gives_the_same_justification(model, image, justification, settings):
    again = justify(model, image, "elsewhere/patient.png", settings, seed=0)
    assert torch.equal(again.mapping.r, justification.mapping.r)
    assert np.array_equal(again.found.large, justification.found.large)


def test_the_walk_goes_from_what_was_found_to_the_alternative(justification):
    first, last = justification.walk[0], justification.walk[-1]
    for step, end in ((first, justification.found), (last, justification.alternative)):
        assert np.allclose(step.picture, end.large.astype(int), atol=1)
        assert step.certainty == pytest.approx(end.certainty, abs=1e-4)


def test_the_refinement_changes_neither_diagnosis_nor_caption(model, image, justification):
    (said,) = diagnose_all(model, [image])
    assert said.diagnosis == justification.found.diagnosis
    assert said.caption == justification.found.caption
    assert said.certainty == pytest.approx(justification.found.certainty, abs=1e-5)
    refined, _ = model.split(justification.refinement.r)
    view = model.view(image, SMALL)[None]
    with torch.no_grad():
        code, _ = model.split(model.encode(model.to_images(view)))
    assert torch.allclose(refined, code, atol=1e-6)


def test_nothing_of_the_model_changes(model, image, settings):
    nets = (model.decoder, model.stage1, model.stage2, model.inverse)
    before = [{k: v.clone() for k, v in net.state_dict().items()} for net in nets]
    justify(model, image, "x.png", settings, seed=0)
    for net, state in zip(nets, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
        assert not net.training
        assert not any(parameter.requires_grad for parameter in net.parameters())


def test_a_classifier_gives_its_vote_and_its_maps(chain_runs, image, settings):
    folders = {stage: chain_runs / "tiny" / stage for stage in (*STAGES, "classifier")}
    model = JustificationModel.load(folders, "tiny", "ours_label", 4, "cpu")
    found = justify(model, image, "x.png", settings, seed=0)
    assert set(found.found_by_classifier.certainty) == set(model.labels)
    independent = found.evidence.independent
    assert independent.agrees == (independent.label == found.target)
    assert len(found.saliency) == 4
    assert all(one.values.shape == (LARGE, LARGE) for one in found.saliency)
    assert "classifier" in model.identity["stages"]
    bare = justify(model, image, "x.png", replace(settings, saliency=False), seed=0)
    assert bare.saliency == ()


def test_a_classifier_may_be_missing(chain_runs, tmp_path):
    folders = {stage: chain_runs / "tiny" / stage for stage in STAGES}
    model = JustificationModel.load(
        folders | {"classifier": tmp_path / "none"}, "tiny", "ours_label", 4, "cpu"
    )
    assert model.classifier is None
    assert "classifier" not in model.identity["stages"]


def test_a_selection_that_was_not_kept_is_named(chain_runs):
    folders = {stage: chain_runs / "tiny" / stage for stage in STAGES}
    with pytest.raises(HandoverError, match="keeps ours_label, ours_caption, not 'best'"):
        JustificationModel.load(folders, "tiny", "best", 4, "cpu")


# Any model that keeps to the interface

LEFT, RIGHT, UPPER = (-0.3, -0.1, 0.2, 0.0, 0.1), (0.25, -0.2, 0.0, 0.3, 0.0), (0.05, 0.3, 0, 0, 0)


@pytest.fixture
def toy_settings(settings):
    mapping = mapping_settings(emb_similarity=1.0)
    refinement = RefinementSettings(steps=0, noise_weight=0.0)
    return replace(settings, mapping=mapping, refinement=refinement, batch=2)


def test_a_model_of_ones_own_is_justified(toy_settings):
    found = justify(Toy(), picture(*LEFT), "a.png", toy_settings, seed=0)
    assert found.found.diagnosis == "left"
    assert found.found.caption == "towards left"
    # (-0.3, -0.1) lies nearer to the border of "upper", at 150 degrees, than of "right", at 270.
    assert found.alternative.diagnosis == "upper"
    assert found.mapping.converged
    certainties = [step.certainty["upper"] for step in found.walk]
    assert certainties == sorted(certainties)
    assert found.refinement is found.one_shot is found.found_by_classifier is None
    assert found.saliency == ()
    evidence = found.evidence
    assert evidence.decoder.agrees
    assert evidence.reencoded.agrees
    assert evidence.independent is None
    moved = found.mapping.r - Toy().encode(Toy().to_images(picture(*LEFT, size=16)[None]))
    assert evidence.embedding_distance == pytest.approx(moved[0, :2].norm().item(), abs=0.01)
    assert evidence.noise_distance == pytest.approx(0, abs=0.02)
    json.dumps(found.to_dict(), allow_nan=False)


class Noiseless(Toy):
    """A model whose r is its embedding."""

    def split(self, r):
        return r, r[:, r.shape[1] :]


def test_a_model_without_noise_is_justified_and_not_refined(toy_settings):
    asked = replace(toy_settings, refinement=RefinementSettings(steps=5, noise_weight=0.01))
    found = justify(Noiseless(), picture(*LEFT), "a.png", asked, seed=0)
    assert found.refinement is found.one_shot is None
    assert found.mapping.converged
    assert found.evidence.noise_distance == 0
    assert found.to_dict()["refinement"] is None
    assert justify(Toy(), picture(*LEFT), "a.png", asked, seed=0).refinement is not None


def test_neighbours_make_no_difference(toy_settings):
    drawn = {name: picture(*r) for name, r in {"a": LEFT, "b": RIGHT, "c": UPPER}.items()}
    together = justify_all(Toy(), list(drawn.values()), list(drawn), toy_settings, seed=3)
    apart = [justify(Toy(), drawn[name], name, toy_settings, seed=3) for name in reversed(drawn)]
    for one, other in zip(together, reversed(apart), strict=True):
        assert one.image == other.image
        assert torch.allclose(one.mapping.r, other.mapping.r, atol=1e-3)
        assert one.found.diagnosis == other.found.diagnosis
    assert [one.found.diagnosis for one in together] == ["left", "right", "upper"]


def test_no_xrays_have_no_justifications(toy_settings):
    assert justify_all(Toy(), [], [], toy_settings, seed=0) == []


def test_a_classifier_of_ones_own_is_asked(toy_settings):
    def stubborn(images):
        return torch.tensor([[0.1, 0.7, 0.2]]).expand(len(images), 3)

    found = justify(Toy(judge=stubborn), picture(*LEFT), "a.png", toy_settings, seed=0)
    assert found.found_by_classifier.label == found.evidence.independent.label == "right"
    assert not found.found_by_classifier.agrees
    assert not found.evidence.independent.agrees
    assert sum("independent classifier" in one for one in found.evidence.warnings) == 2
    assert len(found.evidence.warnings) == 3  # the toy picture shows no chest, either
    record = found.to_dict()
    assert record["evidence"]["validity"]["independent"] is False
    assert record["evidence"]["warnings"] == list(found.evidence.warnings)
