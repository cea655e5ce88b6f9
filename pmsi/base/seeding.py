"""Seeds derived from names, the only source of randomness in the package.

A draw depends on its name (seed, epoch, image, …) and on nothing else. The same seed therefore gives the same result
for any batch size, order, number of workers and point at which a run was resumed.
"""

import hashlib

import numpy as np

SEED_BITS = 63
"""Seeds are non-negative and fit a signed 64-bit integer, the narrowest of torch's and numpy's seed types."""


def derive(*parts: object) -> int:
    """Return a seed in [0, 2^63) that depends on ``parts`` alone: ``derive(seed, "mosaic", epoch, step)``.

    Parts are hashed by their ``repr``, so ``1`` and ``"1"`` give different seeds. Unlike ``hash``, the result is the
    same on every machine and in every process.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - SEED_BITS)


def numpy_generator(*parts: object) -> np.random.Generator:
    """Return a numpy generator seeded by `derive`."""
    return np.random.default_rng(derive(*parts))
