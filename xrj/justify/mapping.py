"""The mapping M: the nearest representation with another diagnosis (section 3.4).

It knows nothing of X-rays: a problem is two differentiable functions of r and a target.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xrj import losses

TERMS = ("alt_diagnosis", "img_similarity", "emb_similarity")
"""Terms of L_M (eq. 5), in its order: eqs. 2, 3 and 4."""


@dataclass(frozen=True)
class MappingSettings:
    """How M searches.

    The paper's procedure is rate 1, 100 steps of at most 20 iterations, no line search, at most 20
    tries, and no stop before all steps are done.

    Attributes:
        rate: Learning rate of L-BFGS.
        steps: Calls of the optimiser a try.
        iterations: Iterations a call.
        line_search: Use the strong Wolfe line search.
        tries: Starts: r itself, then r + z.
        restart: Standard deviation of z.
        certainty: p(d') above which a try has converged.
        tolerance: A try ends once a call lowers L_M by less than this share; 0 for never.
        alt_diagnosis: Weight of eq. 2 in eq. 5.
        img_similarity: Weight of eq. 3, a mean over pixels.
        emb_similarity: Weight of eq. 4, a mean over the dimensions of r.
    """

    rate: float
    steps: int
    iterations: int
    line_search: bool
    tries: int
    restart: float
    certainty: float
    tolerance: float
    alt_diagnosis: float
    img_similarity: float
    emb_similarity: float


@dataclass(frozen=True)
class MappingResult:
    """Where M ended.

    Attributes:
        r: r', the best representation that was visited, (1, v + n).
        target: Index of the alternative label d'.
        certainty: p(d') at r'.
        converged: Whether r' decodes to d' with enough certainty.
        tries: Starts that were used.
        evaluations: Evaluations of L_M and its gradient.
        seconds: Wall-clock time.
        loss: L_M at r', weighted.
        terms: Its unweighted terms by their names in `TERMS`; infinite, as `loss`, when no visited
            point had a finite loss.
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


class _Problem:
    """L_M around one r, with a memory of the best point visited."""

    def __init__(
        self,
        label_logits: Callable[[Tensor], Tensor],
        generate: Callable[[Tensor], Tensor],
        r: Tensor,
        image: Tensor,
        target: int,
        settings: MappingSettings,
    ) -> None:
        self.label_logits, self.generate = label_logits, generate
        self.r, self.image, self.target, self.settings = r, image, target, settings
        self.evaluations = 0
        self.forget()

    def forget(self) -> None:
        self.best = self.r.clone()
        self.best_loss = float("inf")
        self.best_terms = dict.fromkeys(TERMS, float("inf"))

    def loss(self, point: Tensor) -> Tensor:
        """Return L_M (eq. 5) at `point` (1, v + n), remembering it if it is the best."""
        self.evaluations += 1
        weights = self.settings
        alt = losses.alternative_diagnosis(self.label_logits(point), self.target).sum()
        img = losses.similarity(self.generate(point), self.image).sum()
        emb = losses.similarity(point, self.r).sum()
        loss: Tensor = (
            weights.alt_diagnosis * alt
            + weights.img_similarity * img
            + weights.emb_similarity * emb
        )
        if loss.item() < self.best_loss:
            self.best, self.best_loss = point.detach().clone(), loss.item()
            values = (alt.item(), img.item(), emb.item())
            self.best_terms = dict(zip(TERMS, values, strict=True))
        return loss


def _search(problem: _Problem, start: Tensor, settings: MappingSettings) -> None:
    """Run one try of L-BFGS from `start`."""
    point = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [point],
        lr=settings.rate,
        max_iter=settings.iterations,
        line_search_fn="strong_wolfe" if settings.line_search else None,
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = problem.loss(point)
        loss.backward()
        return loss

    for _ in range(settings.steps):
        before = problem.best_loss
        optimizer.step(closure)
        if not torch.isfinite(point).all():
            return
        if settings.tolerance and before - problem.best_loss <= settings.tolerance * before < float(
            "inf"
        ):
            return


def map_to_label(
    label_logits: Callable[[Tensor], Tensor],
    generate: Callable[[Tensor], Tensor],
    r: Tensor,
    image: Tensor,
    target: int,
    settings: MappingSettings,
    generator: torch.Generator,
) -> MappingResult:
    """Find r' near r that decodes to the label `target` and generates nearly the same image.

    Args:
        label_logits: r (B, v + n) to the logits of the labels (B, L).
        generate: r to images like `image`.
        r: Representation of the X-ray, (1, v + n).
        image: The X-ray, (1, C, h, w) in [-1, 1].
        target: Index of d'.
        settings: How to search.
        generator: Of the restarts' z; on the CPU.

    Returns:
        The converged point of lowest L_M of the first try that converges, or, when none does, of
        all tries.
    """
    began = time.perf_counter()
    problem = _Problem(label_logits, generate, r.detach(), image, target, settings)
    failed: list[tuple[float, Tensor, dict[str, float]]] = []
    for attempt in range(1, settings.tries + 1):
        start = problem.r
        if attempt > 1:
            z = torch.randn(r.shape, generator=generator).to(r)
            start = problem.r + settings.restart * z
        problem.forget()
        with torch.enable_grad():
            _search(problem, start, settings)
        found = (problem.best_loss, problem.best, problem.best_terms)
        certainty = _certainty(label_logits, problem.best, target)
        converged = certainty > settings.certainty
        if converged:
            break
        failed.append(found)
    if not converged:
        found = min(failed, key=lambda entry: entry[0])
        certainty = _certainty(label_logits, found[1], target)
    loss, best, terms = found
    return MappingResult(
        r=best,
        target=target,
        certainty=certainty,
        converged=converged,
        tries=attempt,
        evaluations=problem.evaluations,
        seconds=time.perf_counter() - began,
        loss=loss,
        terms=terms,
    )


@torch.no_grad()
def _certainty(label_logits: Callable[[Tensor], Tensor], r: Tensor, target: int) -> float:
    return label_logits(r).softmax(dim=1)[0, target].item()


def map_to_nearest(
    label_logits: Callable[[Tensor], Tensor],
    generate: Callable[[Tensor], Tensor],
    r: Tensor,
    image: Tensor,
    settings: MappingSettings,
    generator: torch.Generator,
) -> MappingResult:
    """Map r to its nearest alternative diagnosis: of all other labels the one of lowest L_M.

    Converged candidates come before others. Arguments as in `map_to_label`.
    """
    with torch.no_grad():
        logits = label_logits(r)[0]
    diagnosis = int(logits.argmax())
    results = [
        map_to_label(label_logits, generate, r, image, target, settings, generator)
        for target in range(len(logits))
        if target != diagnosis
    ]
    return min(results, key=lambda result: (not result.converged, result.loss))
