"""The evidence: what is measured, and the sentence for each check that fails."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from tests.chains import heart_lexicon
from tests.justify.handmade import made_mapping, vote
from tests.justify.toy import Toy
from xrj.datamodules.images import resize
from xrj.justify.change import distances, unexplained_share, weigh_hearts
from xrj.justify.evidence import EvidenceSettings, Pictures, gather_evidence, take_vote
from xrj.justify.reading import Diagnosis
from xrj.justify.wording import percent
from xrj.justify.words import Words, weigh_words, word_warnings

LABELS = ("normal", "cardiomegaly")
SETTINGS = EvidenceSettings({"cardiomegaly": 1, "normal": -1}, 0.25, heart_lexicon())


def test_a_vote_names_the_most_certain_label():
    found = take_vote(LABELS, torch.tensor([0.25, 0.75]), "normal")
    assert (found.label, found.agrees) == ("cardiomegaly", False)
    assert found.certainty == {"normal": 0.25, "cardiomegaly": 0.75}
    assert take_vote(LABELS, torch.tensor([0.25, 0.75]), "cardiomegaly").agrees


def ssim(a, b):
    """Return structural similarity by the formula of Wang et al. 2004, mirrored at the borders."""

    def mean(values):
        return gaussian_filter(values, 1.5, truncate=5 / 1.5, mode="mirror")

    over, under = mean(a * a) - mean(a) ** 2, mean(b * b) - mean(b) ** 2
    both = mean(a * b) - mean(a) * mean(b)
    index = (2 * mean(a) * mean(b) + 0.01**2) * (2 * both + 0.03**2)
    index /= (mean(a) ** 2 + mean(b) ** 2 + 0.01**2) * (over + under + 0.03**2)
    return index.mean()


def test_distances_have_their_units():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 200, (2, 32, 32), dtype=np.uint8)
    others = pictures.copy()
    others[1] += 51  # 0.4 on a scale from -1 to 1
    same, shifted = distances(pictures, others)
    assert (same.l1, same.l2, same.ssim) == (0, 0, pytest.approx(1))
    assert (shifted.l1, shifted.l2) == (pytest.approx(0.4), pytest.approx(0.16))
    assert 0.5 < shifted.ssim < 1
    unlike = rng.integers(0, 200, (32, 32), dtype=np.uint8)
    (noise,) = distances(pictures[:1], unlike[None])
    assert abs(noise.ssim) < 0.1
    assert shifted.ssim == pytest.approx(ssim(pictures[1] / 255, others[1] / 255), abs=1e-4)
    assert noise.ssim == pytest.approx(ssim(pictures[0] / 255, unlike / 255), abs=1e-4)


def test_plain_grey_explains_nothing_of_an_xray(chests):
    mean = np.full_like(chests[0], round(chests[0].mean()))
    originals, shown = np.stack([chests[0]] * 2), np.stack([mean, chests[0]])
    assert unexplained_share(originals, shown) == pytest.approx([1, 0], abs=0.001)
    flat = np.zeros((1, 20, 20), np.uint8)
    assert np.isfinite(unexplained_share(flat, flat + 1)).all()


def weigh(original, before, after, direction):
    (heart,) = weigh_hearts(original[None], before[None], after[None], [direction])
    return heart.ctr, heart.share


def test_the_change_of_a_heart_lies_in_the_heart(chests):
    small, large = chests
    ctr, share = weigh(small, small, large, direction=1)
    assert share > 0.9
    assert ctr.confident
    assert ctr.towards
    assert ctr.change == pytest.approx(0.16, abs=0.02)
    assert ctr.original == ctr.reconstruction
    ctr, share = weigh(small, large, small, direction=1)
    assert share > 0.9
    assert not ctr.towards
    assert weigh(small, small, large, direction=None)[0].towards is None


def test_a_change_elsewhere_lies_outside_the_heart(chests):
    brighter = chests[0].copy()
    brighter[20:90, 20:90] += 40  # shoulder and upper lung
    _, share = weigh(chests[0], chests[0], brighter, direction=1)
    assert share < 0.05
    everywhere = np.clip(chests[0].astype(int) + 20, 0, 255).astype(np.uint8)
    _, share = weigh(chests[0], chests[0], everywhere, direction=1)
    assert 0.05 < share < 0.3  # about the area of the region


def test_the_border_of_the_heart_counts_as_heart(chests):
    wider = cv2.resize(chests[0], None, fx=1.02, fy=1)[:, 3:259]  # moves borders by 2 pixels
    ctr, share = weigh(chests[0], chests[0], wider, direction=1)
    inner = weigh(chests[0], chests[0], chests[1], direction=1)[1]
    assert ctr is not None
    assert share < inner


def test_a_heart_that_cannot_be_found_has_no_share(chests):
    noise = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    ctr, share = weigh(chests[0], chests[0], noise, direction=1)
    assert not ctr.confident
    assert ctr.alternative is ctr.change is ctr.towards is None
    assert share is None
    assert weigh(chests[0], chests[0], chests[0], direction=1)[1] is None
    tiny = resize(chests[0], 32)
    assert weigh(tiny, tiny, tiny, direction=1) == (None, None)


SMALL_HEART, LARGE_HEART = "the heart is normal in size", "the heart is enlarged"


class Judges(Toy):
    """Judges who say what they are told, on the phantom's pictures."""

    def __init__(self, reencoded, independent):
        super().__init__(labels=LABELS, sizes=(64, 256))
        object.__setattr__(self, "said", (reencoded, independent))

    def encode(self, images):
        return torch.full((len(images), 1), self.said[0])

    def label_logits(self, r):
        return torch.stack([(1 - r[:, 0]).log(), r[:, 0].log()], dim=1)

    def split(self, r):
        return r, r[:, 1:]

    def classify(self, images):
        p = self.said[1]
        return None if p is None else torch.tensor([[1 - p, p]]).expand(len(images), 2)


