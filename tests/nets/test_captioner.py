import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from xrj.errors import ConfigError
from xrj.losses import caption_nll, coverage
from xrj.nets.architectures import IMAGENET
from xrj.nets.captioner import CausalConvolution, ConvolutionalCaptioner
from xrj.nets.decoding import EOS, PAD
from xrj.nets.registry import build_net
from xrj.nets.zoo import VggFeatures, models

VOCABULARY, LABELS = 24, torch.tensor([5, 6])


def loud(net):
    """Let words and places move the logits far more than at the start, as training would."""
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, CausalConvolution):
                layer.length.mul_(1.5)
        net.words.weight.mul_(8)
    return net


@pytest.fixture(scope="module")
def net():
    """An untrained captioner of words of 16 channels, at 64 pixels: four places."""
    torch.manual_seed(0)
    return loud(ConvolutionalCaptioner(VOCABULARY, 2, 64, batch_norm=False)).eval()


@pytest.fixture(scope="module")
def seen(net):
    torch.manual_seed(1)
    with torch.no_grad():
        places, whole = net.see(torch.rand(6, 1, 64, 64) * 2 - 1)
    return places + torch.rand_like(places), whole + torch.rand_like(whole)


def test_it_sees_places_and_the_whole_of_images_of_any_size(net):
    for size in (40, 64, 90):
        places, whole = net.see(torch.rand(2, 1, size, size) * 2 - 1)
        assert places.shape == (2, 16, 4)
        assert whole.shape == (2, 128)


def test_a_causal_convolution_is_a_weight_normalised_one_that_sees_the_past():
    torch.manual_seed(0)
    ours = CausalConvolution(3, 4, kernel=5)
    theirs = weight_norm(nn.Conv1d(3, 4, 5, padding=4))
    with torch.no_grad():
        ours.length.uniform_(0.5, 2)
        ours.bias.uniform_(-1, 1)
        theirs.bias.copy_(ours.bias)
        theirs.parametrizations.weight.original0.copy_(ours.length)
        theirs.parametrizations.weight.original1.copy_(ours.direction)
    x = torch.randn(2, 3, 9)
    torch.testing.assert_close(ours(x), theirs(x)[:, :, :9])


@pytest.mark.parametrize("place", range(8))
def test_logits_do_not_depend_on_later_words(net, seen, place):
    torch.manual_seed(place)
    tokens = torch.randint(5, VOCABULARY, (6, 9))
    other = tokens.clone()
    other[:, place:] = 5 + (other[:, place:] - 4) % (VOCABULARY - 5)
    assert (other[:, place:] != tokens[:, place:]).all()
    with torch.no_grad():
        before, looked = net(seen, tokens)
        after, looked_again = net(seen, other)
    # the logits of a place are fed what stands before it
    torch.testing.assert_close(before[:, : place + 1], after[:, : place + 1])
    torch.testing.assert_close(looked[:, : place + 1], looked_again[:, : place + 1])
    assert (before[:, place + 1] - after[:, place + 1]).abs().max() > 1e-3


def test_logits_depend_on_places_and_on_the_whole(net, seen):
    tokens = torch.randint(5, VOCABULARY, (6, 9))
    (places, whole), (logits, _) = seen, net(seen, tokens)
    assert (net((places.roll(1, 0), whole), tokens)[0] - logits).abs().max() > 1e-3
    assert (net((places, whole.roll(1, 0)), tokens)[0] - logits).abs().max() > 1e-3


def test_attention_is_a_share_of_each_place(net, seen):
    tokens = torch.randint(5, VOCABULARY, (6, 9))
    logits, attention = net(seen, tokens)
    assert logits.shape == (6, 9, VOCABULARY)
    assert attention.shape == (6, 9, 4)
    assert (attention >= 0).all()
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(6, 9))
    assert attention.std(dim=2).min() > 1e-4
    # it goes with the places: their order changes nothing else
    order = torch.tensor([2, 0, 3, 1])
    again, moved = net((seen[0][:, :, order], seen[1]), tokens)
    torch.testing.assert_close(moved, attention[:, :, order])
    torch.testing.assert_close(again, logits, rtol=1e-4, atol=1e-4)


def test_greedy_decoding_is_teacher_forcing_with_its_own_words(net, seen):
    decoded = net.decode(seen, 12, LABELS)
    logits, _ = net(seen, decoded)
    assert torch.equal(decoded[:, 0], LABELS[logits[:, 0, LABELS].argmax(dim=1)])
    torch.testing.assert_close(logits[:, 0], net.first_logits(seen), rtol=1e-4, atol=1e-4)
    ended = (decoded == EOS).cumsum(dim=1) - (decoded == EOS).long() > 0
    ended[:, 0] = True  # held to the labels
    assert torch.equal(decoded[~ended], logits.argmax(dim=2)[~ended])
    assert len(decoded.unique()) > 4


