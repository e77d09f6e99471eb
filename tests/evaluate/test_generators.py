"""Generators of stage I: what codes hold beside the label, and whether pictures show it."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from xrj.evaluate.critics import SPLITS, CriticSettings, Estimate
from xrj.evaluate.generators import (
    CEILING,
    FLOOR,
    KEYS,
    KINDS,
    Captioned,
    Generator,
    Judged,
    codes_alike,
    estimates,
    floor,
    judge,
    judge_ends,
    label_seen,
)
from xrj.files import read_json, write_json
from xrj.nets.representation import Representation

LABELS = np.array(["normal", "normal", "normal", "cardiomegaly", "cardiomegaly", "other"])
SIZES = {"train": 5, "val": 4, "test": 3}
SETTINGS = CriticSettings(steps=1, batch=1, width=1, rate=0.1, penalty=1.0, draws=20)
ROWS = 12
"""X-rays of each split of the toy."""


def test_codes_alike_is_the_mean_cosine_of_pairs_of_one_label():
    codes = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    pairs = {
        label: [
            torch.cosine_similarity(codes[a], codes[b], dim=0)
            for a, b in combinations(np.flatnonzero(label == LABELS), 2)
        ]
        for label in ("normal", "cardiomegaly")  # a single caption has no pair
    }
    expected = np.mean([np.mean(of_label) for of_label in pairs.values()])
    assert codes_alike(codes, LABELS) == pytest.approx(expected, abs=1e-6)
    assert codes_alike(torch.ones(6, 5), LABELS) == pytest.approx(1)
    assert np.isnan(codes_alike(codes[3:5], np.array(["normal", "other"])))


def test_noise_is_drawn_like_that_of_xrays_where_it_was_read_off_them():
    representation = Representation(2, 3, "normal", 1.0)
    encoder = torch.nn.Identity()
    codes, rng = torch.ones(400, 2), torch.Generator().manual_seed(0)
    reader = SimpleNamespace(spread=lambda noise: 5 + 0 * noise)
    drawn = Generator(encoder, torch.nn.Identity(), representation, reader).draw(codes, rng)
    assert torch.equal(representation.noise_part(drawn), torch.full((400, 3), 5.0))
    drawn = Generator(encoder, torch.nn.Identity(), representation, None).draw(codes, rng)
    assert representation.noise_part(drawn).mean().abs() < 0.2


def test_the_label_is_looked_for_in_each_picture_and_labels_count_alike():
    net = torch.nn.Identity()
    net.classify = lambda pictures: pictures.flatten(1)
    vocabulary = SimpleNamespace(labels=["normal", "cardiomegaly", "other"])
    export = SimpleNamespace(net=lambda name: net, vocabulary=vocabulary)
    found = torch.eye(3)[[0, 0, 1, 1, 0, 2]][:, None, None]
    assert label_seen(export, found, LABELS) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)


def test_what_was_found_of_a_generator_is_read_back_as_it_was_written(tmp_path):
    rng = np.random.default_rng(0)
    found = {
        kind: Estimate({split: rng.normal(size=n) for split, n in SIZES.items()}, (5, 10), (1.5, 2))
        for kind in KINDS
    }
    constant = {"sliced": 0.1, "mismatch": float("nan")}
    judged = Judged("noise/normal50", "a" * 64, None, ["1", "1", "2"], found, constant)
    write_json(tmp_path / "judged.json", judged.to_dict())
    again = Judged.from_dict(read_json(tmp_path / "judged.json"))
    assert (again.name, again.split, again.seed) == (judged.name, judged.split, None)
    assert again.found["alignment"].held_out == (1.5, 2)
    rows = np.array([2, 0, 0])
    assert again.run.scores(rows).keys() == set(KEYS)
    assert again.run.patients == judged.run.patients
    sizes = {f"{kind}_{split}": SIZES[split] for kind in KINDS for split in ("val", "train")}
    assert again.run.counts == judged.run.counts == sizes
    np.testing.assert_equal(dict(again.run.scores(rows)), dict(judged.run.scores(rows)))
    gaps = found["wasserstein"].gaps["test"]
    assert again.run.scores(rows)["wasserstein"] == pytest.approx((gaps[2] + 2 * gaps[0]) / 3)


@pytest.fixture
def compared(monkeypatch):
    """Estimates give what they compare; the alignment critic scores by pixels times codes."""

    def estimate(pairs, condition, shape, settings, seed):
        def score(rows):
            pixels, codes = rows.split([rows.shape[1] - condition, condition], dim=1)
            return (pixels * codes).sum(dim=1)

        gaps = {name: split.real[:, 0].double().numpy() for name, split in pairs.items()}
        return SimpleNamespace(gaps=gaps, pairs=pairs), score

    monkeypatch.setattr("xrj.evaluate.generators.estimate", estimate)


def toy_split(labels, rng):
    """Codes have one place for each label, so that a picture of another one scores nothing."""
    _, places = np.unique(labels, return_inverse=True)
    codes = torch.eye(4)[torch.from_numpy(places)] * (1 + torch.rand(len(labels), 1, generator=rng))
    images = torch.rand(len(labels), 1, 2, 2, generator=rng)
    return Captioned(pd.DataFrame({"label": labels}), images, torch.zeros(len(labels), 1), codes)


def toy_splits(labels):
    rng = torch.Generator().manual_seed(0)
    return {split: toy_split(labels, rng) for split in SPLITS}


def pictures_like_codes(data):
    """Return pictures of the captions; second ones show nothing."""
    drawn = {name: split.codes.view(1, -1, 1, 2, 2) for name, split in data.items()}
    return {name: torch.cat([first, 0 * first]) for name, first in drawn.items()}


@pytest.mark.parametrize("seed", range(3))
def test_the_gap_to_wrong_captions_is_the_right_score_less_that_of_another_label(compared, seed):
    data = toy_splits(LABELS)
    _, gap = estimates(data, pictures_like_codes(data), SETTINGS, seed)
    right = data["test"].codes.square().sum(dim=1).mean()
    assert gap == pytest.approx(float(right))


def test_there_is_no_gap_to_wrong_captions_where_all_are_of_one_label(compared):
    data = toy_splits(LABELS[:3])
    _, gap = estimates(data, pictures_like_codes(data), SETTINGS, seed=0)
    assert np.isnan(gap)


def test_both_critics_compare_xrays_with_what_was_drawn_for_them_and_one_sees_the_codes(compared):
    data = toy_splits(LABELS)
    drawn = pictures_like_codes(data)
    found, _ = estimates(data, drawn, SETTINGS, seed=0)
    for name, split in data.items():
        pixels, both = (found[kind].pairs[name] for kind in KINDS)
        assert torch.equal(pixels.real, split.images.flatten(1))
        assert torch.equal(pixels.drawn, drawn[name].flatten(2))
        assert torch.equal(both.real, torch.cat([pixels.real, split.codes], dim=1))
        for several, one in zip(both.drawn, pixels.drawn, strict=True):
            assert torch.equal(several, torch.cat([one, split.codes], dim=1))


def rows_of(pairs):
    return {tuple(row) for row in pairs.flatten(end_dim=-2).tolist()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_floor_compares_one_half_of_the_real_xrays_with_the_other(compared, kind):
    data = toy_splits(LABELS)
    halves = floor(data, kind, SETTINGS, seed=0).pairs
    for name, split in data.items():
        pixels = split.images.flatten(1)
        whole = torch.cat([pixels, split.codes], dim=1) if kind == "alignment" else pixels
        first, second = rows_of(halves[name].real), rows_of(halves[name].drawn)
        assert not first & second
        assert first | second == rows_of(whole)
        assert len(first) == len(second) == len(halves[name].real) == len(LABELS) / 2
        assert len(halves[name].drawn) == SETTINGS.draws


class ToyEncoder(torch.nn.Module):
    """Codes of captions that are their own number."""

    def __init__(self, seed):
        super().__init__()
        self.table = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(seed))

    def forward(self, tokens):
        return self.table[tokens[:, 1]]


class ToyGenerator(torch.nn.Module):
    """Pictures that show the code of r and not its noise."""

    def forward(self, r):
        return r[:, :4].view(-1, 1, 2, 2)


def toy_export(**nets):
    dims = {"embedding": 4, "noise": 1, "noise_kind": "normal", "code_scale": "none"}
    return SimpleNamespace(
        info={"dims": dims, "nets": list(nets), "split": "a" * 64},
        net=nets.__getitem__,
        vocabulary=SimpleNamespace(encode=lambda label, words: [0, int(words[0])]),
    )


@pytest.fixture
def chain():
    exports = {
        "arae": toy_export(encoder=ToyEncoder(1)),
        "gan1": toy_export(generator=ToyGenerator()),
        "embedding_gan1": toy_export(encoder=ToyEncoder(2), generator=ToyGenerator()),
    }
    seeds = {"gan1": 3, "embedding_gan1": 5}
    return SimpleNamespace(name="toy", export=exports.__getitem__, seed=seeds.get)


@pytest.fixture
def splits():
    """Each X-ray is of a patient of its own, and its first pixel is the patient's number."""

    def images(export, split, size):
        pictures = np.zeros((ROWS, 2, 2), np.uint8) + np.arange(ROWS, dtype=np.uint8)[:, None, None]
        captions = [[[str(row)], ["0"]] for row in range(ROWS)]
        patients = [str(row) for row in range(ROWS)]
        labels = np.tile(LABELS, 2)
        columns = {"label": labels, "captions": captions, "patient_id": patients}
        return pictures, pd.DataFrame(columns)

    return SimpleNamespace(images=images)


