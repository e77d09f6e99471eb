"""Randomness as a function of where it is used, never of hidden state.

Every random draw is seeded from (seed, keys), where the keys say what it is for: an epoch, a batch,
a rank, an index. So a killed run continues with the numbers that it would have drawn.
"""

import hashlib

import numpy as np
import torch


def derive(seed: int, *keys: int | str) -> int:
    """Return a 63-bit seed that depends on `seed` and all `keys` (BLAKE2b of their text)."""
    text = "/".join(str(part) for part in (seed, *keys))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def numpy_rng(seed: int, *keys: int | str) -> np.random.Generator:
    """Return a NumPy generator for this place."""
    return np.random.default_rng(derive(seed, *keys))


def torch_generator(seed: int, *keys: int | str) -> torch.Generator:
    """Return a torch CPU generator for this place."""
    return torch.Generator().manual_seed(derive(seed, *keys))
