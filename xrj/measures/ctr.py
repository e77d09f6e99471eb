"""The cardiothoracic ratio of a frontal chest X-ray, measured on masks of heart and lungs.

A small net that comes with the package (`resources/README.md`) says which share of each pixel is
heart or lung. Each picture is read several times, slightly moved and at other brightness: the mean
is the mask, and where the readings disagree, nothing is claimed. The ratio is the widest extent of
the heart over the widest extent of both lungs.

`python -m xrj.measures.ctr --csv FILE` measures the errors on X-rays whose ratio is known.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from xrj.datamodules.commands import run_command
from xrj.datamodules.images import UInt8, read_image, resize, to_tensor
from xrj.datamodules.masks import MASKS, MaskRow, read_mask, read_masks
from xrj.errors import DataError
from xrj.measures.frontal import is_frontal
from xrj.measures.masks import Plane, Width, components, dice, width_of

if TYPE_CHECKING:
    from xrj.nets.segmenter import Segmenter

WEIGHTS = Path(__file__).parent / "resources" / "segmenter.safetensors"
"""The trained net that comes with the package."""
PART = 16
"""Pictures that are measured at once."""
READINGS = ((0, 0, 1.0), (4, 3, 0.7), (-4, -3, 1.4))
"""Of each reading: columns and rows that the picture is moved by, exponent of its brightness."""
# What a confident measurement needs.
AGREEMENT = 0.02
"""Largest deviation of the ratio between the readings."""
STRAY = 0.1
"""Largest share of a further component in the area of the smallest one that is expected."""
CLEAR = 0.5
"""Least contrast of heart and lungs; a net imagines a chest in noise, too."""
LEAST_LUNG = 0.15
"""Smallest share of all lung on either side of the heart."""
POSSIBLE = (0.25, 0.9)
"""Ratios that are possible in a human chest."""


@dataclass(frozen=True)
class Chest:
    """Heart and lungs of one picture.

    Attributes:
        shape: Of the picture, (H, W).
        heart: Share of each pixel that is heart, at the net's resolution, (R, R).
        lungs: The same of the lungs.
        heart_width: None where there is no heart.
        thorax_width: The width of both lungs; None where there are none.
        confident: One heart between two lungs, whole, of possible size, and readings that agree.
        frontal: Whether it is a frontal chest X-ray at all, measured with confidence or not.
    """

    shape: tuple[int, int]
    heart: Plane
    lungs: Plane
    heart_width: Width | None
    thorax_width: Width | None
    confident: bool
    frontal: bool

    @property
    def ctr(self) -> float | None:
        """The cardiothoracic ratio; None where heart or lungs are not found."""
        return _ratio(self.heart_width, self.thorax_width)

    def sized(self, mask: Plane) -> Plane:
        """Return one of the masks at the picture's size, (H, W)."""
        height, width = self.shape
        return cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)

    @property
    def region(self) -> npt.NDArray[np.bool_]:
        """Where the heart lies in the picture, (H, W)."""
        return np.asarray(self.sized(self.heart) > 0.5)


def measure_chest(pictures: Sequence[UInt8], net: "Segmenter | None" = None) -> list[Chest]:
    """Find heart and lungs in frontal X-rays, lungs dark, and measure their widths.

    Args:
        pictures: Each (H, W), 0 to 255, of any size.
        net: Another one than that of the package, as `load_segmenter` gives it.
    """
    net = net or load_segmenter(WEIGHTS)
    found: list[Chest] = []
    for start in range(0, len(pictures), PART):
        part = pictures[start : start + PART]
        seen = np.stack([resize(one, net.size) for one in part])
        readings = _read(net, seen)
        found += [
            _chest((one.shape[0], one.shape[1]), seen[row], readings[:, row])
            for row, one in enumerate(part)
        ]
    return found