@pytest.mark.parametrize(("stage", "encoder", "seed"), [("gan1", 1, 3), ("embedding_gan1", 2, 5)])
def test_the_alignment_critic_sees_the_araes_codes_whoever_drew_the_pictures(
    compared, chain, splits, stage, encoder, seed
):
    judged = judge(chain, stage, splits, SETTINGS, 0, "cpu")
    shared, own = ToyEncoder(1).table, ToyEncoder(encoder).table
    for pairs in judged.found["alignment"].pairs.values():
        assert torch.equal(pairs.real[:, 4:], 2 * shared)  # on a scale of variance 1
        expected = torch.cat([own, 2 * shared], dim=1)
        assert torch.equal(pairs.drawn, expected.expand(SETTINGS.draws, -1, -1))
    alike = codes_alike(own, np.tile(LABELS, 2))
    assert judged.constant["alike"] == pytest.approx(alike)
    assert (judged.name, judged.split, judged.seed) == ("toy", "a" * 64, seed)
    assert judged.patients == [str(row) for row in range(ROWS)]


def test_the_ceiling_draws_pictures_from_captions_of_other_xrays(compared, chain, splits):
    ceiling = judge_ends(chain, splits, SETTINGS, 0, "cpu")[CEILING]
    assert ceiling.found.keys() == {"alignment"}
    assert ceiling.patients == [str(row) for row in range(ROWS)]
    codes = ToyEncoder(1).table
    for pairs in ceiling.found["alignment"].pairs.values():
        assert torch.equal(pairs.real[:, 4:], 2 * codes)
        assert torch.equal(pairs.drawn[..., 4:], (2 * codes).expand(SETTINGS.draws, -1, -1))
        for pictures in pairs.drawn[..., :4]:
            assert rows_of(pictures) == rows_of(codes)
            # A permutation leaves one row where it was on average.
            assert (pictures == codes).all(dim=1).sum() < ROWS / 3


def test_the_floor_is_of_the_patients_whose_xrays_stand_for_the_real_ones(compared, chain, splits):
    lowest = judge_ends(chain, splits, SETTINGS, 0, "cpu")[FLOOR]
    assert lowest.found.keys() == set(KINDS)
    assert (lowest.name, lowest.split, lowest.seed) == ("toy", "a" * 64, 3)
    assert len(set(lowest.patients)) == ROWS / 2
    pixels = [float(patient) / 127.5 - 1 for patient in lowest.patients]
    shown = {patient / 127.5 - 1 for patient in range(ROWS)}
    for one in lowest.found.values():
        assert one.gaps["test"] == pytest.approx(pixels)
        rivals = one.pairs["test"].drawn[..., 0].unique().tolist()
        assert rivals == pytest.approx(sorted(shown - set(pixels)))
