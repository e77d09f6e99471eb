"""How good and how quick refinement and mapping are: `python benchmarks/mapping.py [--name NAME]`.

Takes test X-rays of a trained chain, `make demo`'s by default. Refines them, then maps them as
I says they are: all at once by the batched optimiser, and some of them by the paper's procedure,
one after the other, with the same weights of the terms of L_M, once those of `mapping=default` and
once the paper's. Times are wall-clock seconds, processor seconds in brackets, for one X-ray.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from common import peak
from hydra import compose, initialize_config_dir
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from xrj.build import build_evaluation_data
from xrj.config import plain, register
from xrj.datamodules.images import to_tensor
from xrj.justify.mapping import TERMS, MappingResult, MappingSettings, map_to_nearest
from xrj.justify.model import STAGES, JustificationModel
from xrj.justify.refinement import RefinementSettings, refine
from xrj.seeding import torch_generator

CONF = Path(__file__).parents[1] / "conf"


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float, float]:
    """Return what a function returns, its wall-clock and its processor seconds."""
    wall, processor = perf_counter(), process_time()
    result = function(*arguments)
    return result, perf_counter() - wall, process_time() - processor


def spread(values: Sequence[float]) -> str:
    """Return mean and 95th percentile."""
    return f"{np.mean(values):.4f} (95th percentile {np.percentile(values, 95):.4f})"


def settings(*overrides: str) -> tuple[MappingSettings, RefinementSettings]:
    """Return the mapping's and the refinement's settings as configured."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("infer", list(overrides))
    return MappingSettings(**plain(cfg.mapping)), RefinementSettings(**plain(cfg.refinement))


def map_images(
    model: JustificationModel, r: Tensor, x: Tensor, how: MappingSettings
) -> tuple[list[MappingResult], float]:
    """Map X-rays, print what it took and return it with the seconds an X-ray."""
    chances = [torch_generator(0, "restart", row) for row in range(len(x))]
    found, wall, processor = timed(
        map_to_nearest, model.label_logits, model.generate, r, x, how, chances
    )
    losses = [one.loss for one in found]
    print(
        f"  {how.optimizer}, {len(x)} X-rays: {wall / len(x):.2f} s ({processor / len(x):.2f}), "
        f"{np.mean([one.evaluations for one in found]):,.0f} evaluations; "
        f"{sum(one.converged for one in found)} converged in at most "
        f"{max(one.tries for one in found)} tries; L_M median {np.median(losses):.5f}, "
        f"95th percentile {np.percentile(losses, 95):.5f}",
        flush=True,
    )
    return found, wall / len(x)


def refine_images(
    model: JustificationModel, r: Tensor, x: Tensor, large: Tensor, how: RefinementSettings
) -> Tensor:
    """Refine representations and print how much nearer the reconstructions come."""
    embedding = model.split(r)[0].shape[1]
    found, wall, processor = timed(refine, model.generate, r, x, embedding, how)
    refined = torch.cat([one.r for one in found])
    print(
        f"refinement, {len(x)} X-rays at once: {wall / len(x):.3f} s ({processor / len(x):.3f}), "
        f"{np.mean([one.evaluations for one in found]):.1f} evaluations"
    )
    one, seconds, _ = timed(refine, model.generate, r[:1], x[:1], embedding, how)
    print(f"  one X-ray alone: {seconds:.3f} s, {one[0].evaluations} evaluations")
    for when, here in (("before", r), ("after", refined)):
        with torch.no_grad():
            pictures = model.draw(here)
        for made, real in zip(pictures, (x, large), strict=True):
            error = (made - real).square().flatten(1).mean(dim=1).tolist()
            similar = structural_similarity_index_measure(made, real, data_range=2.0)
            print(
                f"  {when}, {real.shape[-1]} pixels: mean square error {spread(error)}, "
                f"most {max(error):.4f}; SSIM {float(similar):.3f}"
            )
        size = model.split(here)[1].square().mean(dim=1).sqrt()
        print(
            f"  {when}, root mean square of the noise (N(0, 1): 1): mean {size.mean():.2f}, "
            f"{size.min():.2f} to {size.max():.2f}"
        )
    same = sum(a == b for a, b in zip(model.captions(r), model.captions(refined), strict=True))
    print(f"  diagnosis and caption unchanged: {same} of {len(x)}", flush=True)
    return refined


def main() -> None:
    """Refine and map some X-rays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--name", default="demo", help="of the chain")
    parser.add_argument("--images", type=int, default=64, help="X-rays that are mapped at once")
    parser.add_argument("--slow", type=int, default=4, help="of them by the paper's way, too")
    options = parser.parse_args()
    folders = {stage: options.runs / options.name / stage for stage in (*STAGES, "classifier")}
    absent = [
        folder
        for stage, folder in folders.items()
        if stage != "classifier" and not (folder / "export/stage.json").is_file()
    ]
    if absent:
        print(f"mapping: not measured, {absent[0]} is not trained; run make demo first")
        return
    model = JustificationModel.load(folders, options.name, "ours_label", 1, "cpu")
    data = build_evaluation_data(model.exports["inverse"], {}, "images")
    x, large = (
        to_tensor(data.evaluation_images("test", size)[0][: options.images]) for size in model.sizes
    )
    with torch.no_grad():
        r = model.encode(x)
    register()
    default, refinement = settings()
    paper, _ = settings("preset=paper")
    slow = torch.linspace(0, len(x) - 1, min(options.slow, len(x))).long()
    model.generate(r[:1])  # warm
    refined = refine_images(model, r, x, large, refinement)
    for name, weights in (("default", default), ("paper", paper)):
        print(f"mapping with the weights of mapping={name}")
        terms = {term: getattr(weights, term) for term in TERMS}
        quick, seconds = map_images(model, r, x, replace(default, **terms))
        theirs, their_seconds = map_images(model, r[slow], x[slow], replace(paper, **terms))
        pairs = [(quick[row], their) for row, their in zip(slow.tolist(), theirs, strict=True)]
        for statistic, share in (("median", 50), ("95th percentile", 95)):
            ours, others = (
                np.percentile([pair[side].loss for pair in pairs], share) for side in (0, 1)
            )
            print(f"  L_M of the same {len(slow)}, {statistic}: {ours:.5f} to {others:.5f}")
        worst = max(ours.loss / their.loss for ours, their in pairs)
        print(f"  largest ratio of L_M: {worst:.5f}; time {their_seconds / seconds:.0f} to 1")
    print("mapping from the refined r, as the default does")
    map_images(model, refined, x, default)
    _, alone = map_images(model, refined[:1], x[:1], default)
    print(f"one X-ray alone: {alone:.2f} s; peak memory {peak():,.0f} MB")


if __name__ == "__main__":
    main()
