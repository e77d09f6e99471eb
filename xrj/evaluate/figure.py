"""A measured number with its n and its interval."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW


@dataclass(frozen=True)
class Figure:
    """A number, of how many it was taken, and its 95 % interval where it has one."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None

    @classmethod
    def share(cls, part: int, whole: int) -> "Figure":
        """Return part / whole with its Wilson interval; NaN of 0."""
        if not whole:
            return cls(math.nan, 0)
        low, high = proportion_confint(part, whole, alpha=0.05, method="wilson")
        return cls(part / whole, whole, float(low), float(high))

    @classmethod
    def share_of(cls, values: Sequence[bool]) -> "Figure":
        """Return the share that is true; see `share`."""
        return cls.share(sum(values), len(values))

    @classmethod
    def mean(cls, values: Sequence[float]) -> "Figure":
        """Return the mean with Student's interval, where there are two values; NaN of none."""
        if len(values) < 2:
            return cls(float(values[0]) if len(values) else math.nan, len(values))
        low, high = DescrStatsW(np.asarray(values, np.float64)).tconfint_mean(alpha=0.05)
        return cls(float(np.mean(values)), len(values), float(low), float(high))

    def within(self, least: float, most: float) -> "Figure":
        """Return it with its interval cut to the values that are possible."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=max(self.low, least), high=min(self.high, most))

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the JSON form; null for what is undefined."""
        entries = {key: value for key, value in asdict(self).items() if value is not None}
        return {**entries, "value": self.value if math.isfinite(self.value) else None}
