"""The critic finds distances that are known, and no distance where there is none."""

import numpy as np
import pytest
import torch

from xrj.evaluate.critics import SPLITS, CriticSettings, Pairs, estimate
from xrj.nets.critic import PairCritic

SIZE = 8
SETTINGS = CriticSettings(steps=300, batch=32, width=8, rate=3e-3, penalty=10.0, draws=10)


def gaussians(shift, n=300, sd=0.1):
    """Images of N(0, sd) against N(-shift, sd): the distance is the length of the shift."""
    splits = {}
    for number, name in enumerate(SPLITS):
        rng = torch.Generator().manual_seed(number)
        real = torch.randn(n, SIZE * SIZE, generator=rng) * sd
        drawn = torch.randn(10, n, SIZE * SIZE, generator=rng) * sd - shift
        splits[name] = Pairs(real, drawn)
    return splits


def test_the_distance_of_shifted_gaussians():
    """W1 of two Gaussians of one covariance is the distance of their means: 0.2 * 8 = 1.6."""
    found, _ = estimate(gaussians(0.2), 0, (1, SIZE), SETTINGS, seed=0)
    for split in SPLITS:
        assert found.gaps[split].mean() == pytest.approx(1.6, rel=0.05)
    assert found.test == found.gaps["test"].mean()
    assert found.steps[-1] == 300
    assert max(found.held_out) == pytest.approx(1.6, rel=0.05)


def test_no_distance_where_there_is_none():
    few = CriticSettings(steps=60, batch=32, width=8, rate=3e-3, penalty=10.0, draws=10)
    found, _ = estimate(gaussians(0.0), 0, (1, SIZE), few, seed=0)
    assert abs(found.test) < 0.08


def test_a_joint_critic_sees_what_images_alone_do_not_tell():
    """Equal images and equal conditions, but joined wrongly."""
    rng = torch.Generator().manual_seed(0)
    splits = {}
    for name in SPLITS:
        signs = torch.randint(2, (200, 1), generator=rng).float() * 2 - 1
        images = 0.3 * signs.expand(-1, SIZE * SIZE)
        right, wrong = (torch.cat([images, sign * 2], dim=1) for sign in (signs, -signs))
        splits[name] = Pairs(right, wrong[None])
    few = CriticSettings(steps=120, batch=32, width=8, rate=3e-3, penalty=10.0, draws=1)
    joint, score = estimate(splits, 1, (1, SIZE), few, seed=0)
    assert joint.test > 1.0
    right, drawn = splits["test"].real, splits["test"].drawn[0]
    gap = (score(right) - score(drawn)).mean()
    assert joint.test == pytest.approx(float(gap), rel=1e-4)


def test_a_critic_is_the_same_again():
    few = CriticSettings(steps=5, batch=8, width=4, rate=3e-3, penalty=10.0, draws=2)
    first, second = (estimate(gaussians(0.1, 20), 0, (1, SIZE), few, seed=3)[0] for _ in range(2))
    assert np.array_equal(first.gaps["test"], second.gaps["test"])
    other, _ = estimate(gaussians(0.1, 20), 0, (1, SIZE), few, seed=4)
    assert not np.array_equal(first.gaps["test"], other.gaps["test"])


def test_the_critic_scores_each_pair_alone():
    critic = PairCritic(condition=3, width=4, size=16, channels=1).requires_grad_(False)
    pairs = torch.randn(5, 16 * 16 + 3)
    scores = critic(pairs)
    assert scores.shape == (5,)
    assert torch.allclose(critic(pairs[2:3]), scores[2:3], atol=1e-6)
    other = pairs.clone()
    other[:, -1] += 1
    assert not torch.allclose(critic(other), scores)
