"""How stages learn: what their losses see, that these descend, averages, rates and noise."""

import math

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision

from xrj import losses
from xrj.build import build_data
from xrj.config import STAGES
from xrj.datamodules.images import to_tensor
from xrj.errors import ConfigError
from xrj.handover import load_export
from xrj.losses import teaching_loss
from xrj.nets.noise import NoiseEncoder

RATES = {"arae": 0.01, **dict.fromkeys(("gan1", "gan2", "inverse", "classifier"), 0.002)}
RATES |= {"embedding_gan1": 0.002, "captioner": 0.001, "segmenter": 0.002}


@pytest.mark.parametrize("stage", ["gan1", "gan2"])
def test_locality_compares_a_patient_under_two_captions(build, stage):
    module, batch = build(stage, f"{stage}.locality=20")
    image = batch["image"]
    half = len(image) // 2
    noise = module.draw_noise(batch.get("small", image))
    assert torch.equal(noise[:half], noise[half : 2 * half])

    fake = torch.zeros_like(image).requires_grad_()
    module.small = torch.zeros(len(image), 1, 16, 16)
    assert module.constraints(fake, batch)["locality"] == 0
    changed = fake.detach().clone()
    changed[0] = 0.5
    changed.requires_grad_()
    term = module.constraints(changed, batch)["locality"]
    assert term.item() == pytest.approx(module.locality * 0.5 / 0.55 / half)
    (gradient,) = torch.autograd.grad(term, changed)
    assert (gradient[0] > 0).all()
    assert (gradient[1:] == 0).all()


def weights(net):
    """Return a net's weights as a vector, a copy."""
    return torch.cat([weight.detach().flatten() for weight in net.parameters()]).clone()


@pytest.mark.parametrize(("stage", "net"), [("gan1", "generator"), ("inverse", "inverse")])
def test_the_average_follows_its_recursion(build, stage, net):
    module, batch = build(stage, f"{stage}.average=0.5")
    steps, update = [], module.averaged.update_parameters

    def record(net):
        steps.append(weights(net))
        update(net)

    module.averaged.update_parameters = record
    _trainer(6).fit(module, _repeat(batch))
    expected = steps[0]
    for count, weight in enumerate(steps[1:], start=1):
        decay = min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * weight
    averaged = module.exports()[net]
    torch.testing.assert_close(weights(averaged), expected)


@pytest.mark.parametrize(("stage", "net"), [("gan1", "generator"), ("inverse", "inverse")])
def test_without_average_the_net_itself_is_kept(build, stage, net):
    module, batch = build(stage, f"{stage}.average=0.0")
    _trainer(3).fit(module, _repeat(batch))
    kept = module.exports()[net].state_dict()
    for key, value in getattr(module, net).state_dict().items():
        assert torch.equal(kept[key], value)


@pytest.mark.parametrize(("stage", "sigma"), [("gan1", 0.0), ("gan1", 0.5), ("gan2", 0.5)])
def test_generators_learn_on_codes_with_noise(build, stage, sigma):
    module, batch = build(stage, f"{stage}.code_noise={sigma}")
    codes = []
    module.generator.register_forward_pre_hook(
        lambda _, inputs: codes.append(module.representation.code(inputs[0].detach()))
    )
    _trainer(1).fit(module, _repeat(batch))
    spread = (codes[0] - module.encoder(batch["tokens"])).std().item()
    assert spread == pytest.approx(sigma, rel=0.3, abs=1e-6)


class _Repeat(torch.utils.data.Dataset):
    def __init__(self, batch):
        self.batch = batch

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.batch


def _repeat(batch):
    return torch.utils.data.DataLoader(_Repeat(batch), batch_size=None)


class _History(pl.Callback):
    def __init__(self):
        self.rows = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.rows.append({key: float(value) for key, value in trainer.callback_metrics.items()})


