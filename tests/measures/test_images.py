import pytest
import torch
from scipy.stats import wasserstein_distance
from torchmetrics.functional.image import structural_similarity_index_measure

from xrj.measures.images import (
    sliced_wasserstein,
    slices,
    slices_distance,
    structural_similarity,
    wasserstein_1d,
)


def images(n: int, side: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(("n", "m"), [(7, 7), (5, 8), (12, 4), (1, 9)])
def test_one_dimension_is_exact(n, m):
    generator = torch.Generator().manual_seed(n)
    a, b = (torch.randn(size, 3, generator=generator, dtype=torch.double) for size in (n, m))
    expected = [wasserstein_distance(a[:, k], b[:, k]) for k in range(3)]
    assert wasserstein_1d(a, b).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 33)])
def test_images_of_one_pixel_give_the_distance_of_their_values(n, m):
    a, b = images(n, side=1), images(m, side=1, seed=1)
    expected = wasserstein_distance(a.flatten(), b.flatten())
    assert sliced_wasserstein(a, b, seed=0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("side", [16, 64, 65, 128])
def test_the_same_set_in_another_order_is_no_distance(side):
    a = images(6, side)
    assert sliced_wasserstein(a, a.flip(0), seed=0) == pytest.approx(0.0, abs=1e-6)


def test_symmetric_and_repeatable():
    a, b = images(10), images(7, seed=1)
    assert sliced_wasserstein(a, b, seed=3) == pytest.approx(sliced_wasserstein(b, a, seed=3))
    assert sliced_wasserstein(a, b, seed=3) == sliced_wasserstein(a, b, seed=3)
    assert sliced_wasserstein(a, b, seed=3) != sliced_wasserstein(a, b, seed=4)


def test_grows_with_the_shift():
    a = images(10)
    near, middle, far = (sliced_wasserstein(a, a + shift, seed=0) for shift in (0.1, 0.2, 0.4))
    assert 0 < near < middle < far
    assert far == pytest.approx(4 * near, rel=1e-3)


@pytest.mark.parametrize("side", [16, 64, 128])
def test_a_shift_costs_the_same_at_any_resolution(side):
    """The mean of |N(0, 1)| is 0.798."""
    a = images(4, side)
    distance = sliced_wasserstein(a, a + 0.5, projections=2000, seed=0)
    assert distance == pytest.approx(0.5 * 0.798, rel=0.1)


def test_lost_detail_is_seen():
    """Blurred images have the same coarse scale, so only the detail images can tell."""
    a = images(20)
    small = torch.nn.functional.avg_pool2d(a, 2)
    blurred = torch.nn.functional.interpolate(small, scale_factor=2.0)
    assert sliced_wasserstein(small, torch.nn.functional.avg_pool2d(blurred, 2), seed=0) < 1e-6
    assert sliced_wasserstein(a, blurred, seed=0) > 0.1


@pytest.mark.parametrize(
    ("a", "b"), [(images(2, 8), images(2, 16)), (images(0, 8), images(2, 8))], ids=["size", "empty"]
)
def test_sets_that_do_not_compare_are_refused(a, b):
    with pytest.raises(ValueError, match="do not compare"):
        sliced_wasserstein(a, b, seed=0)


@pytest.mark.parametrize("size", [(11, 11), (32, 40)])
def test_structural_similarity_is_that_of_torchmetrics(size):
    torch.manual_seed(0)
    a = torch.rand(3, 1, *size)
    b = (a + 0.2 * torch.randn_like(a)).clamp(0, 1)
    expected = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
    torch.testing.assert_close(structural_similarity(a, b), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(structural_similarity(a, a), torch.ones(3))


def test_slices_of_batches_are_those_of_their_set_and_hold_no_pixels():
    a, b = images(6, side=256), images(5, side=256, seed=1)
    parts = [slices(part, seed=2) for part in a.split([4, 2])]
    whole = [torch.cat(scale) for scale in zip(*parts, strict=True)]
    distance = slices_distance(whole, slices(b, seed=2))
    assert distance == pytest.approx(sliced_wasserstein(a, b, seed=2), rel=1e-5)
    assert sum(scale.numel() for scale in whole) < 0.1 * a.numel()