@cache
def load_segmenter(path: Path) -> "Segmenter":
    """Load a trained net, folded for speed.

    Args:
        path: A `.safetensors`: the package's, or one that stage `segmenter` exports.

    Raises:
        DataError: It cannot be read or is of another net.
    """
    from xrj.nets.folding import fold  # only now: what justifies knows no net until it measures
    from xrj.nets.segmenter import Segmenter

    try:
        state = {
            key.removeprefix("segmenter."): value.float() if value.is_floating_point() else value
            for key, value in load_file(path).items()
        }
        net = Segmenter(state["head.weight"].shape[1], int(state["resolution"]))
        net.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise DataError(
            f"{path}: holds no segmenter that can be read; give the best.safetensors that "
            "stage=segmenter exports"
        ) from error
    return fold(net.eval())


@torch.no_grad()
def _read(net: "Segmenter", pictures: UInt8) -> Plane:
    """Return the masks of all readings, (readings, B, 2, R, R), of pictures (B, R, R)."""
    images = to_tensor(pictures)
    readings = []
    for columns, rows, gamma in READINGS:
        given = _shift((images + 1) / 2, columns, rows) ** gamma * 2 - 1
        readings.append(_shift(net(given).sigmoid(), -columns, -rows))
    return torch.stack(readings).numpy()


def _shift(images: Tensor, columns: int, rows: int) -> Tensor:
    """Move images (B, C, H, W) right and down; what comes in repeats the edge."""
    height, width = images.shape[2:]
    reach = max(abs(columns), abs(rows))
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    return padded[
        :, :, reach - rows : reach - rows + height, reach - columns : reach - columns + width
    ]


def _ratio(heart: Width | None, thorax: Width | None) -> float | None:
    return heart.length / thorax.length if heart and thorax else None


def _chest(shape: tuple[int, int], seen: UInt8, readings: Plane) -> Chest:
    """Measure one picture from what was seen, (R, R), and read, (readings, 2, R, R)."""
    heart, hearts = components(readings[:, 0].mean(axis=0), 1)
    lungs, sides = components(readings[:, 1].mean(axis=0), 2)
    widths = width_of(heart), width_of(lungs)
    ratio = _ratio(*widths)
    if ratio is None:
        return Chest(shape, heart, lungs, *widths, confident=False, frontal=False)
    spread = _spread(readings, ratio)
    confident = (
        len(sides) >= 2
        and _apart(hearts, 1)
        and _apart(sides, 2)
        and POSSIBLE[0] < ratio < POSSIBLE[1]
        and _in_place(heart, lungs)
        and _contrast(seen, heart, lungs) > CLEAR
        and spread <= AGREEMENT
    )
    frontal = is_frontal(seen, readings, (heart, lungs), (hearts, sides), spread)
    return Chest(shape, heart, lungs, *widths, confident=confident, frontal=frontal)


def _apart(areas: Sequence[int], expected: int) -> bool:
    """Whether what is found beside the expected components is small."""
    return all(area < STRAY * areas[expected - 1] for area in areas[expected:])


def _in_place(heart: Plane, lungs: Plane) -> bool:
    """Whether the heart lies between two lungs, and the picture cuts none of them."""
    edges = [mask[:, place].max() > 0.5 for mask in (heart, lungs) for place in (0, -1)]
    beside = lungs.sum(axis=0)
    middle = int(heart.sum(axis=0).argmax())
    shares = [part.sum() / max(beside.sum(), 1e-6) for part in (beside[:middle], beside[middle:])]
    return not any(edges) and min(shares) > LEAST_LUNG


def _contrast(seen: UInt8, heart: Plane, lungs: Plane) -> float:
    """How far heart and lungs differ in brightness, in standard deviations of the picture."""
    inside, beside = (float(seen[mask > 0.5].mean()) for mask in (heart, lungs))
    return abs(inside - beside) / max(float(seen.std()), 1.0)


def _spread(readings: Plane, ratio: float) -> float:
    """How far the ratio of a reading by itself is from that of all, at most."""
    alone = [
        _ratio(*(width_of(components(reading[k], k + 1)[0]) for k in range(2)))
        for reading in readings
    ]
    return max(math.inf if one is None else abs(one - ratio) for one in alone)


