"""Nets by name and sizes: what a stage's export records and the next stage builds again."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from xrj.nets.captioner import ConvolutionalCaptioner
from xrj.nets.familiarity import Familiarity
from xrj.nets.image import Discriminator, GeneratorStage1, GeneratorStage2
from xrj.nets.inverse import InverseMapping
from xrj.nets.noise import NoiseEncoder
from xrj.nets.segmenter import Segmenter
from xrj.nets.teachers import Teachers
from xrj.nets.text import CodeCritic, CodeGenerator, TextDecoder, TextEncoder
from xrj.nets.zoo import Classifier

NETS: Mapping[str, type[nn.Module]] = {
    net.__name__: net
    for net in (
        TextEncoder,
        TextDecoder,
        CodeGenerator,
        CodeCritic,
        GeneratorStage1,
        GeneratorStage2,
        NoiseEncoder,
        Discriminator,
        InverseMapping,
        Teachers,
        Familiarity,
        Classifier,
        ConvolutionalCaptioner,
        Segmenter,
    )
}


def build_net(spec: Mapping[str, Any]) -> nn.Module:
    """Build a net from {"net": class name, **sizes}; the net keeps it as `net.spec`.

    Raises:
        KeyError: The class is not one of `NETS`.
        TypeError: The sizes are not those of the class.
    """
    sizes = {key: value for key, value in spec.items() if key != "net"}
    net = NETS[spec["net"]](**sizes)
    net.spec = dict(spec)  # type: ignore[assignment]  # nn.Module types every attribute as Tensor | Module
    return net
