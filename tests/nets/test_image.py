import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xrj.nets.image import (
    Discriminator,
    GeneratorStage1,
    GeneratorStage2,
    halvings,
    initialise_gan,
)

R, EMBEDDING = 400, 300


def millions(net):
    return sum(parameter.numel() for parameter in net.parameters()) / 1e6


def outputs_of(net, kind):
    """Channels out of each layer of a kind, in order."""
    return [layer.weight.shape[0] for layer in net.modules() if isinstance(layer, kind)]


@pytest.fixture
def paper():
    """Build at the paper's sizes without memory."""
    with torch.device("meta"):
        yield


def second(reading="paper", *, width=96, small=64, size=256, channels=1, representation=R):
    return GeneratorStage2(representation, width, small, size, channels, reading, skip=False)


def test_halvings():
    assert [halvings(size) for size in (8, 64, 256)] == [1, 4, 6]
    for size in (4, 24, 100):
        with pytest.raises(ValueError, match=str(size)):
            halvings(size)


def test_generator_1_at_paper_size(paper):
    net = GeneratorStage1(R, 96, 64, 1)
    assert millions(net) == pytest.approx(24.0, abs=0.05)
    assert net.top == 1536
    assert outputs_of(net.body, nn.BatchNorm2d) == [768, 384, 192, 96]
    assert net(torch.empty(2, R)).shape == (2, 1, 64, 64)


def test_discriminator_1_at_paper_size(paper):
    net = Discriminator(R, 96, 64, 1, lean=False)
    assert millions(net) == pytest.approx(14.3, abs=0.05)
    assert outputs_of(net.image, nn.Conv2d) == [96, 192, 384, 768]
    assert net.joint[0].over.weight.shape == (768, 768, 3, 3)
    assert net.joint[0].taps.shape == (9, R, 768)
    assert net(torch.empty(2, 1, 64, 64), torch.empty(2, R)).shape == (2,)
    assert millions(Discriminator(R, 96, 64, 1, lean=True)) == millions(net)


@pytest.mark.parametrize(
    ("lean", "size", "ladder"),
    [
        (False, 161.8, [96, 192, 384, 768, 1536, 3072, 1536, 768]),
        (True, 52.0, [96, 192, 384, 768, 1536, 768]),
    ],
    ids=["full", "lean"],
)
def test_discriminator_2_at_paper_size(paper, lean, size, ladder):
    net = Discriminator(R, 96, 256, 1, lean=lean)
    assert millions(net) == pytest.approx(size, abs=0.05)
    assert outputs_of(net.image, nn.Conv2d) == ladder
    assert net.image(torch.empty(2, 1, 256, 256)).shape == (2, 768, 4, 4)
    assert net(torch.empty(2, 1, 256, 256), torch.empty(2, R)).shape == (2,)


def test_no_batch_norm_on_the_first_two_convolutions(paper):
    layers = list(Discriminator(R, 96, 64, 1, lean=False).image)
    assert [any(isinstance(x, nn.BatchNorm2d) for x in layer) for layer in layers] == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("reading", "bottleneck", "ladder"),
    [("paper", 8, [384, 192, 96, 48, 24]), ("stackgan", 16, [384, 192, 96, 48])],
)
def test_generator_2_at_paper_size(paper, reading, bottleneck, ladder):
    net = second(reading)
    assert net.encode(torch.empty(2, 1, 64, 64)).shape == (2, 768, bottleneck, bottleneck)
    assert net.join[0].over.weight.shape[:2] == (768, 768)
    assert net.join[0].taps.shape[1:] == (R, 768)
    assert outputs_of(net.body, nn.BatchNorm2d) == ladder
    assert net(torch.empty(2, R), torch.empty(2, 1, 64, 64)).shape == (2, 1, 256, 256)


def test_size_of_generator_2(paper):
    assert millions(second("stackgan")) == pytest.approx(38.7, abs=0.1)


@pytest.mark.parametrize("reading", ["paper", "stackgan"])
@pytest.mark.parametrize(
    ("small", "size", "channels"), [(32, 128, 1), (64, 512, 1), (32, 64, 3), (16, 32, 1)]
)
def test_other_sizes(reading, small, size, channels):
    representation, r = 10, torch.randn(2, 10)
    with torch.no_grad():
        image = GeneratorStage1(representation, 2, small, channels)(r)
        assert image.shape == (2, channels, small, small)
        net = second(
            reading,
            width=2,
            small=small,
            size=size,
            channels=channels,
            representation=representation,
        )
        large = net(r, image)
        assert large.shape == (2, channels, size, size)
        for shown in (image, large):
            assert shown.abs().max() <= 1
        for lean in (True, False):
            judge = Discriminator(representation, 2, size, channels, lean)
            assert judge(large, r).shape == (2,)


def test_with_skip_an_untrained_net_shows_the_small_image():
    torch.manual_seed(0)
    small = F.interpolate(torch.rand(2, 1, 4, 4) * 1.6 - 0.8, size=32, mode="bicubic").clamp(
        -0.9, 0.9
    )
    r = torch.randn(2, 10)
    net = GeneratorStage2(10, 2, 32, 64, 1, "stackgan", skip=True).eval()
    nn.init.zeros_(net.output.weight)
    expected = F.interpolate(small, size=64, mode="bicubic").clamp(-0.99, 0.99)
    torch.testing.assert_close(net(r, small), expected, atol=1e-5, rtol=0)


def test_the_generators_listen_to_r():
    torch.manual_seed(0)
    first, two, r = (
        GeneratorStage1(10, 2, 16, 1),
        second(width=2, small=16, size=32, representation=10),
        torch.randn(2, 10),
    )
    small = torch.zeros(2, 1, 16, 16)
    assert not torch.allclose(*first(r).chunk(2), atol=1e-4)
    assert not torch.allclose(*two(r, small).chunk(2), atol=1e-4)


def test_pairs_can_share_image_features():
    net = Discriminator(6, 2, 16, 1, lean=True).eval()
    image, condition = torch.rand(3, 1, 16, 16), torch.randn(3, 6)
    torch.testing.assert_close(net.judge(net.look(image), condition), net(image, condition))
    assert not torch.allclose(net(image, condition), net(image, -condition), atol=1e-5)


def test_initial_weights_are_those_of_dcgan():
    torch.manual_seed(0)
    net = GeneratorStage1(50, 8, 32, 1)
    assert net.start[0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert torch.cat(
        [p.flatten() for n, p in net.body.named_parameters() if p.dim() == 4]
    ).std().item() == pytest.approx(0.02, rel=0.05)
    norm = nn.BatchNorm2d(4000)
    initialise_gan(norm)
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.005)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not norm.bias.any()


def test_pictures_have_32_bits_in_mixed_precision():
    r, small = torch.randn(2, 10), torch.zeros(2, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        pictures = [
            GeneratorStage1(10, 2, 16, 1)(r),
            second(width=2, small=16, size=32, representation=10)(r, small),
        ]
    for picture in pictures:
        assert picture.dtype == torch.float32
        assert not torch.equal(picture, picture.bfloat16().float())
