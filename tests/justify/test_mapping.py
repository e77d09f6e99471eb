"""The mapping M on problems whose answer is known."""

import math

import pytest
import torch
import yaml

from tests.chains import CONF, mapping_settings
from xrj.justify import mapping
from xrj.justify.mapping import TERMS, map_to_label, map_to_nearest


def two_labels(slope=4.0):
    """Label 1 wins where the first coordinate is positive."""
    return lambda r: torch.stack([torch.zeros(len(r)), slope * r[:, 0]], dim=1)


def as_image(r):
    return r[:, None, None, :]


def start(*values):
    r = torch.tensor([values])
    return r, as_image(r)


def generator():
    return torch.Generator().manual_seed(0)


def test_the_minimum_of_a_known_problem_is_found():
    """L_M = softplus(-s x) + (x - a)^2 + y^2 in two dimensions, means over both, twice."""
    r, image = start(-1.0, 2.0)
    settings = mapping_settings(emb_similarity=1.0)
    result = map_to_label(two_labels(), as_image, r, image, 1, settings, generator())
    x = result.r[0, 0].item()
    # d/dx: -s sigmoid(-s x) + 2 (x - a) / 2 + 2 (x - a) / 2 = 0
    assert -4 / (1 + math.exp(4 * x)) + 2 * (x + 1) == pytest.approx(0, abs=1e-3)
    assert result.r[0, 1].item() == pytest.approx(2.0, abs=1e-4)
    assert result.converged == (x > 0)
    assert set(result.terms) == set(TERMS)
    assert result.terms["emb_similarity"] == pytest.approx((x + 1) ** 2 / 2, rel=1e-4)
    assert result.loss == pytest.approx(sum(result.terms.values()))


def test_weights_of_the_terms_count():
    r, image = start(-1.0, 2.0)

    def found(**weights):
        settings = mapping_settings(tries=1, **weights)
        return map_to_label(two_labels(), as_image, r, image, 1, settings, generator())

    free = found(img_similarity=0.01, emb_similarity=0.01)
    held = found(img_similarity=100.0, emb_similarity=100.0)
    assert free.converged
    assert free.tries == 1
    assert not held.converged
    assert torch.allclose(held.r, r, atol=0.05)
    assert free.loss == pytest.approx(
        free.terms["alt_diagnosis"]
        + 0.01 * (free.terms["img_similarity"] + free.terms["emb_similarity"])
    )


def test_nearest_is_the_lowest_loss_and_not_the_second_most_probable():
    """Label 1 is second at the start, yet far: its logit hardly rises."""

    def logits(r):
        x = r[:, 0]
        return torch.stack([torch.ones(len(r)), 0.9 + 0.05 * x, 0.2 - 6 * x], dim=1)

    r, image = start(0.0, 0.0)
    probabilities = logits(r).softmax(dim=1)[0]
    assert probabilities.argsort(descending=True).tolist() == [0, 1, 2]
    settings = mapping_settings(certainty=0.2)
    both = [map_to_label(logits, as_image, r, image, k, settings, generator()) for k in (1, 2)]
    assert all(result.converged for result in both)
    assert both[1].loss < both[0].loss
    nearest = map_to_nearest(logits, as_image, r, image, settings, generator())
    assert nearest.target == 2


def test_a_converged_alternative_comes_before_a_closer_one_that_is_not():
    def logits(r):
        x = r[:, 0]
        return torch.stack([torch.zeros(len(r)), -0.5 - 0 * x, -4 + 8 * x], dim=1)

    r, image = start(0.0, 0.0)
    settings = mapping_settings(tries=2, img_similarity=1.5, emb_similarity=1.5)
    near, far = (map_to_label(logits, as_image, r, image, k, settings, generator()) for k in (1, 2))
    assert near.loss < far.loss
    assert (near.converged, far.converged) == (False, True)
    assert map_to_nearest(logits, as_image, r, image, settings, generator()).target == 2


def needs_a_push(r):
    """Flat, so without a gradient, but for a cliff behind x = 0.05."""
    return torch.stack([torch.zeros(len(r)), torch.where(r[:, 0] > 0.05, 5.0, -5.0)], dim=1)


def test_restarts_are_counted():
    r, image = start(0.0, 0.0)
    settings = mapping_settings(tries=20, restart=0.3)
    result = map_to_label(
        lambda x: needs_a_push(x) + 0 * x, as_image, r, image, 1, settings, generator()
    )
    assert result.converged
    assert 1 < result.tries <= 20
    first = torch.randn(1, 2, generator=generator())
    assert (result.tries == 2) == (0.3 * first[0, 0].item() > 0.05)


