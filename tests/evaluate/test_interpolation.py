"""Walks in the embedding space."""

import math

import torch

from xrj.datamodules.vocabulary import Vocabulary
from xrj.evaluate.interpolation import as_text, interpolate, slerp
from xrj.nets.text import TextDecoder, TextEncoder

PLACES = torch.linspace(0, 1, 5)


def test_slerp_walks_the_great_circle_evenly():
    a, b = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    walk = slerp(a, b, PLACES)
    angles = torch.atan2(walk[:, 1], walk[:, 0])
    assert torch.allclose(angles, PLACES * math.pi / 2, atol=1e-6)
    assert torch.allclose(walk.norm(dim=1), torch.ones(5))
    assert torch.allclose(walk[0], a)
    assert torch.allclose(walk[-1], b, atol=1e-6)


def test_slerp_between_equal_ends_stays():
    a = torch.nn.functional.normalize(torch.ones(6), dim=0)
    assert torch.allclose(slerp(a, a.clone(), PLACES), a.expand(5, -1), atol=1e-6)


def test_a_walk_begins_and_ends_at_its_captions():
    torch.manual_seed(0)
    vocabulary = Vocabulary(("normal", "cardiomegaly"), ("heart", "large", "small"))
    encoder = TextEncoder(vocabulary.size, 8, 0.0).eval()
    decoder = TextDecoder(vocabulary.size, 8, 8, 0.0, False).eval()
    ends = ("normal", ["heart", "small"]), ("cardiomegaly", ["heart", "large"])
    walk = interpolate(encoder, decoder, vocabulary, ends, steps=4, length=5)
    assert len(walk) == 4
    for place, end in ((0, 0), (-1, 1)):
        code = encoder(torch.tensor([vocabulary.encode(*ends[end])]))
        assert walk[place] == vocabulary.decode(decoder.decode(code, 5)[0].tolist())
    lines = as_text(3, ends, walk).splitlines()
    assert lines[0] == "3. from  normal: heart small"
    assert lines[-1].endswith("to    cardiomegaly: heart large")
    assert [line.split()[0] for line in lines[1:-1]] == ["0.00", "0.33", "0.67", "1.00"]
