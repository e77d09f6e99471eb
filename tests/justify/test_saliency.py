"""Each rival's map against its definition, computed here by hand."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from xrj.justify import saliency
from xrj.justify.protocol import SaliencyMap
from xrj.justify.saliency import METHODS, attention, gradcam, integrated_gradients
from xrj.nets.zoo import Classifier

LABELS = ("normal", "cardiomegaly", "other")
TARGETS = ("cardiomegaly", "normal", "other")
SIZE = 70  # not the size that the net is trained at


@pytest.fixture(scope="module")
def classifier():
    """A narrow ResNet that answers to its input, frozen as a loaded one is."""
    torch.manual_seed(0)
    net = Classifier("resnet18", labels=3, width=4, resolution=64)
    for _ in range(20):
        net.train()(torch.randn(16, 1, 64, 64).clamp(-1, 1))
    return net.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def images():
    rough = torch.rand(3, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    return 2 * F.interpolate(rough, (SIZE, SIZE), mode="bilinear") - 1


@pytest.fixture(scope="module")
def maps(classifier, images):
    return saliency.saliency_maps(classifier, images, TARGETS, LABELS)


def places(targets=TARGETS):
    return torch.tensor([LABELS.index(target) for target in targets])


def test_every_method_gives_the_same_kind_of_map(maps):
    assert len(maps) == len(TARGETS)
    assert any(of_image[METHODS.index("gradcam")].values.max() == 1 for of_image in maps)
    for of_image, target in zip(maps, TARGETS, strict=True):
        assert [one.method for one in of_image] == list(METHODS)
        assert len({one.title for one in of_image}) == len(METHODS)
        for one in of_image:
            assert isinstance(one, SaliencyMap)
            assert one.values.shape == (SIZE, SIZE)
            assert one.values.dtype == np.float32
            assert one.values.min() == 0
            assert one.values.max() == 1 or one.method == "gradcam"  # nothing may speak for a label
            assert one.target == (None if one.method.startswith("attention") else target)


def test_methods_come_as_they_are_asked_for(classifier, images, maps):
    asked = ("gradcam", "attention_intermediate")
    some = saliency.saliency_maps(classifier, images, TARGETS, LABELS, asked)
    assert [one.method for one in some[0]] == list(asked)
    whole = {one.method: one.values for one in maps[1]}
    for one in some[1]:
        np.testing.assert_array_equal(one.values, whole[one.method])


def test_a_batch_equals_its_images_one_by_one(classifier, images, maps):
    for place, target in enumerate(TARGETS):
        (alone,) = saliency.saliency_maps(classifier, images[place : place + 1], [target], LABELS)
        for one, other in zip(alone, maps[place], strict=True):
            np.testing.assert_allclose(one.values, other.values, atol=2e-3)


def features(classifier, images):
    """Run the ResNet by hand up to the abstract layer; return both layers' activations."""
    net, (mean, deviation) = classifier.net, classifier.architecture.scale
    x = F.adaptive_avg_pool2d(images, 64)
    x = net.maxpool(net.relu(net.bn1(net.conv1(((x + 1) / 2 - mean) / deviation))))
    middle = net.layer2(net.layer1(x))
    return middle, net.layer4(net.layer3(middle))


def test_attention_is_the_mean_square_over_channels(classifier, images, maps):
    for layer, activation, method in zip(
        (classifier.intermediate, classifier.abstract),
        features(classifier, images),
        METHODS[:2],
        strict=True,
    ):
        expected = (activation**2).sum(dim=1) / activation.shape[1]
        torch.testing.assert_close(attention(layer, classifier, images), expected)
        fine = F.interpolate(expected[:, None], (SIZE, SIZE), mode="bicubic")[:, 0]
        low, high = fine.amin((1, 2), keepdim=True), fine.amax((1, 2), keepdim=True)
        found = np.stack([of_image[METHODS.index(method)].values for of_image in maps])
        np.testing.assert_allclose(found, ((fine - low) / (high - low)).numpy(), atol=1e-5)


def test_gradcam_is_its_formula(classifier, images):
    _, activation = features(classifier, images)
    activation.requires_grad_()
    logits = classifier.net.fc(activation.mean(dim=(2, 3)))
    torch.testing.assert_close(logits, classifier(images))
    (gradient,) = torch.autograd.grad(logits.gather(1, places()[:, None]).sum(), activation)
    weight = gradient.mean(dim=(2, 3), keepdim=True)
    expected = F.relu((weight * activation).sum(dim=1))
    found = gradcam(classifier, images, places())
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-7)
    assert found.max() > 0


def test_gradcam_differs_between_the_labels(classifier, images):
    one, other = (gradcam(classifier, images[:1], torch.tensor([label])) for label in (0, 1))
    assert not torch.allclose(one, other)


def test_integrated_gradients_sum_to_the_change_of_the_logit(classifier, images, monkeypatch):
    monkeypatch.setattr(saliency, "STEPS", 200)
    black = torch.full_like(images, -1)
    change = (classifier(images) - classifier(black)).gather(1, places()[:, None])[:, 0]
    found = integrated_gradients(classifier, images, places())
    assert found.shape == (3, SIZE, SIZE)
    assert (change.abs() > 0.01).all()
    torch.testing.assert_close(found.sum(dim=(1, 2)), change, rtol=0.05, atol=0.01)


def test_integrated_gradients_of_a_linear_net_are_weight_times_distance():
    linear = Linear().requires_grad_(False)
    image = torch.rand(2, 1, 6, 6) * 2 - 1
    found = integrated_gradients(linear, image, torch.tensor([1, 0]))
    weight = linear.layer.weight.view(2, 6, 6)[[1, 0]]
    torch.testing.assert_close(found, weight * (image[:, 0] + 1))


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(36, 2)

    def forward(self, image):
        return self.layer(image.flatten(1))


def test_a_flat_map_is_nowhere_salient(classifier, images):
    smallest = Classifier("resnet18", labels=3, width=2, resolution=32).eval()  # one place
    (maps,) = saliency.saliency_maps(
        smallest, images[:1], ["normal"], LABELS, ["attention_abstract", "gradcam"]
    )
    assert all((one.values == 0).all() for one in maps)


@pytest.mark.parametrize("name", ["alexnet", "densenet121"])
def test_other_nets_are_explained_alike(name, images):
    torch.manual_seed(0)
    net = Classifier(name, labels=3, width=64, resolution=64).requires_grad_(False).eval()
    before = net(images[:2])
    for of_image in saliency.saliency_maps(net, images[:2], TARGETS[:2], LABELS, METHODS[:3]):
        for one in of_image:
            assert one.values.shape == (SIZE, SIZE)
            assert np.isfinite(one.values).all()
        assert of_image[0].values.max() == 1
    torch.testing.assert_close(net(images[:2]), before)  # no hook stays behind


def test_inside_a_block_without_gradients(classifier, images, maps):
    with torch.no_grad():
        again = saliency.saliency_maps(classifier, images, TARGETS, LABELS)
    for one, other in zip(again[0], maps[0], strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_captum_is_imported_only_when_it_is_needed():
    at_import = ast.parse(Path(saliency.__file__).read_text(encoding="utf-8")).body
    modules = [node.module for node in at_import if isinstance(node, ast.ImportFrom)]
    assert "xrj.nets.zoo" in modules
    assert not [name for name in modules if name.startswith("captum")]
