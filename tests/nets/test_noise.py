import pytest
import torch

from xrj.nets.noise import DECAY, NoiseEncoder

N = 5
LABELS = torch.arange(64) % 2


@pytest.fixture
def encoder():
    """Build an encoder of images of 16 pixels."""
    torch.manual_seed(0)
    return NoiseEncoder(N, 2, 16, 1, labels=2)


def test_an_encoder_reads_means_and_log_variances(encoder):
    mean, log_variance = encoder(torch.zeros(3, 1, 16, 16))
    assert mean.shape == log_variance.shape == (3, N)


def test_noise_is_spread_like_what_was_read(encoder):
    mix, shift = torch.randn(N, N), torch.randn(N)
    for _ in range(2000):
        encoder.follow(torch.randn(64, N) @ mix.T + shift, torch.full((64, N), -1.0), LABELS)
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
        encoder.follow(read, log_variance, LABELS[:4])
        weight = 1 - min(DECAY, (1 + step) / (10 + step))
        mean = mean + weight * (read.mean(dim=0) - mean)
        new = torch.einsum("bi,bj->ij", read, read) / 4 + log_variance.exp().mean(dim=0).diag()
        square = square + weight * (new - square)
    torch.testing.assert_close(encoder.mean, mean, atol=1e-5, rtol=1e-4)
    expected = square - torch.outer(mean, mean)
    torch.testing.assert_close(encoder.covariance, expected, atol=1e-5, rtol=1e-4)


def test_few_xrays_far_from_zero_leave_a_covariance_that_can_be_drawn_from(encoder):
    for _ in range(3):
        encoder.follow(torch.full((1, N), 1000.0), torch.full((1, N), -4.0), LABELS[:1])
    assert encoder.spread(torch.randn(3, N)).isfinite().all()


def test_what_was_read_in_half_precision_is_followed(encoder):
    with torch.autocast("cpu", torch.bfloat16):
        read = encoder(torch.randn(4, 1, 16, 16))
    assert read[0].dtype == torch.bfloat16
    encoder.follow(*read, LABELS[:4])
    assert encoder.mean.dtype == encoder.covariance.dtype == torch.float32
    assert int(encoder.steps) == 1


def test_a_leak_is_the_distance_of_the_labels_means_and_its_gradient_closes_it(encoder):
    read, apart = torch.randn(64, N), torch.randn(N)
    read = (read - read.mean(dim=0)) * 1e-3 + torch.where(LABELS == 0, 1, -1)[:, None] * apart
    for _ in range(2000):
        encoder.follow(read, torch.zeros(64, N), LABELS)
    read.requires_grad_()
    leak = encoder.leak(read, LABELS)
    assert leak.item() == pytest.approx(apart.square().mean().item(), rel=0.01)
    (gradient,) = torch.autograd.grad(leak, read)
    means = torch.stack([read[label == LABELS].mean(dim=0) for label in (0, 1)])
    distance = (means - means.mean(dim=0)).square().mean()
    (expected,) = torch.autograd.grad(distance, read)
    torch.testing.assert_close(2 * gradient, expected, atol=1e-4, rtol=0.02)


def test_a_label_that_no_xray_of_the_batch_has_keeps_its_mean(encoder):
    encoder.follow(torch.ones(4, N), torch.zeros(4, N), torch.ones(4, dtype=torch.int64))
    assert torch.equal(encoder.label_means[0], torch.zeros(N))
    assert (encoder.label_means[1] > 0.5).all()
