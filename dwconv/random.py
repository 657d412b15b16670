# SPDX-License-Identifier: BSD-3-Clause
"""Random numbers of the initializers.

Every initializer owns an integer seed. The ones created without a seed draw it here, from one
process-wide generator, so that `set_random_seed` makes a whole program repeatable. NumPy's
global random state is neither read nor changed.
"""

import numpy as np

# Created on first use: importing numpy.random takes longer than importing this package.
_seed_source = None


def set_random_seed(seed: int) -> None:
    """Make the random weights of every layer built from now on repeatable.

    Parameters
    ----------
    seed : int
        In ``[0, 2**32)``.

    Raises
    ------
    ValueError
        If `seed` is not such an integer.
    """
    global _seed_source
    if not isinstance(seed, (int, np.integer)):
        raise ValueError(
            "Expected `seed` argument to be an integer. "
            f"Received: seed={seed!r} (of type {type(seed)})"
        )
    if not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must be between 0 and 2**32 - 1. Received: seed={seed}")
    _seed_source = np.random.default_rng(int(seed))


def draw_seed() -> int:
    """A fresh seed for an object created without one.

    Returns
    -------
    int
        In ``[0, 2**63)``.
    """
    global _seed_source
    if _seed_source is None:
        _seed_source = np.random.default_rng()
    return int(_seed_source.integers(2**63))


def make_generator(seed: int) -> "np.random.Generator":
    """A generator that always produces the same numbers for the same `seed`.

    Parameters
    ----------
    seed : int
        Any integer, also a negative one.

    Returns
    -------
    numpy.random.Generator
    """
    # NumPy's seeds are non-negative; the modulus keeps negative ones distinct.
    return np.random.default_rng(seed % 2**128)