def gathered(chests, *, reencoded=0.9, independent=0.9, before=0, after=1, original=0, **parts):
    """Weigh the way from a normal to a large heart, or what is said otherwise."""
    pictures = [chests[index][None] for index in (original, before, after)]
    first, second = parts.pop("captions", (SMALL_HEART, LARGE_HEART))
    mapping = made_mapping(r=torch.tensor([[parts.pop("decoded", 0.95)]]), **parts.pop("map", {}))
    (evidence,) = gather_evidence(
        Judges(reencoded, independent),
        torch.tensor([[0.1]]),
        [mapping],
        Pictures(*pictures, np.stack([resize(chests[after], 64)]), on_xrays=[chests[after]]),
        [parts.pop("second", vote(0.1, "normal"))],
        [parts.pop("unlike", None)],
        [(Diagnosis("normal", {}, first), Diagnosis("cardiomegaly", {}, second))],
        replace(SETTINGS, **parts),
    )
    return evidence


def test_a_good_counterfactual_has_no_warning(chests):
    evidence = gathered(chests)
    assert evidence.warnings == ()
    assert evidence.to_json()["frontal"] is True
    assert evidence.decoder.agrees
    assert evidence.reencoded.certainty["cardiomegaly"] == pytest.approx(0.9)
    assert evidence.independent.agrees
    assert evidence.heart_share > 0.9
    assert 0.02 < evidence.changed_share < 0.15
    assert evidence.embedding_distance == pytest.approx(0.85)
    assert evidence.to_original == evidence.to_reconstruction
    assert gathered(chests, independent=None, second=None).independent is None


def test_how_far_the_reconstruction_is_from_the_xray_is_on_record(chests):
    far = gathered(chests, original=1, unexplained=0.01)
    (share,) = unexplained_share(chests[1][None], chests[0][None])
    assert far.to_json()["reconstruction"] == {"unexplained": share, "allowed": 0.01}
    assert f"{percent(share)} of its variance" in far.warnings[0]
    assert gathered(chests).to_json()["reconstruction"] == {"unexplained": 0, "allowed": 0.25}


