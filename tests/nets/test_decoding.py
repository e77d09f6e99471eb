from itertools import product

import pytest
import torch

from xrj.nets.captioner import ConvolutionalCaptioner
from xrj.nets.decoding import BOS, EOS, OOV, PAD, UNLABELLED, beam_search, no_words
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
    found = decoder.decode(codes, LENGTH, beams=200)
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


def test_what_is_no_word_is_skipped_and_what_is_left_is_not_made_likelier():
    # After 5: OOV (0.7) or 6 (0.3), then EOS; or 7 at the start (0.35), then EOS.
    table = torch.full((8, 8), 1e-9)
    table[4, 5], table[4, 7] = 0.65, 0.35
    table[5, OOV], table[5, 6] = 0.7, 0.3
    table[OOV, EOS] = table[6, EOS] = table[7, EOS] = 1.0

    def step(tokens, _):
        return table[tokens[:, -1]].log()

    first = torch.tensor([4])
    assert beam_search(step, first, 4, 4)[0].tolist() == [4, 5, OOV, EOS]
    assert beam_search(step, first, 4, 4, torch.tensor([OOV]))[0].tolist() == [4, 7, EOS, PAD]
    assert beam_search(step, first, 4, 1, torch.tensor([OOV]))[0].tolist() == [4, 5, 6, EOS]


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("likely", [PAD, BOS, OOV, UNLABELLED, 5, 6])
@torch.no_grad()
def test_readers_are_shown_words_alone(likely, beams):
    torch.manual_seed(0)
    labels = torch.tensor([5, 6])
    decoder = TextDecoder(12, 4, 8, dropout=0.0, tied=False).eval()
    captioner = ConvolutionalCaptioner(12, 1, 32, batch_norm=True).eval()
    decoder.output.bias[likely] = captioner.output.bias[likely] = 20.0
    images = torch.zeros(2, 1, 32, 32)
    for found in (
        decoder.decode(torch.randn(3, 4), 6, labels, beams),
        captioner.decode(captioner.see(images), 6, labels, beams),
    ):
        assert set(found[:, 0].tolist()) <= {5, 6}
        for words in found[:, 1:].tolist():
            said = words[: words.index(EOS)] if EOS in words else words
            assert not set(said) & set(no_words(labels).tolist())
    assert likely in decoder.decode(torch.randn(3, 4), 6, beams=beams)[:, 1:].unique().tolist()
