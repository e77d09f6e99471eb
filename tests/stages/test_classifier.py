"""The classifier learns alone, keeps the right epoch and judges pictures of any size."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from tests.tiny import compose_tiny, compose_train
from xrj.build import build_data, build_evaluation_data, build_module
from xrj.checks import check
from xrj.datamodules.images import to_tensor
from xrj.errors import ConfigError
from xrj.handover import load_export
from xrj.measures.diagnosis import diagnosis_report
from xrj.nets.zoo import models
from xrj.run import train

INVERT = "{_target_: albumentations.InvertImg, p: 1.0}"


@pytest.fixture(scope="module")
def data(chain):
    """The data of the tiny classifier, as its stage sees them."""
    data = build_data(compose_tiny(chain, "classifier"))
    data.prepare_data()
    data.setup("fit")
    return data


def test_the_export_measures_what_its_epoch_measured(chain, data):
    export = load_export(chain / "runs/chain/classifier", "classifier")
    net = export.net("classifier")
    images, frame = data.evaluation_images("val", net.resolution)
    label = np.array([data.label_names.index(name) for name in frame["label"]])
    with torch.no_grad():
        logits = net(to_tensor(torch.from_numpy(images)))
    scores = diagnosis_report(logits.softmax(dim=1).numpy(), label)
    kept = export.info["selections"]["best"]["metrics"]
    assert kept["val/balanced_accuracy"] == pytest.approx(scores.balanced_accuracy, abs=1e-6)
    assert kept["val/auroc"] == pytest.approx(scores.auroc, abs=1e-6)
    train_label = data.table.images.query("split == 'train'")["label"]
    weights = [len(train_label) / (2 * (train_label == name).sum()) for name in data.label_names]
    loss = F.cross_entropy(
        logits, torch.from_numpy(label), torch.tensor(weights, dtype=torch.float32)
    )
    assert kept["val/loss"] == pytest.approx(float(loss), abs=1e-5)


def test_it_needs_no_other_stage_and_hands_over_like_them(chain):
    export = load_export(chain / "runs/chain/classifier", "classifier")
    other = load_export(chain / "runs/chain/arae", "arae")
    assert export.info["parents"] == {}
    for key in ("split", "vocabulary", "image_range", "data"):
        assert export.info[key] == other.info[key]
    net = export.net("classifier")
    for size in (16, 32, 64):
        with torch.no_grad():
            probabilities = net.classify(torch.rand(3, 1, size, size) * 2 - 1)
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))


def test_its_data_are_found_again(chain):
    export = load_export(chain / "runs/chain/classifier", "classifier")
    nowhere = {"root": None, "csv": None, "cache_dir": None}
    data = build_evaluation_data(export, nowhere, "images")
    images, _ = data.evaluation_images("test", 32)
    assert images.shape[1:] == (32, 32)


def rates(module, epochs):
    """Return the rate of each epoch, as a trainer of so many would set it."""
    seen = []
    module.trainer = SimpleNamespace(max_epochs=epochs, current_epoch=0)
    optimizer = module.configure_optimizers()
    module.optimizer_list = lambda: [optimizer]
    module.log = lambda name, value: seen.append(value)
    for module.trainer.current_epoch in range(epochs):
        module.on_train_epoch_start()
        assert optimizer.param_groups[0]["lr"] == seen[-1]
    return seen


def test_the_rate_falls_along_a_cosine(chain, data):
    module = build_module(compose_tiny(chain, "classifier", "classifier.rate=0.4"), data, {})
    assert rates(module, 4) == pytest.approx([0.4, 0.3414214, 0.2, 0.0585786])


def test_labels_weigh_by_their_rarity_or_not(chain, data):
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    losses = {}
    for balanced in ("true", "false"):
        torch.manual_seed(0)
        cfg = compose_tiny(chain, "classifier", f"classifier.balance_labels={balanced}")
        module = build_module(cfg, data, {}).eval()
        module.log_dict = lambda *_, **__: None
        logits, label = module.classifier(batch["image"]), batch["label"]
        losses[balanced] = module.training_step(batch, 0)
        counts = data.table.images.query("split == 'train'")["label"].value_counts()
        weights = torch.tensor([100 / int(counts[name]) for name in data.label_names])
        expected = F.cross_entropy(logits, label, weights if balanced == "true" else None)
        torch.testing.assert_close(losses[balanced], expected)
    assert losses["true"] != losses["false"]


@pytest.mark.parametrize("stage", ["classifier", "inverse"])
def test_its_augmentations_are_its_own_and_come_after_those_of_the_data(chain, stage):
    def batch(stage, *overrides):
        data = build_data(compose_tiny(chain, stage, *overrides))
        data.prepare_data()
        data.setup("fit")
        loaders = data.train_dataloader(), data.val_dataloader()
        return [next(iter(loader))["image"] for loader in loaders]

    plain, inverted = f"{stage}.augmentations=[]", f"{stage}.augmentations=[{INVERT}]"
    crop, middle = batch(stage, plain)
    other, same = batch(stage, inverted)
    assert torch.equal(other, 255 - crop)
    assert torch.equal(same, middle)
    again, _ = batch(stage, inverted, f"data.augmentations=[{INVERT}]")
    assert torch.equal(again, crop)
    assert torch.equal(batch("gan2", inverted)[0], batch("gan2", plain)[0])


def test_the_classifier_is_augmented_by_default(chain):
    def batch(*overrides):
        data = build_data(compose_tiny(chain, "classifier", *overrides))
        data.prepare_data()
        data.setup("fit")
        return next(iter(data.train_dataloader()))["image"]

    assert torch.equal(batch(), batch())
    assert not torch.equal(batch(), batch("classifier.augmentations=[]"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["classifier.net=vgg19", "classifier.width=32"], "classifier.width=32: vgg19 has one"),
        (["classifier.width=32", "classifier.weights=a.pth"], "published weights have one width"),
        (["classifier.net=inception_v3", "classifier.resolution=64"], "needs at least 75 pixels"),
        (["classifier.resolution=16"], "classifier.resolution=16: resnet18 needs"),
        (["classifier.weights=nowhere.pth"], "classifier.weights=nowhere.pth: there is no such"),
        (["classifier.decay=-1"], "classifier.decay=-1"),
        (["classifier.width=0"], "classifier.width=0"),
        (["classifier.augmentations=[{_target_: os.system}]"], r"classifier.augmentations\[0\]"),
        (["data.labels=[{name: normal, only: [normal]}]"], "at least two labels"),
    ],
)
def test_a_mistake_is_told_before_anything_is_built(overrides, words):
    with pytest.raises(ConfigError, match=words):
        check(compose_train("stage=classifier", *overrides))


def test_every_net_passes_at_its_least_size():
    check(compose_train("stage=classifier"))
    for name, least in {"vgg19": 32, "inception_v3": 75, "resnet34": 32}.items():
        check(
            compose_train(
                "stage=classifier", f"classifier.net={name}", f"classifier.resolution={least}"
            )
        )


def test_it_starts_from_weights_of_ones_own(chain, data, tmp_path):
    state = models.get_model("resnet18").state_dict()
    save_file(state, tmp_path / "imagenet.safetensors")
    cfg = compose_tiny(
        chain,
        "classifier",
        "classifier.width=64",
        f"classifier.weights={tmp_path}/imagenet.safetensors",
    )
    net = build_module(cfg, data, {}).classifier.net
    assert torch.equal(net.conv1.weight, state["conv1.weight"].sum(dim=1, keepdim=True))
    assert torch.equal(net.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert net.fc.out_features == 2


def test_weights_that_cannot_be_read_do_not_claim_the_folder(tiny, tmp_path):
    (tmp_path / "x.pth").write_text("no weights")
    with pytest.raises(ConfigError, match=r"classifier\.weights=.*x\.pth: holds no weights"):
        train(tiny("classifier", "classifier.width=64", f"classifier.weights={tmp_path}/x.pth"))
    assert not (tmp_path / "runs/default/classifier/run.json").exists()
