"""The mapping M: the nearest representation with another diagnosis (section 3.4).

It knows nothing of X-rays: a problem is two differentiable functions of r and a target.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xrj import losses
from xrj.justify.lbfgs import LbfgsSettings, minimise

TERMS = ("alt_diagnosis", "img_similarity", "emb_similarity")
"""Terms of L_M (eq. 5), in its order: eqs. 2, 3 and 4."""

HISTORY, GRADIENT, FIRST = 10, 1e-7, 1.0
"""Of the batched optimiser; see `LbfgsSettings`. GRADIENT is torch.optim.LBFGS's, too."""


@dataclass(frozen=True)
class MappingSettings:
    """How M searches.

    The paper's procedure is the optimiser "reference" with rate 1, 100 steps of at most 20
    iterations, no line search, at most 20 tries, and no stop before all steps are done.

    Attributes:
        optimizer: "batched": all images and labels at once (`lbfgs`); "reference": one after the
            other by torch.optim.LBFGS.
        rate: Learning rate of the reference; the batched one has its line search.
        steps: Steps of a try.
        iterations: Iterations of a step.
        line_search: Give the reference a strong Wolfe line search, too.
        tries: Starts: r itself, then r + z.
        restart: Standard deviation of z.
        certainty: p(d') above which a try has converged.
        tolerance: A try ends once as many iterations as a step has lower L_M by less than this
            share; 0 for never.
        alt_diagnosis: Weight of eq. 2 in eq. 5.
        img_similarity: Weight of eq. 3, a mean over pixels.
        emb_similarity: Weight of eq. 4, a mean over the dimensions of r.
    """

    optimizer: str = "batched"
    rate: float = 1.0
    steps: int = 100
    iterations: int = 10
    line_search: bool = True
    tries: int = 20
    restart: float = 0.1
    certainty: float = 0.5
    tolerance: float = 1e-5
    alt_diagnosis: float = 1.0
    img_similarity: float = 0.0
    emb_similarity: float = 1e-5


@dataclass(frozen=True)
class MappingResult:
    """Where M ended.

    Attributes:
        r: r', the best representation that was visited, (1, v + n).
        target: Index of the alternative label d'.
        certainty: p(d') at r'.
        converged: Whether r' decodes to d' with enough certainty.
        tries: Starts that were used.
        evaluations: Evaluations of L_M and its gradient, for this image.
        seconds: Wall-clock time; of a batch, this image's share by its evaluations.
        loss: L_M at r', weighted.
        terms: Its unweighted terms by their names in `TERMS`; infinite, as `loss`, when no visited
            point had a finite loss.
        trace: Lowest L_M at the start of the try that counted and after each of its iterations;
            of the reference, after each step.
    """

    r: Tensor
    target: int
    certainty: float
    converged: bool
    tries: int
    evaluations: int
    seconds: float
    loss: float
    terms: dict[str, float]
    trace: tuple[float, ...]


@dataclass(frozen=True)
class _Problem:
    """L_M of P pairs of an X-ray and an alternative label.

    Attributes:
        label_logits: r (B, v + n) to the logits of the labels (B, L).
        generate: r to images like `image`.
        r: Representations of the X-rays, (P, v + n).
        image: The X-rays, (P, C, h, w) in [-1, 1].
        target: Indices of the d', (P,).
        settings: Weights of the terms.
    """

    label_logits: Callable[[Tensor], Tensor]
    generate: Callable[[Tensor], Tensor]
    r: Tensor
    image: Tensor
    target: Tensor
    settings: MappingSettings

    def terms(self, points: Tensor, pairs: Tensor, *, pictures: bool = True) -> Tensor:
        """Return the unweighted `TERMS` (A, 3) at points (A, v + n) of these pairs (A,).

        Without `pictures` none is drawn, and their term is 0.
        """
        alternative = losses.alternative_diagnosis(self.label_logits(points), self.target[pairs])
        image = torch.zeros_like(alternative)
        if pictures:
            image = losses.similarity(self.generate(points), self.image[pairs])
        embedding = losses.similarity(points, self.r[pairs])
        return torch.stack([alternative, image, embedding], dim=1)

    def loss(self, points: Tensor, pairs: Tensor) -> Tensor:
        """Return L_M (eq. 5), (A,); arguments as of `terms`."""
        weights = points.new_tensor([getattr(self.settings, term) for term in TERMS])
        return self.terms(points, pairs, pictures=self.settings.img_similarity > 0) @ weights

    @torch.no_grad()
    def certainty(self, points: Tensor, pairs: Tensor) -> Tensor:
        """Return p(d'), (A,); arguments as of `terms`."""
        probabilities = self.label_logits(points).softmax(dim=1)
        return probabilities.gather(1, self.target[pairs, None])[:, 0]


