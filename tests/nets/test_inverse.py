import pytest
import torch

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


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (128, 1)])
def test_other_sizes(size, channels):
    net = InverseMapping(
        6, 3, scale=1.0, width=2, size=size, channels=channels, dropout=0.5, convolution_dropout=0.1
    )
    assert net(torch.zeros(2, channels, size, size)).shape == (2, 9)
