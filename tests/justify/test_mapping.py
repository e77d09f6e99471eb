"""The mapping M on problems whose answer is known, and on a tiny chain."""

import math
from dataclasses import replace

import pytest
import torch
import yaml

from tests.chains import CONF, mapping_settings
from xrj.justify import mapping
from xrj.justify.mapping import TERMS, map_to_nearest

OPTIMIZERS = ("batched", "reference")


def two_labels(slope=4.0):
    """Label 1 wins where the first coordinate is positive."""
    return lambda r: torch.stack([torch.zeros(len(r)), slope * r[:, 0]], dim=1)


def as_image(r):
    return r[:, None, None, :]


def start(*rows):
    r = torch.tensor(rows)
    return r, as_image(r)


def chances(count, seed=0):
    return [torch.Generator().manual_seed(seed + row) for row in range(count)]


def find(logits, r, settings, seed=0):
    return map_to_nearest(logits, as_image, r, as_image(r), settings, chances(len(r), seed))


def lowest(logits, r, target, weight):
    """Return the lowest L_M on a fine grid along x; both similarities together weigh `weight`."""
    x = torch.linspace(-5, 5, 100_001)
    points = torch.stack([x, torch.full_like(x, r[0, 1].item())], dim=1)
    losses = -logits(points).log_softmax(dim=1)[:, target] + weight * (x - r[0, 0]) ** 2 / 2
    return losses.min().item()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_minimum_of_a_known_problem_is_found(optimizer):
    """L_M = softplus(-s x) + (x - a)^2 + y^2 in two dimensions, means over both, twice."""
    r, _ = start([-1.0, 2.0])
    settings = mapping_settings(optimizer=optimizer, emb_similarity=1.0, tries=1)
    (result,) = find(two_labels(6.0), r, settings)
    x = result.r[0, 0].item()
    # d/dx: -s sigmoid(-s x) + 2 (x - a) / 2 + 2 (x - a) / 2 = 0
    assert -6 / (1 + math.exp(6 * x)) + 2 * (x + 1) == pytest.approx(0, abs=5e-3)
    assert result.r[0, 1].item() == pytest.approx(2.0, abs=1e-3)
    assert x > 0
    assert result.converged
    assert set(result.terms) == set(TERMS)
    assert result.terms["emb_similarity"] == pytest.approx((x + 1) ** 2 / 2, rel=1e-4)
    assert result.loss == pytest.approx(sum(result.terms.values()))
    assert result.loss == pytest.approx(lowest(two_labels(6.0), r, 1, 2.0), abs=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_of_the_terms_count(optimizer):
    r, _ = start([-1.0, 2.0])

    def found(**weights):
        settings = mapping_settings(optimizer=optimizer, tries=1, **weights)
        return find(two_labels(), r, settings)[0]

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


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_nearest_is_the_lowest_loss_and_not_the_second_most_probable(optimizer):
    """Label 1 is second at the start, yet far: its logit hardly rises."""

    def logits(r):
        x = r[:, 0]
        return torch.stack([torch.ones(len(r)), 0.9 + 0.05 * x, 0.2 - 6 * x], dim=1)

    r, _ = start([0.0, 0.0])
    probabilities = logits(r).softmax(dim=1)[0]
    assert probabilities.argsort(descending=True).tolist() == [0, 1, 2]
    settings = mapping_settings(optimizer=optimizer, certainty=0.2)
    weight = settings.img_similarity + settings.emb_similarity
    assert lowest(logits, r, 2, weight) < lowest(logits, r, 1, weight)
    (nearest,) = find(logits, r, settings)
    assert nearest.target == 2
    assert nearest.converged
    assert nearest.loss == pytest.approx(lowest(logits, r, 2, weight), abs=1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_converged_alternative_comes_before_a_closer_one_that_is_not(optimizer):
    def logits(r):
        x = r[:, 0]
        return torch.stack([torch.zeros(len(r)), -0.5 - 0 * x, -4 + 8 * x], dim=1)

    r, _ = start([0.0, 0.0])
    settings = mapping_settings(optimizer=optimizer, tries=2, img_similarity=1.5)
    settings = replace(settings, emb_similarity=1.5)
    assert lowest(logits, r, 1, 3.0) < lowest(logits, r, 2, 3.0)
    (nearest,) = find(logits, r, settings)
    assert (nearest.target, nearest.converged) == (2, True)


def test_every_image_gets_its_own_nearest_label():
    """Three labels, each diagnosed by one image; the third label is far from both others."""
    centres = torch.tensor([[0.0, 0.0], [2.0, 0.0], [9.0, 0.0]])

    def logits(r):
        return -torch.cdist(r, centres).square()

    found = find(logits, centres.clone(), mapping_settings())
    assert [one.target for one in found] == [1, 0, 1]
    assert all(one.converged and one.tries == 1 for one in found)
    assert found[0].loss < found[2].loss


def needs_a_push(r):
    """Flat, so without a gradient, but for a cliff behind x = 0.05."""
    return torch.stack([0 * r[:, 0], torch.where(r[:, 0] > 0.05, 5.0, -5.0)], dim=1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_restarts_are_counted(optimizer):
    r, _ = start([0.0, 0.0])
    settings = mapping_settings(optimizer=optimizer, tries=20, restart=0.3)
    (result,) = find(needs_a_push, r, settings)
    assert result.converged
    chance = chances(1)[0]
    z = torch.cat([torch.randn(1, 2, generator=chance) for _ in range(20)])
    assert result.tries == 2 + int((0.3 * z[:, 0] > 0.05).nonzero()[0])


def test_the_seed_decides_the_restarts():
    r, _ = start([0.0, 0.0])
    settings = mapping_settings(tries=20, steps=1, iterations=2, restart=0.06)

    def tries(seed):
        return find(needs_a_push, r, settings, seed)[0].tries

    assert tries(1) == tries(1)
    assert len({tries(seed) for seed in range(4)}) > 1


def test_restarts_do_not_depend_on_the_other_images():
    """Each of these finds the cliff in a try of its own, alone as in company."""
    r = torch.zeros(4, 2)
    settings = mapping_settings(tries=20, steps=1, iterations=2, restart=0.06)
    together = find(needs_a_push, r, settings)
    assert len({one.tries for one in together}) > 1
    for row, one in enumerate(together):
        (alone,) = find(needs_a_push, r[[row]], settings, seed=row)
        assert (alone.tries, alone.converged) == (one.tries, one.converged)
        torch.testing.assert_close(alone.r, one.r)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_does_not_converge_says_so(optimizer):
    """Images whose second coordinate is negative have no way; they do not hold the others up."""

    def logits(r):
        slope = torch.where(r[:, 1] > 0, 4.0, 0.0)
        return torch.stack([torch.zeros(len(r)), slope * r[:, 0]], dim=1)

    r, _ = start([-1.0, 2.0], [-1.0, -2.0], [-0.5, 2.0])
    settings = mapping_settings(
        optimizer=optimizer, tries=3, certainty=0.6, img_similarity=0.01, emb_similarity=0.01
    )
    found = find(logits, r, settings)
    assert [one.converged for one in found] == [True, False, True]
    assert [one.tries for one in found] == [1, 3, 1]
    assert found[1].certainty == pytest.approx(0.5)
    assert torch.allclose(found[1].r, r[[1]], atol=1e-2)  # the best of all tries: where it began
    assert found[1].loss == pytest.approx(math.log(2), abs=1e-4)


def test_the_best_point_visited_is_returned():
    """A rate far too high throws L-BFGS away from the start, which was better."""
    r, image = start([-1.0, 2.0])
    visited = []

    def spying(x):
        visited.append(x.detach().clone())
        return as_image(x)

    settings = mapping_settings(
        optimizer="reference", line_search=False, rate=3.0, steps=3, tries=1, tolerance=0.0
    )
    (result,) = map_to_nearest(two_labels(), spying, r, image, settings, chances(1))

    def loss(x):
        alternative = -two_labels()(x).log_softmax(dim=1)[0, 1]
        return (alternative + (1 + settings.emb_similarity) * (x - r).square().mean()).item()

    losses = [loss(x) for x in visited]
    assert losses[-2] > min(losses)
    assert result.loss == pytest.approx(min(losses), rel=1e-4)
    assert loss(result.r) == pytest.approx(min(losses), rel=1e-4)
    assert result.evaluations == len(visited) - 1  # the last one is for the terms


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_points_that_are_not_finite_are_left(optimizer):
    """The loss is NaN right of x = -0.5, where every search goes; the other image's is not."""

    def logits(r):
        x = torch.where((r[:, 0] > -0.5) & (r[:, 1] > 0), math.nan, 1.0) * r[:, 0]
        return torch.stack([torch.zeros(len(r)), 4 * x], dim=1)

    r, _ = start([-1.0, 2.0], [-1.0, -2.0])
    settings = mapping_settings(
        optimizer=optimizer, tries=3, line_search=False, img_similarity=0.1, emb_similarity=0.0
    )
    broken, sound = find(logits, r, settings)
    assert torch.isfinite(broken.r).all()
    assert math.isfinite(broken.loss)
    assert not broken.converged
    assert broken.tries == 3
    assert sound.converged
    assert sound.tries == 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loss_that_is_never_finite_gives_r_itself(optimizer):
    r, _ = start([-1.0, 2.0])

    def broken(x):
        return torch.full((len(x), 2), math.nan) * x

    (result,) = find(broken, r, mapping_settings(optimizer=optimizer, tries=2))
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
    r, _ = start([-1.0, 2.0], [-1.5, 2.0])
    found = find(two_labels(), r, mapping_settings(tries=1, **paper))
    assert calls[0] == {"lr": 1.0, "max_iter": 20, "line_search_fn": None}
    assert calls.count("step") == 200
    assert [len(one.trace) for one in found] == [101, 101]

    calls.clear()
    find(two_labels(), r, mapping_settings(optimizer="reference", steps=100, tries=1))
    assert 0 < calls.count("step") < 100


def test_gradients_are_found_inside_no_grad():
    r, image = start([-1.0, 2.0])
    settings = mapping_settings(img_similarity=0.01, emb_similarity=0.01)
    with torch.no_grad():
        (result,) = map_to_nearest(two_labels(), as_image, r, image, settings, chances(1))
    assert result.converged
    assert not result.r.requires_grad


def test_no_images():
    r = torch.zeros(0, 2)
    assert find(two_labels(), r, mapping_settings()) == []


@pytest.fixture(scope="module")
def problem(model):
    """Images for a tiny chain, and r as I says."""
    images = torch.rand(5, 1, 16, 16, generator=chances(1)[0]) * 2 - 1
    with torch.no_grad():
        return model.label_logits, model.generate, model.encode(images), images


def test_a_batch_is_not_worse_than_the_paper(problem):
    paper = yaml.safe_load((CONF / "mapping" / "paper.yaml").read_text())
    del paper["defaults"]
    settings = mapping_settings(**paper | {"steps": 10})
    slow = map_to_nearest(*problem, settings, chances(5))
    quick = map_to_nearest(
        *problem, replace(settings, optimizer="batched", tolerance=1e-5), chances(5)
    )
    for ours, theirs in zip(quick, slow, strict=True):
        assert ours.loss <= theirs.loss * (1 + 1e-4)
        assert (ours.target, ours.converged) == (theirs.target, theirs.converged)
        assert ours.evaluations < theirs.evaluations / 2


def test_images_do_not_depend_on_their_batch(problem):
    label_logits, generate, r, images = problem
    settings = mapping_settings(emb_similarity=1.0)
    together = map_to_nearest(*problem, settings, chances(5))
    for row, one in enumerate(together):
        (alone,) = map_to_nearest(
            label_logits, generate, r[[row]], images[[row]], settings, chances(1, seed=row)
        )
        assert (alone.target, alone.converged, alone.tries) == (
            *(one.target, one.converged, one.tries),
        )
        assert alone.loss == pytest.approx(one.loss, rel=1e-4)
        torch.testing.assert_close(alone.r, one.r, rtol=0, atol=0.02)


def test_what_it_cost_is_told(problem):
    found = map_to_nearest(*problem, mapping_settings(tries=1), chances(5))
    for one in found:
        assert one.evaluations >= len(one.trace) > 1
        assert one.seconds > 0
        assert one.trace[-1] == pytest.approx(one.loss, rel=1e-4)
        assert all(after <= before for before, after in zip(one.trace, one.trace[1:], strict=False))
    most, least = (pick(found, key=lambda one: one.evaluations) for pick in (max, min))
    assert most.seconds / most.evaluations == pytest.approx(least.seconds / least.evaluations)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("towards", [0, 1, 2])
def test_a_label_that_is_asked_for_is_the_alternative_of_all_that_do_not_have_it(
    optimizer, towards
):
    """Three labels on a line at -4, 0 and 4: the farthest one is never the nearest."""

    def logits(r):
        return -((r[:, :1] - torch.tensor([-4.0, 0.0, 4.0])) ** 2)

    r, image = start([-4.0, 1.0], [0.5, 1.0], [4.0, 1.0])
    settings = mapping_settings(optimizer=optimizer, emb_similarity=0.01, img_similarity=0.0)
    found = map_to_nearest(logits, as_image, r, image, settings, chances(3), towards)
    nearest = [1, 2, 1]
    wanted = [nearest[own] if own == towards else towards for own in range(3)]
    assert [one.target for one in found] == wanted
    assert all(one.converged for one in found)
    ends = torch.cat([logits(one.r) for one in found]).argmax(dim=1)
    assert ends.tolist() == wanted