OUTSIDE, NEGATIVE, PALE = 2, 3, 4
FAILURES = {
    "not converged": ({"map": {"converged": False}}, "found no picture"),
    "unlike": (
        {"unlike": "a negative"},
        "unlike those that the network learned from; it seems to be a negative. Nothing that",
    ),
    "strange": ({"unlike": "unlike"}, "unlike those that the network learned from. Nothing that"),
    "no chest": (
        {"original": NEGATIVE, "before": NEGATIVE, "ctr_direction": {}},
        "shows a heart between two lungs; none is found here. Nothing that",
    ),
    "decoder": ({"decoded": 0.2}, "found no picture"),
    "reencoded": (
        {"reencoded": 0.3},
        "Read anew by the network, the alternative redrawn and on the X-ray is normal",
    ),
    "independent": (
        {"independent": 0.2},
        "by an independent classifier, the alternative redrawn and on the X-ray",
    ),
    "second opinion": ({"second": vote(0.8, "normal")}, "diagnoses this X-ray as cardiomegaly"),
    "shrinking heart": ({"before": 1, "after": 0, "original": 1}, "does not change as cardiomeg"),
    "outside": ({"after": OUTSIDE}, "lies outside the heart"),
    "the caption": (
        {"captions": (LARGE_HEART, f"stable {LARGE_HEART}")},
        "The caption contradicts",
    ),
    "its other words": (
        {"captions": (SMALL_HEART, "normal heart size")},
        "The alternative's caption contradicts its diagnosis, cardiomegaly.",
    ),
    "the same words": (
        {"captions": ("clear lungs", "clear lungs")},
        "repeats the first one word f",
    ),
    "another patient": ({"original": PALE}, "The reconstruction is far from the X-ray"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_each_failed_check_has_one_sentence(chests, kind):
    arguments, sentence = FAILURES[kind]
    changed = chests[1].copy()
    changed[:40] //= 2
    changed[225:] //= 2
    pale = (0.3 * chests[0] + 150).astype(np.uint8)
    evidence = gathered((*chests, changed, 255 - chests[0], pale), **arguments)
    assert len(evidence.warnings) == 1
    (warning,) = evidence.warnings
    assert sentence in warning
    assert warning.endswith(".")
    assert evidence.to_json()["warnings"] == [warning]


def test_labels_that_are_not_about_the_heart_may_change_anything(chests):
    shifted = np.roll(chests[1], 30, axis=0)
    evidence = gathered((*chests, shifted), after=2, ctr_direction={})
    assert evidence.ctr.towards is None
    assert evidence.warnings == ()


def test_words_are_weighed_by_the_diagnosis_that_was_asked_for(chests):
    repeats = gathered(chests, captions=(SMALL_HEART, SMALL_HEART))
    assert repeats.to_json()["captions"] == {
        "found": "agrees",
        "alternative": "contradicts",
        "repeated": True,
    }
    assert len(repeats.warnings) == 2
    silent = gathered(chests, captions=("no pneumothorax", "no effusion or pneumothorax"))
    assert silent.words == Words("silent", "silent", repeated=False)
    assert silent.warnings == ()
    both = gathered(chests, captions=(SMALL_HEART, f"{LARGE_HEART} no cardiomegaly"))
    assert both.words.alternative == "contradicts"


@pytest.mark.parametrize("labels", [("normal", "fracture"), ("left", "right")])
def test_words_about_labels_that_the_lexicon_does_not_know_are_not_weighed(labels):
    said = [Diagnosis(label, {}, SMALL_HEART) for label in labels]
    words = weigh_words(*said, labels[1], labels, SETTINGS.lexicon)
    assert words == Words(None, None, repeated=True)
    assert [text[:40] for text in word_warnings(words, *labels)] == [
        "The alternative's caption repeats the fi"
    ]


def test_a_heart_stays_between_labels_that_have_it_alike(chests):
    small = chests[0]
    ctr, _ = weigh(small, small, small, direction=0)
    assert ctr.towards
    assert ctr.gain is None
    for before, after in (chests, chests[::-1]):
        ctr, _ = weigh(small, before, after, direction=0)
        assert ctr.towards is False
        assert ctr.gain is None


@pytest.mark.parametrize(
    ("own", "target", "direction"),
    [
        ("normal", "cardiomegaly", 1),
        ("pleural effusion", "cardiomegaly", 1),
        ("cardiomegaly", "normal", -1),
        ("cardiomegaly", "pleural effusion", -1),
        ("normal", "pleural effusion", 0),
        ("pleural effusion", "normal", 0),
        ("fracture", "cardiomegaly", 1),
        ("normal", "fracture", None),
    ],
)
def test_what_is_asked_of_the_heart_depends_on_both_labels(own, target, direction):
    hearts = {"cardiomegaly": 1, "normal": -1, "pleural effusion": -1}
    settings = EvidenceSettings(hearts, 0.25, heart_lexicon())
    assert settings.direction(own, target) == direction
