"""What a chain learned from, and what it did not."""

import pytest
import torch

from xrj.nets.familiarity import KINDS, Familiarity

SIZE = 32


def pictures(count, seed, tilt=0.0):
    """Return bright bodies on dark, brighter below, with grain: no two alike."""
    torch.manual_seed(seed)
    rows, columns = torch.meshgrid(*(torch.linspace(-1, 1, SIZE),) * 2, indexing="ij")
    place = 0.2 * torch.randn(count, 2, 1, 1)
    body = (-((rows - place[:, 0]) ** 2 / 0.3 + (columns - place[:, 1]) ** 2 / 0.1)).exp()
    grain = 0.1 * torch.randn(count, SIZE, SIZE)
    return (body + 0.5 * rows + 0.2 * columns + tilt + grain).clamp(-1.5, 1.5)[:, None] / 1.5


@pytest.fixture(scope="module")
def familiarity():
    net = Familiarity(SIZE)
    net.fit(pictures(600, 0), pictures(100, 1))
    return net.eval()


def test_pictures_like_those_of_the_training_are_familiar(familiarity):
    assert sum(one is not None for one in familiarity(pictures(200, 2))) <= 10


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_done_to_a_picture_is_named(familiarity, kind):
    seen = familiarity(KINDS[kind](pictures(50, 3)))
    assert sum(one == kind for one in seen) >= 45


def test_other_pictures_are_unlike(familiarity):
    torch.manual_seed(4)
    noise = torch.rand(20, 1, SIZE, SIZE) * 2 - 1
    flat = torch.zeros(1, 1, SIZE, SIZE)
    square = torch.full((1, 1, SIZE, SIZE), -1.0)
    square[:, :, 10:20, 5:25] = 0.6
    assert None not in familiarity(torch.cat([noise, flat, square]))


def test_exposure_alone_does_not_make_a_picture_strange(familiarity):
    darker = familiarity(0.85 * pictures(100, 5) - 0.1)
    assert sum(one is not None for one in darker) <= 10


def test_a_picture_is_judged_by_itself(familiarity):
    together = torch.cat([pictures(3, 6), -pictures(3, 7)])
    assert familiarity(together) == [found for one in together for found in familiarity(one[None])]