def _trainer(epochs, *callbacks, precision="32-true", plugins=None):
    return pl.Trainer(
        accelerator="cpu",
        precision=precision,
        plugins=plugins,
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.parametrize(
    ("stage", "loss"),
    [("arae", "train/nll"), ("gan1", "train/loss_d"), ("gan2", "train/loss_d")]
    + [("classifier", "train/loss"), ("segmenter", "train/loss")]
    + [("embedding_gan1", "train/loss_d"), ("captioner", "train/nll")]
    + [("inverse", f"train/{name}") for name in ("diagnosis", "cycle_img", "cycle_emb")],
)
def test_losses_descend_on_one_batch(build, stage, loss):
    module, batch = build(
        stage,
        f"{stage}.rate={RATES[stage]}",
        "inverse.halve_at=[]",
        *("inverse.image_weight=1", "inverse.noise_weight=0", "inverse.caption_weight=0"),
    )
    if stage == "inverse":  # parents that answer to r more than hardly trained ones do
        for net in (module.decoder, module.generator):
            for parameter in net.parameters():
                parameter.mul_(6 if parameter.dim() > 1 else 1)
        for layer in module.inverse.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
    history = _History()
    _trainer(40, history).fit(module, _repeat(batch))
    values = [row[loss] for row in history.rows]
    assert sum(values[-5:]) < 0.97 * sum(values[:5])


@pytest.mark.parametrize("stage", list(STAGES))
def test_every_stage_learns_in_mixed_precision(build, stage):
    module, batch = build(stage, f"{stage}.max_epochs=2")
    history = _History()
    _trainer(2, history, precision="bf16-mixed").fit(module, _repeat(batch))
    found = [
        value
        for row in history.rows
        for name, value in row.items()
        if "loss" in name or "nll" in name
    ]
    assert found
    assert all(map(math.isfinite, found))


def test_gradients_are_clipped_at_their_own_size_in_half_precision(build):
    module, batch = build("arae", "arae.clip=0.001")
    norms = []

    class Norms(pl.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            # A fused optimiser undoes the scale itself, as it takes its step.
            scale = scaler.get_scale() if optimizer._step_supports_amp_scaling else 1.0
            found = torch.nn.utils.get_total_norm([weight.grad for weight in weights]).item()
            norms.append(found / scale)

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    half = MixedPrecision("16-mixed", "cpu", scaler)
    _trainer(1, Norms(), precision=None, plugins=[half]).fit(module, _repeat(batch))
    assert norms[0] == pytest.approx(0.001, rel=0.02)  # of encoder and decoder


def test_halving(build):
    module, batch = build("gan1", "gan1.max_epochs=4", "gan1.rate=0.8", "gan1.halve_at=[0.5,0.75]")
    history = _History()
    _trainer(4, history).fit(module, _repeat(batch))
    assert [row["rate"] for row in history.rows] == pytest.approx([0.8, 0.8, 0.4, 0.2])


def test_noise_on_the_code_fades_with_all_batches_seen(build):
    module, batch = build("arae")
    _trainer(3).fit(module, _repeat(batch))
    assert int(module.batches) == 3
    assert "batches" in module.state_dict()


def test_words_are_exchanged_in_every_other_description(build):
    module, batch = build("arae", "arae.substitution=0.5")
    tokens = batch["tokens"]
    torch.manual_seed(0)
    text = module._substitute_words(tokens)
    word = tokens > module.vocabulary.label_ids[-1]
    changed = text != tokens
    assert not changed[::2].any()
    assert not changed[~word].any()
    share = (changed[1::2].sum() / word[1::2].sum()).item()
    assert 0.25 < share < 0.55  # some words are exchanged for themselves
    assert set(text[changed].tolist()) <= set(tokens[word].tolist())
    module.substitution = 0.0
    assert module._substitute_words(tokens) is tokens


def test_the_autoencoder_reconstructs_what_it_was_given(build, monkeypatch):
    module, batch = build("arae", "arae.substitution=0.5")
    given, asked = [], []
    module.encoder.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    nll = losses.caption_nll
    monkeypatch.setattr(losses, "caption_nll", lambda x, y: asked.append(y) or nll(x, y))
    _trainer(1).fit(module, _repeat(batch))
    assert torch.equal(given[0], asked[0])
    assert not torch.equal(given[0], batch["tokens"])
    assert torch.equal(given[1], batch["tokens"])  # the critic judges codes of true descriptions


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_stage_1_follows_the_noise_of_each_label(build, precision):
    module, batch = build("gan1")
    read, label = [], batch["label"][len(batch["label"]) // 2 :]
    module.noise_encoder.register_forward_hook(lambda _net, _inputs, moments: read.append(moments))
    _trainer(4, precision=precision).fit(module, _repeat(batch))
    again = NoiseEncoder(module.representation.noise, 2, 16, 1, labels=2)
    for mean, _ in read:
        again.follow(mean, label)
    assert len(read) == int(module.noise_encoder.steps) == 4
    torch.testing.assert_close(module.noise_encoder.label_means, again.label_means)


@pytest.mark.parametrize("stage", ["gan1", "embedding_gan1"])
def test_noise_is_drawn_by_what_the_exported_encoder_reads_off_training_xrays(chain, tiny, stage):
    encoder = load_export(chain / "runs/chain" / stage, stage).net("noise_encoder")
    data = build_data(tiny(stage))
    data.prepare_data()
    pictures, frame = data.evaluation_images("train", data.small)
    with torch.no_grad():
        mean, log_variance = encoder(to_tensor(pictures))
    assert len(mean) == len(frame) > 20
    torch.testing.assert_close(encoder.mean, mean.mean(dim=0))
    expected = torch.cov(mean.T, correction=0) + log_variance.exp().mean(dim=0).diag()
    torch.testing.assert_close(encoder.covariance, expected)


@pytest.mark.parametrize("stage", ["gan1", "gan2"])
def test_noise_is_drawn_like_that_of_xrays(build, stage, monkeypatch):
    module, batch = build(stage)
    monkeypatch.setattr(NoiseEncoder, "spread", lambda _, noise: torch.full_like(noise, 7.0))
    seen = []
    module.averaged.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    module.imagine(batch, 0)
    assert (module.representation.noise_part(seen[0]) == 7).all()


@pytest.mark.parametrize("weight", [0, 3])
def test_stage_1_pays_for_what_noise_says_of_the_label(build, weight):
    module, batch = build("gan1", f"gan1.leak={weight}")
    image = batch["image"]
    module.noise_encoder.label_means.copy_(torch.randn_like(module.noise_encoder.label_means))
    module.draw_noise(image)
    terms = module.constraints(torch.zeros_like(image), batch)
    if not weight:
        assert "leak" not in terms
        return
    mean, labels = module.posterior[0], batch["label"][len(image) // 2 :]
    assert len(set(labels.tolist())) == 2
    torch.testing.assert_close(terms["leak"], weight * module.noise_encoder.leak(mean, labels))
    (gradient,) = torch.autograd.grad(terms["leak"], module.noise_encoder.layers[-1].weight)
    assert gradient.abs().sum() > 0


def test_label_means_are_those_of_all_ranks(build, monkeypatch):
    module, batch = build("gan1")
    module.draw_noise(batch["image"])
    ranks = 3
    monkeypatch.setattr(
        module,
        "all_gather",
        lambda tensors: tuple(torch.stack([rank + x for rank in range(ranks)]) for x in tensors),
    )
    followed = []
    monkeypatch.setattr(module.noise_encoder, "follow", lambda *read: followed.extend(read))
    module.on_train_batch_end(None, batch, 0)
    mean, label = module.posterior[0].detach(), batch["label"][len(batch["image"]) // 2 :]
    torch.testing.assert_close(followed[0], torch.cat([mean + rank for rank in range(ranks)]))
    assert followed[1].tolist() == [k + rank for rank in range(ranks) for k in label.tolist()]


def test_teachers_learn_from_real_xrays_and_teach_the_generator(build):
    module, batch = build("gan1", "gan1.teaching=2", "gan1.augment=1")
    fake = module.synthesise(
        module.generator, module.representation.join(
            module.embed(batch["tokens"]), module.draw_noise(batch["image"])
        ), batch
    )  # fmt: skip
    torch.manual_seed(5)
    terms = module.constraints(fake, batch)
    torch.manual_seed(5)
    logits = module.teachers(module.roughened(fake))
    torch.testing.assert_close(terms["teaching"], 2 * teaching_loss(logits, batch["label"]))
    assert not module.teachers.training
    (gradient,) = torch.autograd.grad(terms["teaching"], module.generator.output.weight)
    assert gradient.abs().sum() > 0
    assert module.measures() >= {"train/teaching", "train/teachers", "val/teachers"}
    assert len(module.configure_optimizers()) == 3
    before = {key: value.clone() for key, value in module.teachers.state_dict().items()}
    _trainer(1).fit(module, _repeat(batch))
    after = module.teachers.state_dict()
    assert any(not value.equal(after[key]) for key, value in before.items())
    assert set(module.exports()) == {"generator", "noise_encoder", "teachers"}


def test_all_that_the_discriminator_sees_is_changed(build, monkeypatch):
    seen = []

    def spying(images, strength):
        seen.append((images.shape, strength))
        return images

    monkeypatch.setattr("xrj.modules.adversarial.augment", spying)
    module, batch = build("gan1", "gan1.augment=0.5")
    _trainer(1).fit(module, _repeat(batch))
    assert seen == [(batch["image"].shape, 0.5)] * 3  # real, generated for D, generated for G


def test_stage_2_has_no_teachers_where_stage_1_had_none(build):
    with pytest.raises(ConfigError, match=r"gan2\.teaching: .* was trained with gan1\.teaching=0"):
        build("gan2", "gan2.teaching=1")


def test_the_teaching_loss_is_the_mean_cross_entropy():
    logits = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]])
    labels = torch.tensor([0, 1])
    each = [0.693147, 2.126928, 0.313262, 0.693147]
    assert teaching_loss(logits, labels).item() == pytest.approx(sum(each) / 4, rel=1e-5)
