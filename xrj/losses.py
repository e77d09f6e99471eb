"""The paper's equations as pure functions.

Images are (B, C, H, W) in [-1, 1], codes (B, v), representations r (B, v + n), logits as named.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def _precise(x: Tensor) -> Tensor:
    """Return what mixed precision has left in 16 bits in 32: sums of many need them."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def caption_nll(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return the mean negative log likelihood of the tokens, padding left out (section 3.1).

    Args:
        logits: (B, T, vocabulary).
        tokens: (B, T), zero padded.
    """
    return F.cross_entropy(_precise(logits).flatten(0, 1), tokens.flatten(), ignore_index=0)


def coverage(attention: Tensor, tokens: Tensor) -> Tensor:
    """Return how far the attention of a whole description is from one at each place of the image.

    Xu et al. 2015, eq. 14: the mean over places of (1 - sum over tokens)^2, padding left out.

    Args:
        attention: Of each token over the places, (B, T, S).
        tokens: (B, T), zero padded.
    """
    received = (attention * (tokens != 0).unsqueeze(2)).sum(dim=1)
    return (1 - received).square().mean()


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the Wasserstein critic's loss, E f(fake) - E f(real), from scores (B,)."""
    return _precise(fake).mean() - _precise(real).mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor
) -> Tensor:
    """Return the mean squared distance of the critic's gradient norm from 1.

    Gulrajani et al. 2017, eq. 3, with the gradient of each sample's own score: a critic that
    returned the batch mean would shrink it by the batch size.

    Args:
        critic: Maps (B, ...) to one score each, (B,).
        real: Real samples.
        fake: Generated samples of the same shape.
        mix: Mixing weights in [0, 1], (B,).
    """
    weight = mix.view(-1, *[1] * (real.dim() - 1))
    between = (weight * real + (1 - weight) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def discriminator_loss(real: Tensor, fake: Tensor, wrong: Tensor) -> Tensor:
    """Return StackGAN's discriminator loss from logits (B,).

    Args:
        real: Real images with their captions: to be accepted.
        fake: Generated images with the captions they were made from: to be refused.
        wrong: Real images with captions of other X-rays: to be refused.
    """
    real, fake, wrong = _precise(real), _precise(fake), _precise(wrong)
    accept = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    refuse_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    refuse_wrong = F.binary_cross_entropy_with_logits(wrong, torch.zeros_like(wrong))
    return accept + 0.5 * (refuse_fake + refuse_wrong)


def generator_loss(fake: Tensor) -> Tensor:
    """Return the non-saturating generator loss from the discriminator's logits (B,)."""
    fake = _precise(fake)
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def teaching_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of several classifiers (Odena et al. 2017, L_C).

    Args:
        logits: Of each classifier, (T, B, L).
        labels: Label indices (B,).
    """
    return F.cross_entropy(_precise(logits).flatten(0, 1), labels.repeat(len(logits)))


def diagnosis_loss(label_logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return L_diagnosis of eq. 1: cross-entropy between label categories.

    Args:
        label_logits: The decoder's first-step logits of the label tokens, (B, L).
        labels: Label indices (B,).
        weights: Weight of each label (L,), or None for equal ones.
    """
    return F.cross_entropy(_precise(label_logits), labels, weights)


def diagnosis_weight(epoch: int) -> float:
    """Return the weight of L_diagnosis in eq. 1, log10(epoch + 1), for epochs counted from 1."""
    return math.log10(epoch + 1)


def mean_square(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean square error, the cycle losses L_cycle_img and L_cycle_emb of eq. 1."""
    return F.mse_loss(_precise(a), _precise(b))


def change(a: Tensor, b: Tensor, scale: float = 0.05) -> Tensor:
    """Return the mean of |d| / (|d| + scale) over the differences d of two batches of images.

    Geman & Reynolds 1992: rises at once and then hardly any more, so that small changes everywhere
    cost more than a large one in one place. In [0, 1).
    """
    gap = (_precise(a) - _precise(b)).abs()
    return (gap / (gap + scale)).mean()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of N(mean, variance) from N(0, 1), a sample's mean.

    Kingma & Welling 2014, appendix B, summed over dimensions (B, n).
    """
    mean, log_variance = _precise(mean), _precise(log_variance)
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()


def alternative_diagnosis(label_logits: Tensor, targets: Tensor) -> Tensor:
    """Return L_alt_diagnosis of eq. 2 for each sample: -log p(d'), over the label tokens, (B,).

    Args:
        label_logits: The decoder's first-step logits of the label tokens, (B, L).
        targets: Index of each sample's d', (B,).
    """
    return F.cross_entropy(label_logits, targets, reduction="none")


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return eqs. 3 and 4 for each sample: the mean square difference, (B,).

    The equations print squared norms and the text says mean square error; means are taken here and
    the weights of eq. 5 are explicit, so a sum is the mean with the number of elements as weight.
    """
    return (a - b).square().flatten(1).mean(dim=1)


def overlap_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return cross-entropy plus one less Dice for masks, a mean over pictures and parts.

    Milletari et al. 2016: Dice weighs a small part as much as a large one.

    Args:
        logits: (B, P, H, W).
        masks: Share of each pixel that the part fills, (B, P, H, W) in [0, 1].
    """
    logits = _precise(logits)
    shares = logits.sigmoid()
    both, either = (shares * masks).sum(dim=(2, 3)), (shares + masks).sum(dim=(2, 3))
    dice = (2 * both + 1) / (either + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + 1 - dice.mean()
