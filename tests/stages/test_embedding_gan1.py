"""The GAN that learns its own text embedding: who moves it, and what it hands over."""

from types import SimpleNamespace

import pytest
import torch

from tests.tiny import compose_tiny, compose_train
from xrj.build import build_data, build_module
from xrj.config import plain
from xrj.datamodules.datasets import pad
from xrj.handover import check_fit, load_export
from xrj.modules.gan1 import Gan1Module
from xrj.nets.representation import Representation
from xrj.nets.text import TextEncoder

STAGE = "embedding_gan1"


@pytest.fixture
def built(tiny):
    """Build a module and its first batch."""

    def make(*overrides):
        data = build_data(tiny(STAGE, *overrides))
        data.prepare_data()
        data.setup("fit")
        torch.manual_seed(0)
        module = build_module(tiny(STAGE, *overrides), data, {}).train()
        module.log_dict = lambda *_, **__: None
        module.trainer = SimpleNamespace(max_epochs=3, current_epoch=2)
        return module, data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)

    return make


def weights(net):
    return torch.cat([weight.detach().flatten().clone() for weight in net.parameters()])


def step(module, batch, monkeypatch):
    """Run a training step without a trainer; return E after the step of D and of G."""
    players = module.configure_optimizers()
    after = []

    def descend(optimizer, loss, clip=None, *, shared=False):
        optimizer.zero_grad()
        loss.backward(retain_graph=shared)
        optimizer.step()
        after.append(weights(module.encoder))

    monkeypatch.setattr(module, "optimizer_list", lambda: players)
    monkeypatch.setattr(module, "descend", descend)
    monkeypatch.setattr(module, "toggled_optimizer", lambda player: _Toggled(players, player))
    module.training_step(batch, 0)
    return after


class _Toggled:
    """Takes gradients off what another optimiser alone moves, as Lightning does."""

    def __init__(self, players, player):
        own = {id(p) for group in player.param_groups for p in group["params"]}
        every = [p for one in players for group in one.param_groups for p in group["params"]]
        self.others = [p for p in every if id(p) not in own]

    def __enter__(self):
        for parameter in self.others:
            parameter.requires_grad_(False)

    def __exit__(self, *_):
        for parameter in self.others:
            parameter.requires_grad_(True)


@pytest.mark.parametrize("letter", [False, True], ids=["default", "paper"])
def test_both_players_move_the_embedding(built, monkeypatch, letter):
    module, batch = built(*(["experiment=paper", f"{STAGE}.max_epochs=3"] if letter else []))
    before = weights(module.encoder)
    by_d, by_g = step(module, batch, monkeypatch)
    assert not torch.equal(before, by_d)
    assert not torch.equal(by_d, by_g)


def test_g_moves_it_by_what_it_generates_from_and_not_by_what_d_is_shown(built, monkeypatch):
    module, batch = built(f"{STAGE}.anchor=0", f"{STAGE}.locality=0")
    with torch.no_grad():  # G is deaf to r
        for parameter in module.generator.start.parameters():
            parameter.zero_()
    by_d, by_g = step(module, batch, monkeypatch)
    assert torch.equal(by_d, by_g)


def test_d_moves_it_down_its_own_loss(built, monkeypatch):
    module, batch = built()
    codes = []
    embed = module.embed

    def spy(tokens):
        codes.append(embed(tokens))
        codes[-1].retain_grad()
        return codes[-1]

    monkeypatch.setattr(module, "embed", spy)
    by_d, _ = step(module, batch, monkeypatch)
    right, wrong = codes
    assert right.grad.abs().sum() > 0
    assert wrong.grad.abs().sum() > 0  # D alone sees the wrong captions
    assert by_d.isfinite().all()


def test_all_but_the_embedding_is_gan1(chain):
    ours, theirs = (load_export(chain / "runs/chain" / s, s).info["nets"] for s in (STAGE, "gan1"))
    assert {name: spec for name, spec in ours.items() if name != "encoder"} == theirs
    arae = load_export(chain / "runs/chain/arae", "arae").info["nets"]["encoder"]
    assert ours["encoder"] == arae
    for experiment in ("paper", "demo", "large", "small", "noise_sweep"):
        cfg = compose_train(f"experiment={experiment}", "gan1.rate=0.123")
        assert plain(cfg.embedding_gan1) == plain(cfg.gan1) | {"locality": 0}
    assert compose_train("gan1.width=7", f"{STAGE}.width=9").gan1.width == 7


def test_the_exported_encoder_is_the_average_that_validation_measured(chain, tiny):
    export = load_export(chain / "runs/chain" / STAGE, STAGE)
    data = build_data(tiny(STAGE))
    check_fit(
        export, dims=plain(tiny(STAGE).dims), vocabulary=data.vocabulary, split_hash=data.split_hash
    )
    encoder, generator, reader = (
        export.net(name) for name in ("encoder", "generator", "noise_encoder")
    )
    representation = Representation.of(export.info["dims"])
    errors = []
    for batch in data.val_dataloader():
        batch = data.on_after_batch_transfer(batch, 0)
        with torch.no_grad():
            noise = reader(batch["image"])[0]
            back = generator(representation.join(encoder(batch["tokens"]), noise))
        errors += (back - batch["image"]).square().mean(dim=(1, 2, 3)).tolist()
    measured = export.info["selections"]["best"]["metrics"]["val/anchor"]
    assert sum(errors) / len(errors) == pytest.approx(measured, rel=1e-4)


def test_captions_of_a_split_become_xrays(chain):
    export = load_export(chain / "runs/chain" / STAGE, STAGE)
    vocabulary = export.vocabulary
    tokens = pad([vocabulary.encode(label, ["heart"]) for label in vocabulary.labels])
    code = export.net("encoder")(tokens)
    torch.testing.assert_close(code.norm(dim=1), torch.ones(2))
    representation = Representation.of(export.info["dims"])
    r = representation.join(code, torch.zeros(2, representation.noise))
    images = export.net("generator")(r)
    assert images.shape == (2, 1, 16, 16)
    assert not torch.equal(images[0], images[1])


def test_descriptions_start_apart(built):
    module, batch = built()
    code = module.embed(batch["tokens"])
    arae = TextEncoder(module.vocabulary.size, 16, 0.0)(batch["tokens"])
    torch.testing.assert_close(code.norm(dim=1), torch.ones(len(code)))
    assert (code @ code.T).min() < 0.8 < (arae @ arae.T).min()
    assert module.encoder.words.weight[0].abs().sum() == 0  # padding
    torch.testing.assert_close(code, module.eval().embed(batch["tokens"]))  # so does the average


def test_without_anchor_there_is_no_noise_encoder(built):
    module, _ = built(f"{STAGE}.anchor=0")
    assert isinstance(module, Gan1Module)
    assert set(module.exports()) == {"generator", "encoder"}
    assert module.headline == "val/distance"


def test_it_needs_no_parent(chain):
    cfg = compose_tiny(chain, STAGE)
    assert load_export(chain / "runs/chain" / STAGE, STAGE).info["parents"] == {}
    assert cfg.stage == STAGE
