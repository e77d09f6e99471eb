"""Nets of torchvision's model zoo, for grey X-rays of any size (tables 3 and 4)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vgg import cfgs, make_layers

from xrj.errors import ConfigError
from xrj.nets.architectures import ARCHITECTURES, VGG16, WIDTH, Architecture


class GreyNet(nn.Module):
    """One of the zoo's nets, which sees grey images of any size.

    Images are brought to the size it was trained at. The first convolution is the sum of the
    original's over red, green and blue, so that a grey image gives what it would give three times
    over.

    Args:
        architecture: Of the net.
        net: As torchvision builds it, for three colours.
        resolution: Pixels a side that it is trained at.
    """

    def __init__(self, architecture: Architecture, net: nn.Module, resolution: int) -> None:
        super().__init__()
        self.architecture, self.net, self.resolution = architecture, net, resolution
        first = cast(nn.Conv2d, self.net.get_submodule(self.architecture.first))
        first.in_channels = 1
        first.weight = nn.Parameter(first.weight.detach().sum(dim=1, keepdim=True))

    def scaled(self, image: Tensor) -> Tensor:
        """Return images (B, 1, H, W) in [-1, 1] as the net expects them; differentiable."""
        mean, deviation = self.architecture.scale
        return ((resized(image, self.resolution) + 1) / 2 - mean) / deviation

    def load_published(self, path: Path, setting: str) -> None:
        """Take over torchvision's weights for ImageNet, except the last layer's.

        Args:
            path: A `.safetensors`, or torchvision's own `.pth`, which is read without unpickling
                anything but tensors.
            setting: That names it, for a message.

        Raises:
            ConfigError: It cannot be read, or is of another net.
        """
        flag = f"{setting}={path}"
        try:
            state = _read_weights(path)
        except (UnpicklingError, RuntimeError, EOFError, OSError, SafetensorError) as error:
            raise ConfigError(
                f"{flag}: holds no weights that can be read; give a .safetensors, or a .pth as "
                "torchvision publishes it"
            ) from error
        first, head = f"{self.architecture.first}.weight", f"{self.architecture.head}."
        state = {
            _DENSENET_OF_OLD.sub(r"\1\2", key): value
            for key, value in state.items()
            if not key.startswith((head, "AuxLogits."))
        }
        if first in state and state[first].dim() == 4:
            state[first] = state[first].sum(dim=1, keepdim=True)
        own = {key: value for key, value in self.net.state_dict().items() if key.startswith(head)}
        wanted, given = self.net.state_dict(), {**state, **own}
        if wrong := _unfit(wanted, given):
            key, what = next(iter(wrong.items()))
            raise ConfigError(
                f"{flag}: not the weights of this net ({key} {what}; {len(wrong):,} "
                f"tensors do not fit); give those that torchvision publishes for it"
            )
        self.net.load_state_dict(given)


class Classifier(GreyNet):
    """One of the zoo's nets, which judges grey images of any size.

    Inception's auxiliary classifier is left out.

    Args:
        architecture: One of `ARCHITECTURES`.
        labels: Number of them.
        width: Channels after a ResNet's first convolution; `WIDTH` for all others.
        resolution: Pixels a side that it is trained at.
    """

    def __init__(self, architecture: str, labels: int, width: int, resolution: int) -> None:
        net = _build(architecture, labels, width)
        super().__init__(ARCHITECTURES[architecture], net, resolution)

    @property
    def intermediate(self) -> nn.Module:
        """The layer of middling features, (B, C, h, w), none below 0."""
        return self.net.get_submodule(self.architecture.intermediate)

    @property
    def abstract(self) -> nn.Module:
        """The last layer with places, (B, C, h, w), no feature below 0."""
        return self.net.get_submodule(self.architecture.abstract)

    def forward(self, image: Tensor) -> Tensor:
        """Return the labels' logits (B, L) of images (B, 1, H, W) in [-1, 1]; differentiable."""
        logits: Tensor = self.net(self.scaled(image))
        return logits

    def classify(self, image: Tensor) -> Tensor:
        """Return the labels' probabilities (B, L) of images (B, 1, H, W) in [-1, 1]."""
        probabilities: Tensor = self(image).float().softmax(dim=1)
        return probabilities


