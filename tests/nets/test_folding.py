"""Folded nets compute what the nets they were made from compute."""

import pytest
import torch
from torch import nn

from xrj.nets.folding import fold
from xrj.nets.image import GeneratorStage1, GeneratorStage2
from xrj.nets.inverse import InverseMapping


def trained(net):
    """Give every parameter and every batch statistic a value that matters."""
    chance = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for values in (module.weight.data, module.running_var):
                values.uniform_(0.5, 2.0, generator=chance)
            for values in (module.bias.data, module.running_mean):
                values.normal_(generator=chance)
        elif isinstance(weight := getattr(module, "weight", None), torch.Tensor):
            weight.data.normal_(0, weight[0].numel() ** -0.5, generator=chance)
    return net.eval()


@pytest.fixture(params=["stage1", "paper", "stackgan", "inverse", "residual"])
def net_and_inputs(request):
    r, small = torch.randn(3, 9), torch.randn(3, 1, 16, 16)
    if request.param == "stage1":
        return trained(GeneratorStage1(9, 4, 16, 1)), (r,)
    if request.param in ("inverse", "residual"):
        blocks = int(request.param == "residual")
        return trained(InverseMapping(6, 3, 1.0, 4, 16, 1, 0.5, 0.1, blocks)), (small,)
    net = GeneratorStage2(9, 4, 16, 64, 1, request.param, skip=True)
    return trained(net), (r, small.clamp(-1, 1))


def test_it_computes_the_same(net_and_inputs):
    net, inputs = net_and_inputs
    before = {key: value.clone() for key, value in net.state_dict().items()}
    folded = fold(net)
    assert not [module for module in folded.modules() if "Norm" in type(module).__name__]
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    for one in inputs:
        one.requires_grad_()
    expected, found = net(*inputs), fold(net)(*inputs)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    chance = torch.randn_like(expected)
    gradients = (torch.autograd.grad((y * chance).sum(), inputs) for y in (found, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    after = net.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
