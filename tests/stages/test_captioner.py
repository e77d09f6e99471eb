"""The rival captioner: what it keeps, when VGG learns, and what its export says of images."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from tests.tiny import compose_tiny, compose_train
from xrj.build import build_data, build_evaluation_data, build_module
from xrj.checks import check
from xrj.datamodules.images import to_tensor
from xrj.errors import ConfigError, HandoverError
from xrj.evaluate.captioner import Captioner
from xrj.handover import load_export
from xrj.losses import caption_nll, coverage
from xrj.measures.captions import score_captions
from xrj.nets.zoo import models
from xrj.run import train

STAGE = "captioner"
NOWHERE = {"root": None, "csv": None, "cache_dir": None}


@pytest.fixture(scope="module")
def data(chain):
    """The data of the tiny captioner, as its stage sees them."""
    data = build_data(compose_tiny(chain, STAGE))
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.fixture(scope="module")
def captioner(chain):
    return Captioner.load(chain / "runs/chain" / STAGE, "cpu")


def test_the_export_captions_as_its_epoch_did(chain, captioner):
    data = build_evaluation_data(captioner.export, NOWHERE, "images")
    images, frame = data.evaluation_images("val", captioner.net.vision.resolution)
    found = captioner.captions(to_tensor(torch.from_numpy(images)), beams=1)
    assert {label for label, _ in found} <= set(data.label_names)
    scores = score_captions(
        [" ".join(words) for _, words in found],
        [[" ".join(words) for words in several] for several in frame["captions"]],
    )
    kept = captioner.export.info["selections"]["best"]["metrics"]
    assert kept["val/cider"] == pytest.approx(scores.cider, abs=1e-6)
    assert kept["val/bleu4"] == pytest.approx(scores.bleu4, abs=1e-6)
    right = [label == true for (label, _), true in zip(found, frame["label"], strict=True)]
    assert kept["val/accuracy"] == pytest.approx(sum(right) / len(right), abs=1e-6)


def test_loading_twice_gives_the_same_captions_for_images_of_any_size(chain, captioner):
    again = Captioner.load(chain / "runs/chain" / STAGE, "cpu")
    for size in (48, 64, 80):
        images = torch.rand(3, 1, size, size) * 2 - 1
        assert again.captions(images, beams=4) == captioner.captions(images, beams=4)


def test_it_needs_no_other_stage_and_hands_over_like_them(chain):
    export = load_export(chain / "runs/chain" / STAGE, STAGE)
    other = load_export(chain / "runs/chain/arae", "arae")
    assert export.info["parents"] == {}
    for key in ("split", "vocabulary", "image_range", "data"):
        assert export.info[key] == other.info[key]
    with pytest.raises(HandoverError, match="not an export of stage 'captioner'"):
        Captioner.load(chain / "runs/chain/classifier", "cpu")


def test_the_loss_is_cross_entropy_and_coverage(chain, data):
    module = build_module(compose_tiny(chain, STAGE), data, {}).eval()
    module.log_dict = lambda *_, **__: None
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    net, tokens = module.captioner, batch["tokens"]
    logits, attention = net(net.see(batch["image"]), tokens)
    expected = caption_nll(logits, tokens) + coverage(attention, tokens)
    torch.testing.assert_close(module.training_step(batch, 0), expected)
    assert tokens[:, 0].tolist() == [data.vocabulary.label_ids[i] for i in batch["label"].tolist()]


def epochs(module, count):
    """Run the start and one step of each epoch; yield its rates and what moved."""
    optimizer = module.configure_optimizers()
    module.optimizer_list = lambda: [optimizer]
    module.log = module.log_dict = lambda *_, **__: None
    batch = {
        "image": torch.rand(4, 1, 64, 64) * 2 - 1,
        "tokens": torch.tensor([[5, 9, 10, 2]] * 4),
    }
    module.trainer = SimpleNamespace(max_epochs=count, current_epoch=0)
    for module.trainer.current_epoch in range(count):
        module.train()
        module.on_train_epoch_start()
        before = {key: value.clone() for key, value in module.captioner.named_parameters()}
        optimizer.zero_grad()
        module.training_step(batch, 0).backward()
        optimizer.step()
        moved = {
            key.startswith("vision.")
            for key, value in module.captioner.named_parameters()
            if not torch.equal(before[key], value)
        }
        yield [group["lr"] for group in optimizer.param_groups], moved, module.captioner.vision


def test_vgg_waits_and_all_rates_drop(chain, data):
    settings = ("vision_from=1", "max_epochs=4", "drop_at=[0.5]", "rate=0.01", "vision_rate=0.004")
    cfg = compose_tiny(chain, STAGE, *(f"{STAGE}.{setting}" for setting in settings))
    module = build_module(cfg, data, {})
    assert module.adversarial  # VGG's weights are unused at first, which DDP must know
    seen = []
    for rates, moved, vision in epochs(module, 4):
        seen.append(rates)
        assert moved == ({False} if len(seen) == 1 else {False, True})
        assert vision.training == (len(seen) > 1)
    assert seen == [pytest.approx(x) for x in ([0.004, 0.01],) * 2 + ([0.0004, 0.001],) * 2]
    assert not build_module(compose_tiny(chain, STAGE), data, {}).adversarial


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["width=32", "weights=a.pth"], "captioner.width=32: published weights have one width"),
        (["resolution=16"], "captioner.resolution=16: vgg16 needs at least 32 pixels"),
        (["weights=nowhere.pth"], "captioner.weights=nowhere.pth: there is no such file"),
        (["vision_rate=-1"], "captioner.vision_rate=-1.0: must be at least 0"),
        (["vision_from=-1"], "captioner.vision_from=-1: must be at least 0"),
        (["width=0"], "captioner.width=0: must be at least 1"),
    ],
)
def test_a_mistake_is_told_before_anything_is_built(overrides, words):
    with pytest.raises(ConfigError, match=words):
        check(compose_train(f"stage={STAGE}", *(f"{STAGE}.{x}" for x in overrides)))
    check(compose_train(f"stage={STAGE}"))


def test_a_diagnosis_needs_two_labels():
    with pytest.raises(ConfigError, match="at least two labels"):
        check(compose_train(f"stage={STAGE}", "data.labels=[{name: normal, only: [normal]}]"))


@pytest.mark.slow
def test_weights_of_another_net_do_not_claim_the_folder(tiny, tmp_path):
    save_file(models.resnet18().state_dict(), tmp_path / "x.safetensors")
    flags = (f"{STAGE}.width=64", f"{STAGE}.weights={tmp_path}/x.safetensors")
    with pytest.raises(ConfigError, match=r"captioner\.weights=.*not the weights of this net"):
        train(tiny(STAGE, *flags))
    assert not (tmp_path / "runs/default/captioner/run.json").exists()


@pytest.mark.slow
def test_weights_of_ones_own_are_taken(chain, data, tmp_path):
    state = models.vgg16_bn().state_dict()
    save_file(state, tmp_path / "imagenet.safetensors")
    flags = (f"{STAGE}.width=64", f"{STAGE}.weights={tmp_path}/imagenet.safetensors")
    net = build_module(compose_tiny(chain, STAGE, *flags), data, {}).captioner.vision.net
    assert torch.equal(net.features[40].weight, state["features.40.weight"])
    first = state["features.0.weight"].sum(dim=1, keepdim=True)
    assert torch.equal(net.features[0].weight, first)
