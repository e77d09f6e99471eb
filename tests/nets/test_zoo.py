import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from xrj.errors import ConfigError
from xrj.nets.architectures import ARCHITECTURES, IMAGENET
from xrj.nets.registry import build_net
from xrj.nets.zoo import Classifier, models, resized


@pytest.fixture(scope="module")
def classifier():
    """A narrow ResNet with the statistics of a batch, in evaluation mode."""
    torch.manual_seed(0)
    net = Classifier("resnet18", labels=3, width=4, resolution=32)
    net.train()(torch.rand(16, 1, 32, 32) * 2 - 1)
    return net.eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_net_judges_grey_images_of_any_size(name):
    least = ARCHITECTURES[name].least
    net = Classifier(name, labels=3, width=64, resolution=least).eval()
    seen = {}
    for layer in ("intermediate", "abstract"):
        getattr(net, layer).register_forward_hook(
            lambda _module, _inputs, output, layer=layer: seen.update({layer: output})
        )
    with torch.no_grad():
        probabilities = net.classify(torch.rand(2, 1, least + 9, least + 9) * 2 - 1)
    assert probabilities.shape == (2, 3)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2))
    for output in seen.values():
        assert output.dim() == 4
        assert output.min() >= 0  # the ReLU is part of it
    assert seen["intermediate"].shape[-1] > seen["abstract"].shape[-1]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_net_can_learn(name):
    torch.manual_seed(0)
    least = ARCHITECTURES[name].least
    net = Classifier(name, labels=3, width=64, resolution=least)
    F.cross_entropy(net(torch.rand(2, 1, least, least) * 2 - 1), torch.tensor([0, 2])).backward()
    first = net.net.get_submodule(ARCHITECTURES[name].first)
    assert first.weight.grad.abs().sum() > 0
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_too_few_pixels_fail_one_below_the_least():
    for name in ("alexnet", "inception_v3"):
        least = ARCHITECTURES[name].least
        net = Classifier(name, labels=2, width=64, resolution=least - 1).eval()
        with pytest.raises(RuntimeError):
            net(torch.zeros(1, 1, least - 1, least - 1))


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_a_resnet_is_narrowed_throughout(name):
    narrow = Classifier(name, labels=2, width=8, resolution=32).net
    channels = [narrow.conv1.out_channels] + [
        getattr(narrow, f"layer{i}")[-1].conv2.out_channels for i in (1, 2, 3, 4)
    ]
    assert channels == [8, 8, 16, 32, 64]
    assert narrow.fc.in_features == 64
    wide = Classifier(name, labels=1000, width=64, resolution=32).net.state_dict()
    original = models.get_model(name).state_dict()
    assert wide.pop("conv1.weight").shape == (64, 1, 7, 7)
    assert original.pop("conv1.weight").shape == (64, 3, 7, 7)
    assert {k: v.shape for k, v in wide.items()} == {k: v.shape for k, v in original.items()}


def publish(name, folder, kind):
    """Write a net of torchvision's as torchvision does; return it and the path."""
    torch.manual_seed(1)
    options = {"aux_logits": True, "init_weights": False} if name == "inception_v3" else {}
    net = models.get_model(name, **options)
    state = net.state_dict()
    if name == "densenet121":  # the names in torchvision's file
        state = {
            key.replace("norm1", "norm.1")
            .replace("norm2", "norm.2")
            .replace("conv1", "conv.1")
            .replace("conv2", "conv.2")
            if "denselayer" in key
            else key: value
            for key, value in state.items()
        }
    path = folder / f"{name}.{kind}"
    if kind == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    return net.eval(), path


@pytest.mark.parametrize(
    ("name", "kind"),
    [("resnet18", "safetensors"), ("densenet121", "pth"), ("inception_v3", "pth")],
)
def test_published_weights_see_a_grey_image_as_three_times_over(name, kind, tmp_path):
    published, path = publish(name, tmp_path, kind)
    net = Classifier(name, labels=2, width=64, resolution=96).eval()
    head = net.net.get_submodule(ARCHITECTURES[name].head)
    before = head.weight.clone()
    net.load_published(path, "classifier.weights")
    assert torch.equal(head.weight, before)

    for whole in (net.net, published):
        whole.set_submodule(ARCHITECTURES[name].head, nn.Identity())
    image = torch.rand(2, 1, 96, 96)
    mean, deviation = (0.5, 0.5) if name == "inception_v3" else IMAGENET
    with torch.no_grad():
        expected = published(((image - mean) / deviation).expand(-1, 3, -1, -1))
        found = net(2 * image - 1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_weights_that_do_not_serve_are_refused_in_one_line(tmp_path):
    net = Classifier("resnet18", labels=2, width=64, resolution=32)
    text, pickled, nested, other = (tmp_path / f"{name}.pth" for name in "abcd")
    text.write_text("no weights")
    torch.save({"conv1.weight": Evil(tmp_path / "executed")}, pickled)
    torch.save({"state_dict": net.net.state_dict()}, nested)
    torch.save({"conv1.weight": torch.zeros(3), "features.0.weight": torch.zeros(2)}, other)
    (tmp_path / "d.safetensors").write_bytes(b"x" * 100)
    for path, reason in {
        tmp_path: "no weights that can be read",
        tmp_path / "nowhere.safetensors": "no weights that can be read",
        text: "no weights that can be read",
        pickled: "no weights that can be read",
        nested: "no weights that can be read",
        tmp_path / "d.safetensors": "no weights that can be read",
        other: r"this net \(conv1.weight is 3, not 64 x 1 x 7 x 7; 101 tensors do not fit\)",
    }.items():
        with pytest.raises(ConfigError, match=reason) as caught:
            net.load_published(path, "classifier.weights")
        assert str(caught.value).startswith(f"classifier.weights={path}: ")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_images_are_averaged_down_and_interpolated_up():
    image = torch.rand(2, 1, 64, 64)
    assert resized(image, 64) is image
    torch.testing.assert_close(resized(image, 16), F.avg_pool2d(image, 4))
    assert resized(image[..., :16, :16], 40).shape == (2, 1, 40, 40)
    assert resized(image[..., :40], 48).shape == (2, 1, 48, 48)
    even = resized(torch.full((1, 1, 9, 9), 0.3), 40)
    torch.testing.assert_close(even, torch.full((1, 1, 40, 40), 0.3))


def test_a_judgement_does_not_depend_on_the_batch(classifier):
    images = torch.rand(5, 1, 50, 50) * 2 - 1
    with torch.no_grad():
        together = classifier(images)
        alone = torch.cat([classifier(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert together.std() > 0.01


def test_the_registry_builds_it_again(classifier):
    spec = {
        "net": "Classifier",
        "architecture": "resnet18",
        "labels": 3,
        "width": 4,
        "resolution": 32,
    }
    again = build_net(spec)
    assert again.spec == spec
    again.load_state_dict(classifier.state_dict())
    image = torch.rand(1, 1, 32, 32)
    assert torch.equal(again.eval()(image), classifier(image))
