"""Ours and its rivals on a model whose every answer can be worked out by hand."""

import numpy as np
import pytest
import torch

from tests.chains import mapping_settings
from tests.justify.toy import Toy, picture
from xrj.datamodules.images import resize
from xrj.evaluate.methods import Xrays, draw, encode, map_latent
from xrj.evaluate.rivals import change_pixels, nearest_real, shift_latent, step_at_random
from xrj.seeding import torch_generator

MODEL = Toy()
CODES = ((-0.5, -0.3), (0.5, -0.3), (0.3, 0.5), (-0.4, -0.2), (0.6, -0.2), (0.2, 0.5))
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture(scope="module")
def xrays():
    large = np.stack([picture(*code, 0.1, -0.1, 0.05) for code in CODES])
    small = np.stack([resize(one, 16) for one in large])
    names = tuple(f"{row}.png" for row in range(6))
    return Xrays(small, large, LABELS, tuple("abcdef"), names)


@pytest.fixture(scope="module")
def start(xrays):
    return encode(MODEL, xrays)


def generators(xrays):
    return [torch_generator(0, name) for name in xrays.names]


@pytest.fixture(scope="module")
def ours(xrays, start):
    images = MODEL.to_images(xrays.small)
    return map_latent(MODEL, start.r, images, mapping_settings(), generators(xrays))


def labels_of(r):
    return MODEL.label_logits(r).argmax(dim=1).numpy()


def test_rows_are_taken_and_joined(xrays, start, ours):
    made = draw(MODEL, "ours", start, ours)
    parts = [made.take(slice(0, 2)), made.take([2, 3]), made.take(slice(4, 9))]
    joined = type(made).join(parts)
    assert (joined.name, joined.after.tolist()) == ("ours", made.after.tolist())
    assert joined.r_after.equal(made.r_after)
    assert xrays.take([3, 1]).names == ("3.png", "1.png")


def test_ours_is_valid_and_a_random_step_as_long_is_less(xrays, start, ours):
    assert ours.converged.all()
    assert (labels_of(ours.r) == ours.targets).all()
    assert (ours.targets != LABELS).all()
    other = step_at_random(MODEL, start.r, ours, 0.5, xrays.names, 0)
    length, expected = (other.r - start.r).norm(dim=1), (ours.r - start.r).norm(dim=1)
    assert length.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert other.converged.sum() < 6
    certainty = MODEL.label_logits(other.r).softmax(dim=1)[torch.arange(6), ours.targets]
    assert (other.converged == (certainty > 0.5).numpy()).all()
    assert (labels_of(other.r) == ours.targets)[other.converged].all()
    again = step_at_random(MODEL, start.r, ours, 0.5, xrays.names, 0)
    assert again.r.equal(other.r)
    assert not step_at_random(MODEL, start.r, ours, 0.5, xrays.names, 1).r.equal(other.r)


def test_the_shift_stops_where_the_diagnosis_turns(start):
    found = shift_latent(MODEL.label_logits, start.r, 0.5)
    assert found.converged.all()
    certainty = MODEL.label_logits(found.r).softmax(dim=1)[torch.arange(6), found.targets]
    assert (certainty > 0.5).all()
    way = found.r - start.r
    shorter = MODEL.label_logits(start.r + 0.98 * way).argmax(dim=1).numpy()
    assert (shorter == LABELS).all()
    assert way[:, 2:].abs().max() < 1e-6  # the noise decides nothing


def test_the_shift_follows_the_gradient_of_the_certainty(start):
    r = (0.2 * start.r).requires_grad_()  # certain enough, and not so certain that nothing is left
    certainty = MODEL.label_logits(r).softmax(dim=1)[torch.arange(6), torch.from_numpy(LABELS)]
    (slope,) = torch.autograd.grad(certainty.sum(), r)
    way = shift_latent(MODEL.label_logits, r.detach(), 0.5).r - r.detach()
    cosine = torch.nn.functional.cosine_similarity(way, -slope)
    assert cosine.tolist() == pytest.approx([1] * 6, abs=1e-4)


def test_a_shift_that_never_turns_says_so(start):
    def stubborn(r):
        return torch.stack([10 + 0.1 * r[:, 0], 0 * r[:, 0], 0 * r[:, 0] - 1], dim=1)

    found = shift_latent(stubborn, start.r, 0.5)
    assert not found.converged.any()
    assert (found.evaluations == 51).all()


def test_pixels_change_less_than_pictures_and_are_read_as_the_other_label(xrays, start, ours):
    made = change_pixels(MODEL, "pixels", xrays, mapping_settings(), generators(xrays))
    assert made.converged.all()
    assert (labels_of(MODEL.encode(MODEL.to_images(made.small))) == made.targets).all()
    assert made.before is xrays.large
    assert made.r_after is None
    change = made.after.astype(float) - made.before
    blocks = change.reshape(6, 16, 4, 16, 4)
    assert np.ptp(blocks, axis=(2, 4)).max() <= 1  # the same over a small pixel's area
    small = made.small.astype(float) - xrays.small
    assert np.abs(blocks.mean(axis=(2, 4)) - small).max() <= 1.5
    assert np.abs(small).max() > 10


def test_the_nearest_real_xray_has_the_other_label(xrays):
    train = xrays.take([5, 4, 3, 2, 1, 0])
    targets = np.array([1, 2, 0, 2, 0, 1])
    made = nearest_real("real", xrays, train, targets)
    for row, target in enumerate(targets):
        far = ((xrays.small[row] - train.small.astype(float)) ** 2).mean(axis=(1, 2))
        far[train.labels != target] = np.inf
        assert (made.small[row] == train.small[far.argmin()]).all()
    assert made.converged.all()
    lacking = nearest_real("real", xrays, train.take([1, 2]), np.full(6, 2))
    assert not lacking.converged.any()
