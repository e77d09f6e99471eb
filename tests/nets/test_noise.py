import pytest
import torch

from xrj.nets.image import GeneratorStage1
from xrj.nets.noise import DECAY, NoiseEncoder, NoiseMoments

N, EMBEDDING = 5, 3


@pytest.fixture
def moments():
    """Fit to noise that is anything but N(0, 1)."""
    torch.manual_seed(0)
    fitted = NoiseMoments(N)
    mix, shift = torch.randn(N, N), torch.randn(N)
    for _ in range(2000):
        fitted.update(torch.randn(64, N) @ mix.T + shift, torch.full((64, N), -1.0))
    return fitted, shift, mix @ mix.T + torch.eye(N) * torch.tensor(-1.0).exp()


def test_moments_are_those_of_what_was_read(moments):
    fitted, mean, covariance = moments
    scale = covariance.diag().max()
    torch.testing.assert_close(fitted.mean, mean, atol=0.1 * scale.sqrt().item(), rtol=0)
    factor = fitted.factor()
    torch.testing.assert_close(factor @ factor.T, covariance, atol=0.1 * scale.item(), rtol=0)
    assert torch.equal(factor, factor.tril())


def test_the_average_follows_its_recursion():
    torch.manual_seed(0)
    fitted, mean, square = NoiseMoments(N), torch.zeros(N), torch.eye(N)
    for step in range(1200):
        read, log_variance = torch.randn(2, 4, N)
        fitted.update(read, log_variance)
        weight = 1 - min(DECAY, (1 + step) / (10 + step))
        mean = mean + weight * (read.mean(dim=0) - mean)
        new = torch.einsum("bi,bj->ij", read, read) / 4 + log_variance.exp().mean(dim=0).diag()
        square = square + weight * (new - square)
    torch.testing.assert_close(fitted.mean, mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(fitted.square, square, atol=1e-5, rtol=1e-4)


def test_a_single_xray_a_step_leaves_a_covariance_that_has_a_factor():
    fitted = NoiseMoments(N)
    for _ in range(3):
        fitted.update(torch.ones(1, N), torch.full((1, N), -4.0))
    assert fitted.factor().isfinite().all()


def test_read_noise_is_standardised(moments):
    fitted, mean, covariance = moments
    encoder = NoiseEncoder(N, 2, 16, 1)
    read = torch.distributions.MultivariateNormal(mean, covariance).sample((100_000,))
    assert torch.equal(encoder.standardise(read), read)  # as long as it learns
    standard = fitted.standardised(encoder).standardise(read)
    assert standard.mean(dim=0).abs().max() < 0.15
    torch.testing.assert_close(torch.cov(standard.T), torch.eye(N), atol=0.2, rtol=0)
    torch.testing.assert_close(fitted.spread(standard), read, atol=1e-4, rtol=1e-4)


def test_g_with_other_noise_draws_the_same(moments):
    fitted, _, _ = moments
    net = GeneratorStage1(EMBEDDING + N, 4, 16, 1)
    for _ in range(20):  # statistics of its own
        net(torch.randn(32, EMBEDDING + N) + 1)
    net.eval()
    code, noise = torch.randn(6, EMBEDDING), torch.randn(6, N)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    other = net.with_noise(fitted.mean, fitted.factor())
    expected = net(torch.cat([code, fitted.spread(noise)], dim=1))
    torch.testing.assert_close(
        other(torch.cat([code, noise], dim=1)), expected, atol=1e-5, rtol=1e-4
    )
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_an_encoder_reads_means_and_log_variances():
    mean, log_variance = NoiseEncoder(N, 2, 16, 1)(torch.zeros(3, 1, 16, 16))
    assert mean.shape == log_variance.shape == (3, N)
