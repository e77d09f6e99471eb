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
    read = torch.randn(4000, N) @ mix.T + shift
    encoder.fit(read, torch.full((4000, N), -1.0))
    covariance = mix @ mix.T + torch.eye(N) * torch.tensor(-1.0).exp()
    drawn = encoder.spread(torch.randn(100_000, N))
    scale = covariance.diag().max()
    torch.testing.assert_close(drawn.mean(dim=0), shift, atol=0.1 * scale.sqrt().item(), rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), covariance, atol=0.1 * scale.item(), rtol=0)


def test_the_moments_are_those_of_draws_from_each_xray(encoder):
    mean, log_variance = torch.randn(2, 6, N)
    encoder.fit(mean, log_variance)
    noise = torch.randn(200_000, 6, N)
    drawn = (mean + (0.5 * log_variance).exp() * noise).flatten(0, 1)
    torch.testing.assert_close(encoder.mean, drawn.mean(dim=0), atol=0.01, rtol=0)
    torch.testing.assert_close(encoder.covariance, torch.cov(drawn.T), atol=0.03, rtol=0.01)


def test_before_anything_was_read_noise_is_standard(encoder):
    noise = torch.randn(3, N)
    assert torch.equal(encoder.spread(noise), noise)


def test_the_means_of_labels_follow_their_recursion(encoder):
    expected = torch.zeros(2, N)
    for step in range(300):
        read = torch.randn(4, N)
        encoder.follow(read, LABELS[:4])
        weight = 1 - min(DECAY, (1 + step) / (10 + step))
        for label in (0, 1):
            expected[label] += weight * (read[label::2].mean(dim=0) - expected[label])
    torch.testing.assert_close(encoder.label_means, expected, atol=1e-5, rtol=1e-4)


def test_one_xray_far_from_zero_leaves_a_covariance_that_can_be_drawn_from(encoder):
    encoder.fit(torch.full((1, N), 1000.0), torch.full((1, N), -4.0))
    assert encoder.spread(torch.randn(3, N)).isfinite().all()


def test_what_was_read_in_half_precision_is_taken(encoder):
    with torch.autocast("cpu", torch.bfloat16):
        mean, log_variance = encoder(torch.randn(4, 1, 16, 16))
    assert mean.dtype == torch.float32
    encoder.follow(mean.bfloat16(), LABELS[:4])
    encoder.fit(mean.bfloat16(), log_variance.bfloat16())
    for moments in (encoder.mean, encoder.covariance, encoder.label_means):
        assert moments.dtype == torch.float32


def test_a_leak_is_the_distance_of_the_labels_means_and_its_gradient_closes_it(encoder):
    read, apart = torch.randn(64, N), torch.randn(N)
    read = (read - read.mean(dim=0)) * 1e-3 + torch.where(LABELS == 0, 1, -1)[:, None] * apart
    for _ in range(2000):
        encoder.follow(read, LABELS)
    read.requires_grad_()
    leak = encoder.leak(read, LABELS)
    assert leak.item() == pytest.approx(apart.square().mean().item(), rel=0.01)
    (gradient,) = torch.autograd.grad(leak, read)
    means = torch.stack([read[label == LABELS].mean(dim=0) for label in (0, 1)])
    distance = (means - means.mean(dim=0)).square().mean()
    (expected,) = torch.autograd.grad(distance, read)
    torch.testing.assert_close(2 * gradient, expected, atol=1e-4, rtol=0.02)


def test_a_label_that_no_xray_of_the_batch_has_keeps_its_mean(encoder):
    encoder.follow(torch.ones(4, N), torch.ones(4, dtype=torch.int64))
    assert torch.equal(encoder.label_means[0], torch.zeros(N))
    assert (encoder.label_means[1] > 0.5).all()
