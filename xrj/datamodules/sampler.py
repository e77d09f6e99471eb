"""The order of a training epoch, as a function of the seed and the epoch alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from xrj.seeding import numpy_rng

Item = tuple[int, int]


class EpochBatchSampler(Sampler[list[Item]]):
    """Yields batches of (epoch, index).

    An item that is made from (seed, epoch, index) only is the same in any worker, on any rank
    and after a resume. Pass it as `sampler` with `batch_size=None`: Lightning calls `set_epoch`
    on a loader's `sampler`, but not on its `batch_sampler`.

    All ranks get the same number of equal batches: items are repeated from the start of the
    epoch's order, fewer than `world_size` of them, until every rank has as many.

    Args:
        n: Items in the data set.
        batch_size: Items a batch and rank.
        seed: Seed of the order.
        shuffle: Draw a new order each epoch.
        rank: This process, 0 to world_size - 1.
        world_size: Processes that share the epoch.
        drop_last: Leave out a last short batch, unless it is the only one.
        held: Yield the first epoch again and again.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        held: bool = False,
    ) -> None:
        self.n = n
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.drop_last = drop_last
        self.held = held
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        self.epoch = 0 if self.held else epoch

    def __len__(self) -> int:
        share = -(-self.n // self.world_size)
        whole = share // self.batch_size
        return whole if self.drop_last and whole else -(-share // self.batch_size)

    def __iter__(self) -> Iterator[list[Item]]:
        order = np.arange(self.n)
        if self.shuffle:
            order = numpy_rng(self.seed, "order", self.epoch).permutation(self.n)
        share = -(-self.n // self.world_size)
        mine = np.resize(order, share * self.world_size)[self.rank :: self.world_size].tolist()
        epoch = self.epoch
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield [(epoch, index) for index in mine[start : start + self.batch_size]]


class EpochLoader(DataLoader[Any]):
    """A loader that starts at its first batch, not at `iter()`.

    Lightning calls `iter()` before `set_epoch` when it resumes, and worker processes fetch ahead
    from then on: with a plain loader they would repeat the batches of epoch 0.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        yield from super().__iter__()
