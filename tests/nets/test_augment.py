"""Changes to what discriminators and teachers see."""

import pytest
import torch

from xrj.nets.augment import augment
from xrj.nets.teachers import Teachers


def test_strength_zero_changes_nothing():
    images = torch.rand(2, 1, 8, 8)
    assert augment(images, 0.0) is images


def test_each_picture_is_changed_by_other_amounts_within_bounds():
    torch.manual_seed(0)
    flat = torch.zeros(400, 1, 16, 16)
    flat[:, :, 4:12, 4:12] = 0.5
    changed = augment(flat, 1.0)
    assert changed.shape == flat.shape
    means = changed[:, :, 7:9, 7:9].mean(dim=(1, 2, 3))  # inside whatever the shift by two
    assert means.unique().numel() == 400
    assert means.min() > 0.5 - 0.2 - 0.3 * 0.5
    assert means.max() < 0.5 + 0.2 + 0.3 * 0.5


def test_shifts_reach_an_eighth_of_the_side():
    torch.manual_seed(0)
    dot = torch.full((500, 1, 16, 16), -1.0)
    dot[:, :, 8, 8] = 1.0
    places = augment(dot, 1.0).flatten(1).argmax(dim=1)
    rows, columns = places // 16, places % 16
    for seen in (rows, columns):
        assert sorted(seen.unique().tolist()) == [6, 7, 8, 9, 10]


def test_gradients_reach_the_pictures():
    images = torch.rand(3, 1, 16, 16, requires_grad=True)
    augment(images, 1.0).sum().backward()
    assert (images.grad != 0).float().mean() > 0.5


def test_it_is_a_function_of_torchs_seed():
    images = torch.rand(3, 1, 16, 16)
    torch.manual_seed(3)
    first = augment(images, 0.5)
    torch.manual_seed(3)
    torch.testing.assert_close(augment(images, 0.5), first)


@pytest.mark.parametrize("size", [16, 64])
def test_teachers_give_logits_each_for_images_of_any_size(size):
    teachers = Teachers(labels=3, width=4, size=32, channels=1).eval()
    logits = teachers(torch.zeros(5, 1, size, size))
    assert logits.shape == (2, 5, 3)