def test_the_seed_decides_the_restarts():
    r, image = start(0.0, 0.0)
    settings = mapping_settings(tries=20, restart=0.06)

    def run(seed):
        chance = torch.Generator().manual_seed(seed)
        return map_to_label(
            lambda x: needs_a_push(x) + 0 * x, as_image, r, image, 1, settings, chance
        )

    assert run(1).tries == run(1).tries
    assert len({run(seed).tries for seed in range(6)}) > 1


def test_what_does_not_converge_says_so():
    r, image = start(-1.0, 2.0)
    hopeless = two_labels(slope=0.0)
    settings = mapping_settings(tries=3, certainty=0.9)
    result = map_to_label(hopeless, as_image, r, image, 1, settings, generator())
    assert not result.converged
    assert result.tries == 3
    assert result.certainty == pytest.approx(0.5)
    assert torch.allclose(result.r, r, atol=1e-3)  # the best of all tries is where it began


def test_the_best_point_visited_is_returned():
    """A rate far too high throws L-BFGS away from the start, which was better."""
    r, image = start(-1.0, 2.0)
    visited = []

    def spying(x):
        visited.append(x.detach().clone())
        return as_image(x)

    settings = mapping_settings(line_search=False, rate=3.0, steps=3, tries=1, tolerance=0.0)
    result = map_to_label(two_labels(), spying, r, image, 1, settings, generator())

    def loss(x):
        alternative = -two_labels()(x).log_softmax(dim=1)[0, 1]
        return (alternative + 2 * (x - r).square().mean()).item()

    losses = [loss(x) for x in visited]
    assert losses[-1] > min(losses)
    assert result.loss == pytest.approx(min(losses), rel=1e-4)
    assert loss(result.r) == pytest.approx(min(losses), rel=1e-4)
    assert result.evaluations == len(visited)


def test_points_that_are_not_finite_are_left():
    """The loss is NaN right of x = -0.5, where every search goes."""

    def logits(r):
        x = torch.where(r[:, 0] > -0.5, math.nan, 1.0) * r[:, 0]
        return torch.stack([torch.zeros(len(r)), 4 * x], dim=1)

    r, image = start(-1.0, 2.0)
    settings = mapping_settings(tries=3, line_search=False)
    result = map_to_label(logits, as_image, r, image, 1, settings, generator())
    assert torch.isfinite(result.r).all()
    assert math.isfinite(result.loss)
    assert not result.converged


def test_a_loss_that_is_never_finite_gives_r_itself():
    r, image = start(-1.0, 2.0)

    def broken(x):
        return torch.full((len(x), 2), math.nan) * x

    result = map_to_label(broken, as_image, r, image, 1, mapping_settings(tries=2), generator())
    assert not result.converged
    assert torch.equal(result.r, r)
    assert result.terms == dict.fromkeys(TERMS, math.inf)


def test_the_paper_makes_all_its_steps(monkeypatch):
    calls = []

    class Counting(torch.optim.LBFGS):
        def __init__(self, *args, **kwargs):
            calls.append(kwargs)
            super().__init__(*args, **kwargs)

        def step(self, closure):
            calls.append("step")
            return super().step(closure)

    monkeypatch.setattr(mapping.torch.optim, "LBFGS", Counting)
    paper = yaml.safe_load((CONF / "mapping" / "paper.yaml").read_text())
    del paper["defaults"]
    settings = mapping_settings(steps=100, tries=1, **paper)
    r, image = start(-1.0, 2.0)
    map_to_label(two_labels(), as_image, r, image, 1, settings, generator())
    assert calls[0] == {"lr": 1.0, "max_iter": 20, "line_search_fn": None}
    assert calls.count("step") == 100

    calls.clear()
    map_to_label(
        two_labels(), as_image, r, image, 1, mapping_settings(steps=100, tries=1), generator()
    )
    assert 0 < calls.count("step") < 100


def test_gradients_are_found_inside_no_grad():
    r, image = start(-1.0, 2.0)
    settings = mapping_settings(img_similarity=0.01, emb_similarity=0.01)
    with torch.no_grad():
        result = map_to_nearest(two_labels(), as_image, r, image, settings, generator())
    assert result.converged
    assert not result.r.requires_grad
