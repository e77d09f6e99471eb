import pytest
import torch
from torch import nn

from xrj.nets.image import Residual
from xrj.nets.inverse import InverseMapping


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters()) / 1e6


def test_paper_size():
    with torch.device("meta"):
        net = InverseMapping(
            300, 100, 300**0.5, width=64, size=64, channels=1, dropout=0.5, convolution_dropout=0.1
        )
        assert net(torch.empty(2, 1, 64, 64)).shape == (2, 400)
    assert parameters(net) == pytest.approx(11.9, abs=0.05)


def test_the_code_lies_on_the_encoders_sphere_and_the_noise_is_free():
    net = InverseMapping(
        6, 3, scale=2.5, width=2, size=16, channels=1, dropout=0.5, convolution_dropout=0.1
    ).eval()
    r = net(torch.rand(5, 1, 16, 16) * 2 - 1)
    torch.testing.assert_close(r[:, :6].norm(dim=1), torch.full((5,), 2.5))
    assert r[:, 6:].norm(dim=1).std() > 0


def test_dropout_is_a_tenth_after_convolutions_and_half_after_dense_layers():
    net = InverseMapping(
        6, 3, scale=1.0, width=2, size=32, channels=1, dropout=0.5, convolution_dropout=0.1
    )
    rates = [layer.p for layer in net.modules() if isinstance(layer, torch.nn.Dropout)]
    assert rates == [0.1, 0.1, 0.1, 0.5, 0.5]


def test_residual_blocks_follow_each_halving_and_none_is_the_papers_net():
    def net(blocks):
        torch.manual_seed(0)
        return InverseMapping(6, 3, 1.0, 2, 32, 1, 0.0, 0.0, blocks)

    def blocks_of(net):
        return [block for block in net.modules() if isinstance(block, Residual)]

    assert not blocks_of(net(0))
    deep = net(2)
    assert [block.body[0].in_channels for block in blocks_of(deep)] == [2, 2, 4, 4, 8, 8]
    last = blocks_of(InverseMapping(6, 3, 1.0, 16, 32, 1, 0.0, 0.0, 1))[-1].body[0].weight
    assert last.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    for block in blocks_of(deep):
        block.body[-1].weight.data.zero_()
    image = torch.rand(3, 1, 32, 32)
    assert deep(image).shape == (3, 9)
    grown = list(deep.convolutions[0])[:2]
    torch.testing.assert_close(
        deep.convolutions[0](image), torch.relu(nn.Sequential(*grown)(image))
    )


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (128, 1)])
def test_other_sizes(size, channels):
    net = InverseMapping(
        6, 3, scale=1.0, width=2, size=size, channels=channels, dropout=0.5, convolution_dropout=0.1
    )
    assert net(torch.zeros(2, channels, size, size)).shape == (2, 9)
