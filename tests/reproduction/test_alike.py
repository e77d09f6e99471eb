"""Chains that share a row are of other seeds or folds and of the same settings."""

from types import SimpleNamespace

import pytest

from xrj.errors import HandoverError
from xrj.evaluate.diagnosis_table import classifier_row, classifier_size
from xrj.reproduction.alike import (
    check_alike,
    check_label_loss,
    check_other_preset,
    unlike_rivals,
    unlike_settings,
)

STAGES = ("gan1", "inverse")


class Recorded:
    """A chain of which nothing is known but what it recorded."""

    def __init__(self, name, *, split="s", nets=None, **settings):
        self.name = name
        self._export = SimpleNamespace(info={"split": split, "nets": nets})
        self._settings = {key.replace("__", "."): value for key, value in settings.items()}

    def export(self, _stage):
        return self._export

    def settings(self, stage):
        kept = ("seed", "data.", "dims.", f"{stage}.", "parents.", "trainer.")
        return {key: value for key, value in self._settings.items() if key.startswith(kept)}

    def seed(self, stage):
        return self.settings(stage).get("seed")


def test_runs_of_one_method_are_of_other_seeds_or_folds():
    first = Recorded("demo", seed=0, gan1__rate=1, parents__arae="a")
    check_alike([first, Recorded("demo-1", seed=1, gan1__rate=1, parents__arae="b")], "gan1", "f")
    check_alike([first, Recorded("fold", seed=0, split="t", data__split__seed=5)], "gan1", "f")
    check_alike([first, Recorded("unknown")], "gan1", "f")
    with pytest.raises(HandoverError) as refused:
        check_alike([first, Recorded("demo-0", seed=0)], "gan1", "evaluate.seeds")
    assert str(refused.value).startswith(
        "evaluate.seeds: demo and demo-0: their 'gan1' are of one seed, 0, and one split"
    )


def test_runs_of_one_method_were_trained_alike():
    chains = [Recorded("a", seed=0, gan1__rate=1), Recorded("b", seed=1, gan1__rate=2)]
    with pytest.raises(HandoverError) as refused:
        check_alike(chains, "gan1", "evaluate.embeddings")
    assert str(refused.value).startswith(
        "evaluate.embeddings: a and b: were trained with gan1.rate=1 and 2 and would count as one"
    )
    check_alike(chains, "inverse", "f")
    check_alike(chains, "gan1", "f", lambda chain: chain.name)
    assert unlike_settings(*chains, "gan1") == [("gan1.rate", (1, 2))]


def test_every_chain_is_compared_with_every_other():
    chains = [Recorded("a", seed=0), Recorded("b", seed=1), Recorded("c", seed=1)]
    with pytest.raises(HandoverError, match=r"^f: b and c: "):
        check_alike(chains, "gan1", "f")


def test_classifiers_of_other_nets_or_weights_have_rows_of_their_own():
    def classifier(net, weights=None):
        nets = {"classifier": {"architecture": net, "width": 16, "resolution": 64}}
        return Recorded(net, nets=nets, seed=0, classifier__weights=weights)

    chains = [classifier("resnet18"), classifier("vgg19"), classifier("resnet18", "w.pth")]
    check_alike(chains, "classifier", "f", classifier_row)
    assert [classifier_size(chain) for chain in chains] == [
        "ResNet-18 of width 16 at 64 pixels",
        "VGG-19 at 64 pixels",
        "ResNet-18, ImageNet weights of width 16 at 64 pixels",
    ]
    with pytest.raises(HandoverError, match="of one seed"):
        check_alike([*chains, classifier("vgg19")], "classifier", "f", classifier_row)


def test_the_label_loss_alone_has_no_other_weight():
    check_label_loss([Recorded("a"), Recorded("b", inverse__image_weight=0.0)])
    with pytest.raises(HandoverError) as refused:
        check_label_loss([Recorded("c", inverse__image_weight=0, inverse__caption_weight=0.1)])
    assert str(refused.value).startswith(
        "evaluate.label_loss: c: was trained with inverse.caption_weight=0.1"
    )


def test_chains_of_the_papers_preset_are_not_the_defaults():
    main = Recorded("demo", seed=0, gan1__rate=1, inverse__rate=1)
    check_other_preset([Recorded("p", seed=0, gan1__rate=1, inverse__rate=2)], main, STAGES)
    check_other_preset([Recorded("unknown", seed=0)], main, STAGES)
    with pytest.raises(HandoverError, match=r"^evaluate\.paper: q: was trained with the sett"):
        check_other_preset([Recorded("q", seed=3, gan1__rate=1, inverse__rate=1)], main, STAGES)


def test_rivals_of_table_2_that_were_not_trained_alike_are_named():
    def rivals(own, other):
        chain = Recorded("a")
        chain.settings = {
            "gan1": {"seed": 0, "gan1.locality": own, "gan1.rate": 1},
            "embedding_gan1": {"embedding_gan1.locality": other, "embedding_gan1.rate": 1},
        }.__getitem__
        return chain

    assert unlike_rivals([rivals(0, 0)]) == []
    named = ["gan1.locality=60 but embedding_gan1.locality=0"]
    assert unlike_rivals([rivals(60, 0), rivals(60, 0), Recorded("unknown")]) == named