@dataclass
class _Found:
    """What was found for A pairs, row by row; see `MappingResult`."""

    r: Tensor
    loss: Tensor
    evaluations: Tensor
    traces: list[tuple[float, ...]]


def _search_batched(problem: _Problem, start: Tensor, pairs: Tensor) -> _Found:
    """Make one try of these pairs (A,) from `start` (A, v + n), all at once."""
    settings = problem.settings
    found = minimise(
        lambda points, rows: problem.loss(points, pairs[rows]),
        start,
        LbfgsSettings(
            iterations=settings.steps * settings.iterations,
            history=HISTORY,
            tolerance=settings.tolerance,
            window=settings.iterations,
            gradient=GRADIENT,
            first=FIRST,
        ),
    )
    traces = zip(found.trace.tolist(), found.iterations.tolist(), strict=True)
    return _Found(
        found.x, found.loss, found.evaluations, [tuple(trace[: end + 1]) for trace, end in traces]
    )


def _search_reference(problem: _Problem, start: Tensor, pairs: Tensor) -> _Found:
    """Do what `_search_batched` does, one pair after the other."""
    found = [
        _search_one(problem, point, pair)
        for point, pair in zip(start.split(1), pairs.split(1), strict=True)
    ]
    return _Found(
        torch.cat([one.r for one in found]),
        torch.cat([one.loss for one in found]),
        torch.cat([one.evaluations for one in found]),
        [trace for one in found for trace in one.traces],
    )


@torch.enable_grad()
def _search_one(problem: _Problem, start: Tensor, pair: Tensor) -> _Found:
    settings = problem.settings
    point = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [point],
        lr=settings.rate,
        max_iter=settings.iterations,
        line_search_fn="strong_wolfe" if settings.line_search else None,
    )
    best, lowest, evaluations = start, float("inf"), 0
    trace: list[float] = []

    def closure() -> Tensor:
        nonlocal best, lowest, evaluations
        optimizer.zero_grad()
        loss = problem.loss(point, pair).sum()
        loss.backward()
        evaluations += 1
        if loss.item() < lowest:
            best, lowest = point.detach().clone(), loss.item()
        if not trace:
            trace.append(lowest)
        return loss

    for _ in range(settings.steps):
        before = lowest
        optimizer.step(closure)
        trace.append(lowest)
        if not point.isfinite().all():
            break
        if settings.tolerance and before - lowest <= settings.tolerance * before < float("inf"):
            break
    return _Found(best, best.new_tensor([lowest]), pair.new_tensor([evaluations]), [tuple(trace)])


def _map_pairs(
    problem: _Problem, generators: Sequence[torch.Generator]
) -> tuple[_Found, Tensor, Tensor]:
    """Try every pair until it has converged or no try is left.

    Args:
        problem: P pairs.
        generators: Of each pair's z; pairs of one image share theirs.

    Returns:
        What was found, which pairs have converged and their tries, (P,) each.
    """
    settings = problem.settings
    search = _search_reference if settings.optimizer == "reference" else _search_batched
    failed = torch.arange(len(problem.r), device=problem.r.device)
    tries, converged = torch.zeros_like(failed), torch.zeros_like(failed, dtype=torch.bool)
    best = _Found(
        problem.r.clone(),
        problem.r.new_full((len(failed),), float("inf")),
        torch.zeros_like(failed),
        [()] * len(failed),
    )
    for attempt in range(1, settings.tries + 1):
        start = problem.r[failed]
        if attempt > 1:
            z = [
                torch.randn(1, start.shape[1], generator=generators[pair])
                for pair in failed.tolist()
            ]
            start = start + settings.restart * torch.cat(z).to(start)
        found = search(problem, start, failed)
        good = (problem.certainty(found.r, failed) > settings.certainty) & found.loss.isfinite()
        better = good | (found.loss < best.loss[failed])
        kept = failed[better]
        best.r[kept], best.loss[kept] = found.r[better], found.loss[better]
        for pair, row in zip(kept.tolist(), better.nonzero()[:, 0].tolist(), strict=True):
            best.traces[pair] = found.traces[row]
        best.evaluations[failed] += found.evaluations
        converged[failed], tries[failed] = good, attempt
        failed = failed[~good]
        if not len(failed):
            break
    return best, converged, tries


