"""Exact resume: `python benchmarks/resume.py [--root DIR] [--seed N] [OVERRIDE ...]`.

Trains every stage on a small phantom, or on IU X-Ray below DIR, once without a break; then again,
killed with SIGKILL at three random moments of the first half of its running time, which a continued
run reaches, too, and started anew each time. Prints when the kills fell and whether the exported
weights agree bit for bit; exit status 1 if one does not. OVERRIDE is anything that `train.py`
takes, such as gan1.max_epochs=5.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
STAGES = ("arae", "gan1", "gan2", "inverse")
SMALL = [
    "data.phantom={reports: 200, seed: 0, size: 144, cardiomegaly: 0.3, other: 0.1}",
    "dims.embedding=32",
    "dims.noise=16",
    "dims.large=128",
    *(f"{stage}.max_epochs=12" for stage in STAGES),
    *(f"{stage}.batch_size=16" for stage in STAGES),
    "gan1.width=8",
    "gan2.width=4",
    "inverse.width=8",
    "logger.wandb=disabled",
]


def start(overrides: list[str]) -> subprocess.Popen[bytes]:
    """Start a training."""
    command = [sys.executable, "train.py", *overrides]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)


def finish(overrides: list[str]) -> float:
    """Train to the end; return the seconds it took."""
    begin = time.perf_counter()
    status = start(overrides).wait()
    if status:
        sys.exit(status)
    return time.perf_counter() - begin


def killed(overrides: list[str], moments: list[float]) -> list[str]:
    """Train, killed after each of these seconds; return what each kill met."""
    met = []
    for moment in moments:
        process = start(overrides)
        try:
            process.wait(moment)
            met.append("ended before")
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            met.append(f"{moment:.1f} s")
    return met


def exported(folder: Path) -> dict[str, bytes]:
    """Return the exported files, weights and description."""
    return {path.name: path.read_bytes() for path in (folder / "export").iterdir()}


def main() -> None:
    """Compare all stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, help="IU X-Ray or a phantom")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    source = ["data=iu_xray", f"data.root={options.root.absolute()}"] if options.root else []
    same = True
    print(f"{'stage':8} {'whole':>8}  {'killed after':28} weights")
    with tempfile.TemporaryDirectory() as name:
        runs = Path(name) / "runs"
        for stage in STAGES:
            shared = [*source, *SMALL, f"stage={stage}", f"runs={runs}", *options.overrides]
            shared += [f"data.cache_dir={name}/cache", f"parents.arae={runs}/whole/arae"]
            shared += [f"parents.gan1={runs}/whole/gan1"]
            seconds = finish([*shared, "name=whole"])
            moments = sorted(rng.uniform(0.2, 0.5) * seconds for _ in range(3))
            met = killed([*shared, "name=parts"], moments)
            finish([*shared, "name=parts"])
            equal = exported(runs / "whole" / stage) == exported(runs / "parts" / stage)
            same &= equal
            verdict = "bit-equal" if equal else "DIFFERENT"
            print(f"{stage:8} {seconds:6.1f} s  {', '.join(met):28} {verdict}", flush=True)
    sys.exit(not same)


if __name__ == "__main__":
    main()