class VggFeatures(GreyNet):
    """VGG-16 without its last layer: what is where in an image, and what is in all of it.

    Args:
        width: Channels after the first convolution; `WIDTH` for published weights.
        resolution: Pixels a side that it is trained at.
        batch_norm: After each convolution, as in torchvision's vgg16_bn.
    """

    def __init__(self, width: int, resolution: int, batch_norm: bool) -> None:
        super().__init__(VGG16, _Vgg(width, batch_norm), resolution)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of images (B, 1, H, W) in [-1, 1].

        Returns:
            Those of the last pooled convolution, (B, 8 width, S), at the S places of a grid with
            1/32 of the image's side; and those of the last but one dense layer, (B, 64 width).
        """
        net = cast(_Vgg, self.net)
        places = net.features(self.scaled(image))
        whole: Tensor = net.classifier(net.avgpool(places).flatten(1))
        return places.flatten(2), whole


_DENSENET_OF_OLD = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")
"""In torchvision's file for DenseNet a layer is `norm.1`, in its class `norm1`."""


def _read_weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise RuntimeError("not a dictionary of tensors")
    return state


def _unfit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, str]:
    """Return what is wrong with each tensor that does not fit; old files count no batches."""
    wrong = {}
    for key in {**wanted, **given}:
        if key not in wanted:
            wrong[key] = "is none of its own"
        elif key not in given and not key.endswith("num_batches_tracked"):
            wrong[key] = "is missing"
        elif key in given and given[key].shape != wanted[key].shape:
            shapes = (" x ".join(map(str, one[key].shape)) for one in (given, wanted))
            wrong[key] = "is {}, not {}".format(*shapes)
    return wrong


def resized(image: Tensor, size: int) -> Tensor:
    """Return images (B, C, H, W) with `size` pixels a side: means over areas, or interpolated."""
    if image.shape[-2:] == (size, size):
        return image
    if min(image.shape[-2:]) >= size:
        return F.adaptive_avg_pool2d(image, size)
    return F.interpolate(image, (size, size), mode="bilinear")


def _build(name: str, labels: int, width: int) -> nn.Module:
    if name.startswith("resnet"):
        return _ResNet(ARCHITECTURES[name].blocks, labels, width)
    net: nn.Module
    if name == "densenet121":
        return _DenseNet121(labels)
    if name == "inception_v3":
        net = models.inception_v3(num_classes=labels, aux_logits=False, init_weights=True)
    else:
        net = models.get_model(name, num_classes=labels)
    return net


class _DenseNet121(DenseNet):  # type: ignore[misc]  # torchvision is not typed
    """torchvision's DenseNet-121 with its last ReLU, a function there, as a layer to be hooked."""

    def __init__(self, labels: int) -> None:
        super().__init__(32, (6, 12, 24, 16), 64, num_classes=labels)
        self.features.add_module("relu5", nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        places: Tensor = self.features(image)
        logits: Tensor = self.classifier(places.mean(dim=(2, 3)))
        return logits


class _ResNet(ResNet):  # type: ignore[misc]  # torchvision is not typed
    """torchvision's ResNet of basic blocks with `width` channels where the original has 64."""

    def __init__(self, blocks: Sequence[int], labels: int, width: int) -> None:
        self.width = width
        super().__init__(BasicBlock, list(blocks), num_classes=labels)
        self.fc = nn.Linear(width << 3, labels)

    def _make_layer(self, block: Any, planes: int, *arguments: Any, **keywords: Any) -> Any:
        if planes == WIDTH:  # the first stage, after the stem
            self.inplanes = self.width
            self.conv1 = nn.Conv2d(3, self.width, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(self.width)
        return super()._make_layer(block, planes * self.width // WIDTH, *arguments, **keywords)


class _Vgg(nn.Module):
    """torchvision's VGG-16 with `width` channels where the original has 64, without its head."""

    def __init__(self, width: int, batch_norm: bool) -> None:
        super().__init__()
        places, whole = width << 3, width << 6
        narrowed = [x if x == "M" else x * width // WIDTH for x in cfgs["D"]]
        self.features = make_layers(narrowed, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(places * 7 * 7, whole), nn.ReLU(), nn.Dropout(),
            nn.Linear(whole, whole), nn.ReLU(), nn.Dropout(),
        )  # fmt: skip
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, nn.Linear):  # as torchvision does at width 64, in variance
                nn.init.normal_(layer.weight, 0.0, 0.01 * (WIDTH / width) ** 0.5)
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
