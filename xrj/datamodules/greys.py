"""Grey values of any depth as 8 bits."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
UInt16 = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float64]
log = logging.getLogger(__name__)

TAIL = 0.02
"""Share of the pixels, at either end, that may be a marker's, a border's or broken ones."""
REACH = 0.25
"""How far beyond all others these may lie and still count, of the way from end to end."""


class Decoded(NamedTuple):
    """An X-ray as it was decoded.

    Attributes:
        grey: (H, W), 0 to 255.
        doubts: A sentence for each thing that a user should know of how it was read.
    """

    grey: UInt8
    doubts: tuple[str, ...] = ()

    def told(self, name: str, warn: Callable[[str], object] | None) -> UInt8:
        """Return the grey values after `warn` got the doubts; without it they are logged."""
        for doubt in self.doubts:
            if warn:
                warn(doubt)
            else:
                log.warning("%s: %s", name, doubt)
        return self.grey


class NeedsProcessError(Exception):
    """Only decoders are left that can crash; they get a process of their own."""


def histogram(codes: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.int64]:
    """Return how often each code occurs; (256,) for codes of 8 bits, (65536,) for 16."""
    size = 1 << (8 * codes.itemsize)
    parts = np.array_split(codes.ravel(), 1 + codes.size // 1_000_000)  # each is cast to 64 bits
    total: npt.NDArray[np.int64] = sum(
        (np.bincount(part, minlength=size) for part in parts), np.zeros(size, np.int64)
    )
    return total


def grey_range(values: Floats, counts: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return which values become black and white, so that the X-ray itself fills the range.

    Both ends of the values that occur, but for those far off nearly all the rest: a marker burned
    into the picture, its border, broken pixels.

    Args:
        values: Grey values, (N,), in any order.
        counts: Pixels that have them, (N,).

    Returns:
        Black, white; (0, 0) where no pixel counts.
    """
    used = np.flatnonzero(counts)
    used = used[np.argsort(values[used], kind="stable")]
    if not len(used):
        return 0.0, 0.0
    values, counts = values[used], counts[used]
    inner = np.where((values > values[0]) & (values < values[-1]), counts, 0).cumsum()
    if inner[-1]:
        ends = np.searchsorted(inner / inner[-1], [TAIL, 1 - TAIL])
        below, above = values[ends]
        if reach := REACH * (above - below):
            values = values[(values >= below - reach) & (values <= above + reach)]
    return float(values[0]), float(values[-1])


def between(values: Floats, black: float, white: float) -> Floats:
    """Return where values lie between black, 0, and white, 1; all at 0 where these are equal."""
    return (values - black) / ((white - black) or 1.0)


def as_bytes(shares: Floats) -> UInt8:
    """Return shares of white as 0 to 255."""
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def stretch(codes: UInt16) -> UInt8:
    """Return 16-bit grey values, of which nobody says how many bits they have, as 8 bits."""
    values = np.arange(1 << 16, dtype=np.float64)
    table = as_bytes(between(values, *grey_range(values, histogram(codes))))
    return table[codes]