@dataclass(frozen=True)
class Errors:
    """How far the meter is from known ratios and masks.

    Attributes:
        n: X-rays.
        measured: Share of them in which heart and lungs are found; the next are of these.
        error: Mean absolute error of the ratio.
        bias: Mean of measured less true.
        correlation: Pearson's, of measured and true.
        p95: 95th percentile of the absolute error.
        confident: Share of all X-rays with a confident measurement.
        confident_error: Mean absolute error of these.
        heart: Mean overlap (Dice) of the heart with its mask; None without masks.
        lungs: The same of the lungs.
    """

    n: int
    measured: float
    error: float | None
    bias: float | None
    correlation: float | None
    p95: float | None
    confident: float
    confident_error: float | None
    heart: float | None
    lungs: float | None


@dataclass(frozen=True)
class Found:
    """What is known and what is found of one X-ray.

    Attributes:
        true: The ratio.
        ctr: As measured; not a number where it cannot be.
        confident: As in `Chest`.
        overlaps: Dice of each part that has a mask.
    """

    true: float
    ctr: float
    confident: bool
    overlaps: Mapping[str, float]


def measure_rows(rows: Sequence[MaskRow], net: "Segmenter | None" = None) -> list[Found]:
    """Measure X-rays whose ratio is known.

    Args:
        rows: Each with a ratio.
        net: As in `measure_chest`.

    Raises:
        DataError: A picture or mask cannot be read.
    """
    found = []
    for start in range(0, len(rows), PART):
        part = rows[start : start + PART]
        pictures = [read_image(row.path) for row in part]
        for row, picture, chest in zip(part, pictures, measure_chest(pictures, net), strict=True):
            overlaps = {
                name: dice(
                    chest.sized(getattr(chest, name)),
                    read_mask(path, name, picture) / np.float32(255),
                )
                for name, path in row.masks.items()
            }
            found.append(
                Found(row.ctr or math.nan, chest.ctr or math.nan, chest.confident, overlaps)
            )
    return found


def errors_of(measured: Sequence[Found]) -> Errors:
    """Return how far measurements, at least one, are from what is known."""
    true, found, sure = (
        np.array([getattr(one, name) for one in measured]) for name in ("true", "ctr", "confident")
    )
    known = ~np.isnan(found)
    gap = (found - true)[known]
    return Errors(
        n=len(measured),
        measured=float(known.mean()),
        error=_mean(np.abs(gap)),
        bias=_mean(gap),
        correlation=float(np.corrcoef(true[known], found[known])[0, 1])
        if len(gap) > 1 and true[known].std() and found[known].std()
        else None,
        p95=float(np.quantile(np.abs(gap), 0.95)) if len(gap) else None,
        confident=float(sure.mean()),
        confident_error=_mean(np.abs(found - true)[sure]),
        **{
            name: _mean(np.array([one.overlaps[name] for one in measured if name in one.overlaps]))
            for name in MASKS
        },
    )


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


NAMES = {
    "n": "X-rays",
    "measured": "heart and lungs found",
    "error": "mean absolute error of CTR",
    "bias": "bias (measured less true)",
    "correlation": "correlation",
    "p95": "95th percentile of the error",
    "confident": "confident",
    "confident_error": "mean absolute error of these",
    "heart": "Dice of the heart",
    "lungs": "Dice of the lungs",
}
"""What a terminal calls the fields of `Errors`."""


def main() -> None:
    """Measure the CTR meter on X-rays whose ratio is known."""
    parser = argparse.ArgumentParser(prog="python -m xrj.measures.ctr", description=main.__doc__)
    parser.add_argument(
        "--csv",
        type=Path,
        required=True,
        help="columns image, ctr and optional heart, lungs; paths relative to the file",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        default=WEIGHTS,
        help="another net: RUN/export/best.safetensors of stage=segmenter",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rows = read_masks(options.csv, ("ctr",))
    errors = asdict(errors_of(measure_rows(rows, load_segmenter(options.weights))))
    if options.json:
        print(json.dumps(errors))
        return
    for key, name in NAMES.items():
        value = errors[key]
        shown = "-" if value is None else f"{value:,}" if key == "n" else f"{value:.4f}"
        print(f"{name:{max(map(len, NAMES.values()))}}  {shown:>7}")


if __name__ == "__main__":
    run_command(main)
