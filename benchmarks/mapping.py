"""How long the mapping takes: `python benchmarks/mapping.py [--runs DIR] [--name NAME]`.

Maps some test X-rays of a trained chain, `make demo`'s by default, by the default search and by the
paper's, one after the other as `infer.py` does. Prints seconds, evaluations and tries an X-ray.
"""

import argparse
from pathlib import Path
from statistics import mean

import torch
from common import peak
from hydra import compose, initialize_config_dir

from xrj.build import build_evaluation_data
from xrj.config import STAGES, plain, register
from xrj.datamodules.images import to_tensor
from xrj.justify.mapping import MappingSettings, map_to_nearest
from xrj.justify.model import JustificationModel
from xrj.seeding import torch_generator

CONF = Path(__file__).parents[1] / "conf"


def main() -> None:
    """Map some X-rays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--name", default="demo", help="of the chain")
    parser.add_argument("--count", type=int, default=8, help="X-rays; a quarter by the paper's way")
    options = parser.parse_args()
    folders = {stage: options.runs / options.name / stage for stage in STAGES}
    absent = [f for f in folders.values() if not (f / "export/stage.json").is_file()]
    if absent:
        print(f"mapping: not measured, {absent[0]} is not trained; run make demo first")
        return
    model = JustificationModel.load(folders, options.name, "ours_label", "cpu")
    data = build_evaluation_data(model.exports["inverse"], {}, "images")
    images = to_tensor(data.evaluation_images("test", model.sizes[0])[0][: options.count])
    with torch.no_grad():
        codes = model.inverse(images)
    register()
    for preset, count in (("default", options.count), ("paper", max(options.count // 4, 1))):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            settings = MappingSettings(**plain(compose("infer", [f"mapping={preset}"]).mapping))
        found = [
            map_to_nearest(
                model.label_logits, model.stage1, r[None], x[None], settings, torch_generator(0)
            )
            for r, x in zip(codes[:count], images, strict=False)
        ]
        print(
            f"mapping={preset}: {mean(one.seconds for one in found):.2f} s an X-ray, "
            f"{mean(one.evaluations for one in found):,.0f} evaluations, "
            f"{mean(one.tries for one in found):.1f} tries, "
            f"{sum(one.converged for one in found)} of {len(found)} converged; "
            f"peak memory {peak():,.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
