"""What is known of torchvision's nets without building one."""

from collections.abc import Mapping
from dataclasses import dataclass

WIDTH = 64
"""Channels after the first convolution of a ResNet or VGG, as published."""

IMAGENET = (0.449, 0.226)
"""Mean and deviation of ImageNet's grey values in [0, 1]: the three channels' means."""


@dataclass(frozen=True)
class Architecture:
    """How one of the zoo's nets is taken apart.

    Attributes:
        first: Its first convolution.
        head: Its last layer.
        intermediate: The layer whose activations show middling features, 1/8 of the image's side.
        abstract: The last one with places, 1/32 of it (VGG-19 and AlexNet: 1/16, before they pool).
            Both end with a ReLU, in the ResNets the one after the sum of the two branches.
        least: Fewest pixels a side.
        blocks: Of a ResNet, in each of its four stages.
        narrows: Whether it can have another width than the published one.
        scale: Mean and deviation of the grey values that its published weights expect.
    """

    first: str
    head: str
    intermediate: str
    abstract: str
    least: int
    blocks: tuple[int, ...] = ()
    narrows: bool = False
    scale: tuple[float, float] = IMAGENET


_RESNET = ("conv1", "fc", "layer2", "layer4", 32)
ARCHITECTURES: Mapping[str, Architecture] = {
    "resnet18": Architecture(*_RESNET, blocks=(2, 2, 2, 2), narrows=True),
    "resnet34": Architecture(*_RESNET, blocks=(3, 4, 6, 3), narrows=True),
    "vgg19": Architecture("features.0", "classifier.6", "features.26", "features.35", 32),
    "alexnet": Architecture("features.0", "classifier.6", "features.4", "features.11", 63),
    "densenet121": Architecture(
        "features.conv0", "classifier", "features.transition2.relu", "features.relu5", 32
    ),
    "inception_v3": Architecture(
        "Conv2d_1a_3x3.conv", "fc", "Mixed_5d", "Mixed_7c", 75, scale=(0.5, 0.5)
    ),
}
VGG16 = Architecture("features.0", "classifier.6", "features.22", "features.29", 32, narrows=True)
