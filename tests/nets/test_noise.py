import pytest
import torch

from xrj.nets.noise import DECAY, NoiseEncoder

N = 5


@pytest.fixture
def encoder():
    """Build an encoder of images of 16 pixels."""
    torch.manual_seed(0)
    return NoiseEncoder(N, 2, 16, 1)


def test_an_encoder_reads_means_and_log_variances(encoder):
    mean, log_variance = encoder(torch.zeros(3, 1, 16, 16))
    assert mean.shape == log_variance.shape == (3, N)


def test_noise_is_spread_like_what_was_read(encoder):
    mix, shift = torch.randn(N, N), torch.randn(N)
    for _ in range(2000):
        encoder.follow(torch.randn(64, N) @ mix.T + shift, torch.full((64, N), -1.0))
    covariance = mix @ mix.T + torch.eye(N) * torch.tensor(-1.0).exp()
    drawn = encoder.spread(torch.randn(100_000, N))
    scale = covariance.diag().max()
    torch.testing.assert_close(drawn.mean(dim=0), shift, atol=0.1 * scale.sqrt().item(), rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), covariance, atol=0.1 * scale.item(), rtol=0)


def test_before_anything_was_read_noise_is_standard(encoder):
    noise = torch.randn(3, N)
    assert torch.equal(encoder.spread(noise), noise)


def test_the_moments_follow_their_recursion(encoder):
    mean, square = torch.zeros(N), torch.eye(N)
    for step in range(1200):
        read, log_variance = torch.randn(2, 4, N)
        encoder.follow(read, log_variance)
        weight = 1 - min(DECAY, (1 + step) / (10 + step))
        mean = mean + weight * (read.mean(dim=0) - mean)
        new = torch.einsum("bi,bj->ij", read, read) / 4 + log_variance.exp().mean(dim=0).diag()
        square = square + weight * (new - square)
    torch.testing.assert_close(encoder.mean, mean, atol=1e-5, rtol=1e-4)
    expected = square - torch.outer(mean, mean)
    torch.testing.assert_close(encoder.covariance, expected, atol=1e-5, rtol=1e-4)


def test_few_xrays_far_from_zero_leave_a_covariance_that_can_be_drawn_from(encoder):
    for _ in range(3):
        encoder.follow(torch.full((1, N), 1000.0), torch.full((1, N), -4.0))
    assert encoder.spread(torch.randn(3, N)).isfinite().all()


def test_what_was_read_in_half_precision_is_followed(encoder):
    with torch.autocast("cpu", torch.bfloat16):
        read = encoder(torch.randn(4, 1, 16, 16))
    assert read[0].dtype == torch.bfloat16
    encoder.follow(*read)
    assert encoder.mean.dtype == encoder.covariance.dtype == torch.float32
    assert int(encoder.steps) == 1
