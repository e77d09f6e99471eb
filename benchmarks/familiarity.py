"""Which pictures does a chain call no frontal chest X-ray, or unlike those that it learned from?

`python benchmarks/familiarity.py --name NAME [--split val] [--folders FOLDER ...]` prints a table:
the kind of picture, how many, and the share flagged: by what is fitted to the training X-rays, for
want of a heart between two lungs, and by either, as the pages do. Kinds are the split's X-rays,
these with something done to them, phantoms from the front and from the side, what `strange.py`
draws, and the pictures of each folder. Of a folder called NAME:N, N square parts of each picture
are taken, too. A chain from before the fit is fitted here, to its training split.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from numpy.random import Generator
from strange import CHANGED, DRAWN

from xrj.build import build_evaluation_data, build_familiarity
from xrj.config import plain, register
from xrj.datamodules.images import SUFFIXES, UInt8, read_image
from xrj.datamodules.phantom_study import draw_study, render_study
from xrj.justify.model import JustificationModel
from xrj.measures.ctr import measure_chest

CONF = Path(__file__).parents[1] / "conf"
SEED = 11
"""Of all that is drawn; none that anything was trained on."""
BATCH = 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--count", type=int, default=100, help="most pictures of each other kind")
    parser.add_argument("--folders", nargs="*", default=[])
    options = parser.parse_args()
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("infer", [f"runs={options.runs}", f"name={options.name}"])
    folders = {stage: Path(folder) for stage, folder in plain(cfg.chain).items()}
    model = JustificationModel.load(folders, cfg.name, cfg.selection, cfg.beams, "cpu")
    data = build_evaluation_data(model.exports["inverse"], plain(cfg.data), "images")
    if model.familiarity is None:
        model = replace(model, familiarity=build_familiarity(model.sizes[0], data))
    _, frame = data.evaluation_images(options.split, model.sizes[0])
    xrays = [read_image(Path(path)) for path in frame["path"]]
    print("| pictures | n | unlike the training | no frontal chest | either |")
    print("| --- | --- | --- | --- | --- |")
    for kind, pictures in kinds(xrays, options.count, options.folders):
        shares = " | ".join(f"{share:.1%}" for share in flagged(model, pictures))
        print(f"| {kind} | {len(pictures)} | {shares} |", flush=True)


def flagged(model: JustificationModel, pictures: Sequence[UInt8]) -> tuple[float, float, float]:
    """Return the shares of pictures that are unlike, show no frontal chest, or either."""
    unlike, other = [], []
    for start in range(0, len(pictures), BATCH):
        small, large = (
            np.stack([model.view(one, size) for one in pictures[start : start + BATCH]])
            for size in model.sizes
        )
        unlike += [said is not None for said in model.unlike(model.to_images(small))]
        other += [not chest.frontal for chest in measure_chest(list(large))]
    together = np.array([unlike, other])
    return (*together.mean(axis=1), together.any(axis=0).mean())


def kinds(
    xrays: Sequence[UInt8], count: int, folders: Sequence[str]
) -> Iterator[tuple[str, list[UInt8]]]:
    """Yield pictures by kind, the split's own X-rays first."""
    yield "own X-rays", list(xrays)
    some = xrays[:: -(-len(xrays) // count)]
    for name, change in CHANGED.items():
        yield f"own, {name}", [np.ascontiguousarray(change(one)) for one in some]
    drawn: dict[str, list[UInt8]] = {"frontal": [], "lateral": []}
    number = 0
    while min(map(len, drawn.values())) < count:
        number += 1
        for row, picture in render_study(SEED, draw_study(SEED, number, 0.3, 0.2), 288):
            drawn[row["view"]].append(picture)
    for view, pictures in drawn.items():
        yield f"phantoms, {view}", pictures[:count]
    for name, draw in DRAWN.items():
        yield name, [draw(np.random.default_rng((SEED, index))) for index in range(count)]
    for folder in folders:
        name, _, parts = folder.partition(":")
        paths = sorted(path for path in Path(name).iterdir() if path.suffix.lower() in SUFFIXES)
        paths = paths[:: -(-len(paths) // count)]
        rng = np.random.default_rng(SEED)
        pictures = [
            part for path in paths for part in _with_parts(read_image(path), int(parts or 0), rng)
        ]
        yield Path(name).name, pictures


def _with_parts(picture: UInt8, parts: int, rng: Generator) -> Iterator[UInt8]:
    yield picture
    for _ in range(parts):
        side = int(min(picture.shape) * rng.uniform(0.35, 0.95))
        top, left = (int(rng.integers(0, length - side + 1)) for length in picture.shape)
        part = picture[top : top + side, left : left + side]
        yield part[:, ::-1] if rng.random() < 0.5 else part


if __name__ == "__main__":
    main()
