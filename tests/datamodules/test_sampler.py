import pytest

from xrj.datamodules.sampler import EpochBatchSampler


def indices(sampler):
    return [index for batch in sampler for _, index in batch]


def ranks(n, batch_size, world_size, **options):
    return [
        EpochBatchSampler(n, batch_size, seed=3, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]


def test_an_epoch_is_a_permutation_of_its_own_and_reproducible():
    sampler = EpochBatchSampler(50, 8, seed=3, shuffle=True)
    first, again = list(sampler), list(sampler)
    assert first == again
    assert sorted(indices(sampler)) == list(range(50))
    sampler.set_epoch(1)
    second = list(sampler)
    assert {epoch for batch in second for epoch, _ in batch} == {1}
    assert [i for b in second for _, i in b] != [i for b in first for _, i in b]
    assert list(EpochBatchSampler(50, 8, seed=4, shuffle=True)) != first


def test_without_shuffling_the_order_is_that_of_the_data():
    assert indices(EpochBatchSampler(10, 4, seed=0, shuffle=False)) == list(range(10))


@pytest.mark.parametrize("n", [1, 7, 8, 9, 31, 64])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_get_equal_batches_that_share_the_data(n, world_size, drop_last):
    samplers = ranks(n, 4, world_size, shuffle=True, drop_last=drop_last)
    batches = [list(sampler) for sampler in samplers]
    for sampler, own in zip(samplers, batches, strict=True):
        assert len(sampler) == len(own) > 0
    shapes = [[len(batch) for batch in own] for own in batches]
    assert all(shape == shapes[0] for shape in shapes)
    if drop_last and n >= 4 * world_size:
        assert set(shapes[0]) == {4}
    seen = [index for sampler in samplers for index in indices(sampler)]
    if not drop_last:
        assert set(seen) == set(range(n))
    # Items that stand twice are only those that make the ranks equal.
    assert len(seen) - len(set(seen)) < world_size


def test_ranks_are_disjoint_where_the_data_divides():
    seen = [set(indices(sampler)) for sampler in ranks(24, 4, 3, shuffle=True)]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 24
