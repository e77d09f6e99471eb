"""Frozen nets made quick: batch normalisations folded into the layers before them."""

from copy import deepcopy
from itertools import pairwise
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from xrj.nets.convolution import JoinConvolution, UpConvolution

Net = TypeVar("Net", bound=nn.Module)


def fold(net: Net) -> Net:
    """Return a copy of a net in evaluation mode that computes the same in less time.

    In its sequences each batch normalisation becomes part of the linear layer or convolution
    before it, and an `UpConvolution` the transposed convolution that it stands for. Convolutions
    work on channels-last tensors.
    """
    folded = deepcopy(net)
    for sequence in [module for module in folded.modules() if isinstance(module, nn.Sequential)]:
        for place, (layer, norm) in enumerate(pairwise(list(sequence))):
            if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                continue
            fused: nn.Module
            if isinstance(layer, UpConvolution):
                fused = fuse_conv_bn_eval(_transposed(layer), norm, transpose=True)
            elif isinstance(layer, JoinConvolution):
                fused = _joined(layer, norm)
            elif isinstance(layer, nn.Conv2d):
                fused = fuse_conv_bn_eval(layer, norm)
            elif isinstance(layer, nn.Linear):
                fused = fuse_linear_bn_eval(layer, norm)
            else:
                continue
            sequence[place], sequence[place + 1] = fused, nn.Identity()
    for parameter in folded.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return folded.requires_grad_(False)


def _transposed(layer: UpConvolution) -> nn.ConvTranspose2d:
    kernel = layer.kernel()
    inputs, outputs, side, _ = kernel.shape
    transposed = nn.ConvTranspose2d(
        inputs, outputs, side, stride=2, padding=1, bias=False, device=kernel.device
    )
    transposed.weight = nn.Parameter(kernel)
    return transposed.eval()


def _joined(layer: JoinConvolution, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> JoinConvolution:
    joined = deepcopy(layer)
    joined.over = fuse_conv_bn_eval(layer.over, norm)
    variance = cast(Tensor, norm.running_var)
    joined.taps = nn.Parameter(layer.taps * norm.weight * (variance + norm.eps).rsqrt())
    return joined
