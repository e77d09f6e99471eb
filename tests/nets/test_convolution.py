"""Convolutions compute what they stand for, with its gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xrj.nets import convolution
from xrj.nets.convolution import JoinConvolution, UpConvolution


def doubled(net, x):
    """Compute an up-convolution and, plainly, what it stands for."""
    return net(x), F.conv2d(F.interpolate(x, scale_factor=2), net.weight, padding=1)


@pytest.fixture(params=["nine products", "a part at once", "transposed"])
def up(request, monkeypatch):
    """Return an up-convolution that computes in this way."""
    monkeypatch.setattr(convolution, "WIDE", 99 if request.param == "transposed" else 1)
    if request.param == "a part at once":
        monkeypatch.setattr(convolution, "AT_ONCE", 2 * 9 * 4 * 6 * 5)
    torch.manual_seed(0)
    net = UpConvolution(3, 5).double()
    nn.init.normal_(net.weight)
    return net


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_up_convolution_is_nearest_neighbour_and_convolution(up, layout):
    x = torch.randn(3, 3, 4, 6, dtype=torch.double).contiguous(memory_format=layout)
    x.requires_grad_()
    actual, expected = doubled(up, x)
    torch.testing.assert_close(actual, expected)
    weight = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weight).sum(), (x, up.weight))
    found = torch.autograd.grad((actual * weight).sum(), (x, up.weight))
    torch.testing.assert_close(found, wanted)


def test_of_a_single_pixel_and_of_frozen_weights(up):
    x = torch.randn(1, 3, 1, 1, dtype=torch.double, requires_grad=True)
    up.requires_grad_(False)
    actual, expected = doubled(up, x)
    torch.testing.assert_close(actual, expected)
    pair = [torch.autograd.grad(y.square().sum(), x)[0] for y in (actual, expected)]
    torch.testing.assert_close(*pair)


def test_a_row_does_not_depend_on_the_others(up):
    x = torch.randn(3, 3, 4, 6, dtype=torch.double)
    torch.testing.assert_close(up(x)[1:2], up(x[1:2]))


def test_wide_ones_take_nine_products_on_a_cpu(monkeypatch):
    taken = []
    products = convolution._NineProducts.apply
    monkeypatch.setattr(
        convolution._NineProducts, "apply", lambda *x: taken.append(len(x[1])) or products(*x)
    )
    for inputs in (convolution.WIDE - 1, convolution.WIDE):
        UpConvolution(inputs, inputs - 60)(torch.zeros(1, inputs, 4, 4))
    assert taken == [convolution.WIDE - 60]


def test_under_autocast_it_computes_in_bfloat16_and_its_weights_stay_precise(up):
    up.float()
    x = torch.randn(3, 3, 4, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y = up(x)
        y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    assert up.weight.grad.dtype == torch.float32
    torch.testing.assert_close(y.float(), doubled(up, x)[1], rtol=0.1, atol=0.2)


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (5, 3)])
def test_a_vector_beside_features_is_one_spread_over_them(size):
    torch.manual_seed(0)
    net = JoinConvolution(3, 2, 5).double()
    nn.init.normal_(net.taps)
    features = torch.randn(2, 3, *size, dtype=torch.double, requires_grad=True)
    vector = torch.randn(2, 2, dtype=torch.double, requires_grad=True)
    taps = net.taps.permute(2, 1, 0).unflatten(2, (3, 3))
    spread = vector[:, :, None, None].expand(-1, -1, *size)
    expected = F.conv2d(
        torch.cat([features, spread], dim=1), torch.cat([net.over.weight, taps], dim=1), padding=1
    )
    actual = net(features, vector)
    torch.testing.assert_close(actual, expected)
    inputs = (features, vector, net.taps, net.over.weight)
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    torch.testing.assert_close(torch.autograd.grad(actual.square().sum(), inputs), wanted)


def test_weights_of_a_convolution_over_both_are_taken():
    torch.manual_seed(0)
    net, whole = JoinConvolution(3, 2, 5), nn.Conv2d(5, 5, 3, padding=1, bias=False)
    net.load_state_dict({"weight": whole.weight.detach()})
    features, vector = torch.randn(2, 3, 4, 4), torch.randn(2, 2)
    spread = vector[:, :, None, None].expand(-1, -1, 4, 4)
    expected = whole(torch.cat([features, spread], dim=1))
    torch.testing.assert_close(net(features, vector), expected)
