# SPDX-License-Identifier: BSD-3-Clause
"""One adapter for each library. Each is a module of this package with three functions:

``start(threads) -> dict``
    Once per process: sets the number of threads, returns versions.
``variants(case) -> list of str``
    Formulations worth trying; raises `NotSupported` if the library cannot do the case.
``prepare(case, variant, arrays, threads) -> callable``
    The callable takes nothing and returns y, or (y, dx, dkernel, dbias) for training (dbias None
    without bias), as numpy arrays. It starts from the caller's arrays and uses the cheapest
    conversions that the library has; a strided view of the result is allowed, and marked in the
    tables. Compiling, packing of weights and buffers that can be reused belong in `prepare`.

A module may have ``drop()``, called when a case is done.
"""

from typing import NamedTuple


class NotSupported(Exception):
    """The library, or its adapter, cannot do a case; the message is the reason."""


class Peer(NamedTuple):
    """Where and how a library is measured.

    Parameters
    ----------
    environment : str or None
        Virtual environment of `benchmarks.environments`; None is the one that runs the benchmarks.
    pinned : bool
        Restrict the process to as many CPUs as threads, for want of a setting of its own.
    in_scaling : bool
        Take part in the scaling series, which are many cases: the fastest peers only.
    """

    environment: str | None
    pinned: bool = False
    in_scaling: bool = False


DWCONV = "dwconv"

PEERS = {
    DWCONV: Peer(None, in_scaling=True),
    "torch": Peer("torch", in_scaling=True),
    "onnxruntime": Peer("torch", in_scaling=True),
    "openvino": Peer("openvino", in_scaling=True),
    "tensorflow": Peer("tensorflow"),
    "litert": Peer("tensorflow"),
    "jax": Peer("openvino", pinned=True),  # XLA sizes its thread pool by the affinity mask
    "scipy": Peer("torch"),
    "numba": Peer("torch"),
}
