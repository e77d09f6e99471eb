"""Search for the most probable description, token by token."""

from collections.abc import Callable

import torch
from torch import Tensor

PAD, BOS, EOS, OOV, UNLABELLED = range(5)
Step = Callable[[Tensor, Tensor], Tensor]
"""Takes what is decoded so far, (R, t), and for each row which row of the call before it goes on
from (in the first call: which of the batch), (R,); returns the next token's logits, (R, words)."""


def most_probable(logits: Tensor, allowed: Tensor | None) -> Tensor:
    """Return the most probable tokens (B,) of logits (B, words), among those `allowed`."""
    if allowed is None:
        return logits.argmax(dim=1)
    return allowed[logits[:, allowed].argmax(dim=1)]


def beam_search(
    step: Step, first: Tensor, length: int, beams: int, unsaid: Tensor | None = None
) -> Tensor:
    """Return the descriptions of highest total log likelihood that the search comes across.

    Args:
        step: Of the decoder; called with R = B * beams rows, those of one description together.
        first: First tokens, (B,); they are kept.
        length: Number of tokens, first token and EOS included.
        beams: Descriptions that are followed side by side; with 1 each token is the most probable
            one after those before it.
        unsaid: Tokens that no description may hold after its first, (U,); what is likely without
            them is not made likelier.

    Returns:
        Tokens (B, length); after EOS only PAD.
    """
    batch = torch.arange(len(first), device=first.device).unsqueeze(1)
    tokens = first[:, None, None].expand(-1, beams, 1)
    score = torch.full((len(first), beams), -torch.inf, device=first.device)
    score[:, 0] = 0.0
    origin = batch.expand(-1, beams)
    for _ in range(1, length):
        following = step(tokens.flatten(0, 1), origin.flatten())
        following = following.float().log_softmax(dim=1).unflatten(0, (-1, beams))
        if unsaid is not None:
            following[..., unsaid] = -torch.inf
        ended = (tokens == EOS).any(dim=2)
        following[ended] = -torch.inf
        following[..., PAD].masked_fill_(ended, 0.0)
        score, best = (score.unsqueeze(2) + following).flatten(1).topk(beams, dim=1)
        source, word = best // following.shape[2], best % following.shape[2]
        kept = tokens.gather(1, source.unsqueeze(2).expand(-1, -1, tokens.shape[2]))
        tokens = torch.cat([kept, word.unsqueeze(2)], dim=2)
        origin = batch * beams + source
    return tokens[:, 0]


def no_words(labels: Tensor) -> Tensor:
    """Return the tokens that a reader is never shown as words: labels (L,) and markers."""
    return torch.cat([labels, labels.new_tensor([PAD, BOS, OOV, UNLABELLED])])
