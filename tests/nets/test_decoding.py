from itertools import product

import pytest
import torch

from xrj.nets.decoding import BOS, EOS, PAD, beam_search
from xrj.nets.text import TextDecoder

WORDS, LENGTH = 6, 5


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    net = TextDecoder(WORDS, 4, 8, dropout=0.0, tied=False, scale=3.0).eval()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, 0.0, 1.0)
    with torch.no_grad():
        net.output.bias[[PAD, BOS]] = -30.0  # as in training, where neither is ever right
        net.output.bias[EOS] -= 3.0
    return net


@pytest.fixture(scope="module")
def codes():
    torch.manual_seed(1)
    return torch.nn.functional.normalize(torch.randn(12, 4), dim=1)


def likelihood(decoder, code, tokens):
    """Log likelihood of tokens up to EOS after the first, by teacher forcing."""
    logs = decoder(code[None], tokens[None])[0].log_softmax(dim=1)
    spoken = (tokens == EOS).cumsum(dim=0) - (tokens == EOS).long() == 0
    each = logs.gather(1, tokens[:, None])[:, 0]
    return float(each[1:][spoken[1:]].sum())


def best_of_all(decoder, code, first):
    words = [token for token in range(WORDS) if token not in (PAD, BOS, EOS)]
    found = []
    for count in range(LENGTH):
        for middle in product(words, repeat=count):
            ended = count < LENGTH - 1
            tail = [EOS] * ended + [PAD] * (LENGTH - 2 - count)
            tokens = torch.tensor([first, *middle, *tail])
            found.append((likelihood(decoder, code, tokens), tokens))
    return max(found, key=lambda one: one[0])[1]


@torch.no_grad()
def test_a_wide_search_finds_the_best_of_all_descriptions(decoder, codes):
    found = decoder.decode(codes, LENGTH, torch.tensor([3, 4]), beams=200)
    for code, tokens in zip(codes, found, strict=True):
        assert torch.equal(tokens, best_of_all(decoder, code, int(tokens[0])))


@torch.no_grad()
def test_descriptions_do_not_depend_on_the_batch(decoder, codes):
    together = decoder.decode(codes, LENGTH, beams=3)
    alone = [decoder.decode(code[None], LENGTH, beams=3)[0] for code in codes]
    assert torch.equal(together, torch.stack(alone))


def test_after_the_end_only_padding_and_the_better_total_wins():
    # After 3: 4 (0.6) or 5 (0.4); 4 is followed by one of many, 5 by EOS alone.
    table = torch.full((WORDS, WORDS), 1e-9)
    table[3, 4], table[3, 5] = 0.6, 0.4
    table[4, 3:6] = 1 / 3
    table[5, EOS] = 1.0

    def step(tokens, _):
        return table[tokens[:, -1]].log()

    first = torch.tensor([3])
    assert beam_search(step, first, 4, beams=1)[0, 1] == 4
    assert beam_search(step, first, 4, beams=2)[0].tolist() == [3, 5, EOS, PAD]