def map_to_nearest(
    label_logits: Callable[[Tensor], Tensor],
    generate: Callable[[Tensor], Tensor],
    r: Tensor,
    image: Tensor,
    settings: MappingSettings,
    generators: Sequence[torch.Generator],
    towards: int | None = None,
) -> list[MappingResult]:
    """Map each r to its nearest alternative diagnosis: of all other labels the one of lowest L_M.

    What is found for an image does not depend on the others of the batch, but for rounding.

    Args:
        label_logits: r (B, v + n) to the logits of the labels (B, L).
        generate: r to images like `image`.
        r: Representations of the X-rays, (B, v + n).
        image: The X-rays, (B, C, h, w) in [-1, 1].
        settings: How to search.
        generators: Of the restarts' z, one for each image; on the CPU.
        towards: The only alternative label, for each r that is not of this label itself.

    Returns:
        One for each image, converged or not. For each label it is the first try that converges or,
        when none does, the one of lowest L_M; of the labels, converged ones come first.
    """
    at_once = 1 if settings.optimizer == "reference" else max(len(r), 1)
    results: list[MappingResult] = []
    for first in range(0, len(r), at_once):
        rows = slice(first, first + at_once)
        results += _map_images(
            label_logits,
            generate,
            r[rows].detach(),
            image[rows],
            settings,
            generators[rows],
            towards,
        )
    return results


def _map_images(
    label_logits: Callable[[Tensor], Tensor],
    generate: Callable[[Tensor], Tensor],
    r: Tensor,
    image: Tensor,
    settings: MappingSettings,
    generators: Sequence[torch.Generator],
    towards: int | None,
) -> list[MappingResult]:
    """Map some images at once; see `map_to_nearest`."""
    began = time.perf_counter()
    with torch.no_grad():
        logits = label_logits(r)
    others = torch.ones_like(logits).scatter(1, logits.argmax(dim=1, keepdim=True), 0)
    if towards is not None:
        free = others[:, towards] > 0
        others[free] = 0
        others[free, towards] = 1
    owner, target = others.nonzero().unbind(dim=1)
    problem = _Problem(label_logits, generate, r[owner], image[owner], target, settings)
    found, converged, tries = _map_pairs(problem, [generators[image] for image in owner.tolist()])

    every = torch.arange(len(owner), device=r.device)
    certainty = problem.certainty(found.r, every)
    with torch.no_grad():
        terms = problem.terms(found.r, every)
    terms = torch.where(found.loss.isfinite()[:, None], terms, float("inf"))
    spent = torch.zeros_like(logits[:, 0], dtype=torch.int64).index_add(0, owner, found.evaluations)
    seconds = (time.perf_counter() - began) * spent / spent.sum()
    results = []
    for row in range(len(r)):
        nearest = min(
            (owner == row).nonzero()[:, 0].tolist(),
            key=lambda pair: (not converged[pair], found.loss[pair].item()),
        )
        results.append(
            MappingResult(
                r=found.r[nearest : nearest + 1],
                target=int(target[nearest]),
                certainty=certainty[nearest].item(),
                converged=bool(converged[nearest]),
                tries=int(tries[nearest]),
                evaluations=int(spent[row]),
                seconds=seconds[row].item(),
                loss=found.loss[nearest].item(),
                terms=dict(zip(TERMS, terms[nearest].tolist(), strict=True)),
                trace=found.traces[nearest],
            )
        )
    return results