def test_nothing_follows_the_end(net, seen):
    ending = build_again(net)
    with torch.no_grad():
        ending.output.bias[EOS] = 1e4
    decoded = ending.decode(seen, 5, LABELS)
    assert (decoded[:, 1:] == torch.tensor([EOS, PAD, PAD, PAD])).all()


def build_again(net):
    spec = {"net": "ConvolutionalCaptioner", "vocabulary_size": VOCABULARY}
    again = build_net({**spec, "width": 2, "resolution": 64, "batch_norm": False})
    again.load_state_dict(net.state_dict())
    return again.eval()


def test_captions_do_not_depend_on_the_batch(net, seen):
    together = net.decode(seen, 8, LABELS)
    alone = [net.decode((seen[0][i : i + 1], seen[1][i : i + 1]), 8, LABELS) for i in range(6)]
    assert torch.equal(together, torch.cat(alone))


def test_the_registry_builds_it_again(net, seen):
    assert torch.equal(build_again(net).decode(seen, 8, LABELS), net.decode(seen, 8, LABELS))


def test_the_coverage_penalty_by_hand():
    attention = torch.tensor([[[0.7, 0.3], [0.4, 0.6], [0.5, 0.5]], [[1.0, 0.0]] * 3])
    tokens = torch.tensor([[5, 9, PAD], [5, 9, EOS]])
    # first: 1.1 and 0.9 received of its two tokens; second: 3 and 0 of its three
    expected = (0.1**2 + 0.1**2 + 2**2 + 1**2) / 4
    assert float(coverage(attention, tokens)) == pytest.approx(expected, abs=1e-6)


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    net = ConvolutionalCaptioner(VOCABULARY, 2, 32, batch_norm=False)
    image = torch.rand(4, 1, 32, 32) * 2 - 1
    tokens = torch.tensor(
        [[5, 8, 9, 10, EOS], [6, 9, 9, EOS, PAD], [5, 12, 13, 14, EOS], [6, 14, EOS, PAD, PAD]]
    )
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3)
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    for _ in range(200):
        optimizer.zero_grad()
        logits, attention = net(net.see(image), tokens)
        (caption_nll(logits, tokens) + coverage(attention, tokens)).backward()
        optimizer.step()
    net.eval()
    assert torch.equal(net.decode(net.see(image), 5, LABELS), tokens)


@pytest.mark.parametrize("norm", [False, True])
def test_vgg_is_torchvisions_but_for_its_width(tmp_path, norm):
    torch.manual_seed(0)
    narrow = [x if x == "M" else x // 8 for x in models.vgg.cfgs["D"]]
    published = models.VGG(models.vgg.make_layers(narrow, norm))
    published.classifier = nn.Sequential(
        nn.Linear(64 * 49, 512), nn.ReLU(), nn.Dropout(), nn.Linear(512, 512), nn.ReLU(),
        nn.Dropout(), nn.Linear(512, 10),
    )  # fmt: skip
    published.eval()
    save_file(published.state_dict(), tmp_path / "vgg16.safetensors")
    net = VggFeatures(8, 64, norm).eval()
    net.load_published(tmp_path / "vgg16.safetensors", "captioner.weights")
    image = torch.rand(2, 1, 64, 64)
    grey = ((image - IMAGENET[0]) / IMAGENET[1]).expand(-1, 3, -1, -1)
    published.classifier[6] = nn.Identity()
    with torch.no_grad():
        places, whole = net(2 * image - 1)
        torch.testing.assert_close(whole, published(grey), rtol=1e-3, atol=1e-5)
        expected = published.features(grey).flatten(2)
        torch.testing.assert_close(places, expected, rtol=1e-3, atol=1e-5)
    assert whole.std() > 1e-3
    with pytest.raises(ConfigError, match=r"^captioner\.weights=.*not the weights of this net"):
        VggFeatures(4, 64, norm).load_published(tmp_path / "vgg16.safetensors", "captioner.weights")


@pytest.mark.parametrize("norm", [False, True])
def test_published_weights_fit_the_published_width(norm):
    with torch.device("meta"):
        theirs = (models.vgg16_bn if norm else models.vgg16)().state_dict()
        ours = VggFeatures(64, 224, norm).net.state_dict()
    assert theirs.pop("features.0.weight").shape == (64, 3, 3, 3)
    assert ours.pop("features.0.weight").shape == (64, 1, 3, 3)
    head = {"classifier.6.weight", "classifier.6.bias"}
    assert {key: x.shape for key, x in ours.items()} == {
        key: x.shape for key, x in theirs.items() if key not in head
    }
