"""Generators of stage I: what codes hold beside the label, and whether pictures show it."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from xrj.evaluate.critics import Estimate
from xrj.evaluate.generators import KEYS, KINDS, Generator, Judged, codes_alike, label_seen
from xrj.files import read_json, write_json
from xrj.nets.representation import Representation

LABELS = np.array(["normal", "normal", "normal", "cardiomegaly", "cardiomegaly", "other"])
SIZES = {"train": 5, "val": 4, "test": 3}


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
