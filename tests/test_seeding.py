import subprocess
import sys

import torch

from xrj.seeding import derive, numpy_rng, torch_generator


def test_a_seed_depends_on_every_key_and_on_their_order():
    keys = [
        (0,),
        (1,),
        (0, "batch", 1, 2),
        (0, "batch", 2, 1),
        (0, "batch", 12),
        (0, "order", 1, 2),
    ]
    seeds = [derive(*key) for key in keys]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_is_the_same_in_every_process():
    code = "from xrj.seeding import derive; print(derive(7, 'gan1', 3))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) == derive(7, "gan1", 3)


def test_generators_repeat():
    assert numpy_rng(1, "a").random(3).tolist() == numpy_rng(1, "a").random(3).tolist()
    assert numpy_rng(1, "a").random() != numpy_rng(1, "b").random()
    first, second = (torch.rand(3, generator=torch_generator(1, "a")) for _ in range(2))
    assert torch.equal(first, second)


def test_generators_leave_the_global_ones_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    torch.rand(9, generator=torch_generator(1))
    assert torch.equal(torch.rand(2), expected)
