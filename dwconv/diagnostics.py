# SPDX-License-Identifier: BSD-3-Clause
"""What this installation is and what it will use."""

from __future__ import annotations

import numpy as np

from dwconv import _core
from dwconv._version import __version__
from dwconv.threads import get_num_threads, usable_cpus


def show_config(mode: str = "print") -> dict | None:
    """Version, compiler, instruction sets, threads and NumPy of this installation.

    Parameters
    ----------
    mode : {"print", "dict"}
        Print the facts, or return them.

    Returns
    -------
    dict or None
        Keys ``version``, ``compiler``, ``isa`` (in use; None if ``DWCONV_ISA`` names one this machine lacks),
        ``isa_available`` (best first), ``threads``, ``cpus``, ``openmp``, ``numpy``.

    Raises
    ------
    ValueError
        For another `mode`.
    """
    facts = {
        "version": __version__,
        "compiler": _core.compiler(),
        "isa": _core.default_isa(),
        "isa_available": _core.isa_names(),
        "threads": get_num_threads(),
        "cpus": usable_cpus(),
        "openmp": _core.has_openmp(),
        "numpy": np.__version__,
    }
    if mode == "dict":
        return facts
    if mode != "print":
        raise ValueError(f"`mode` must be 'print' or 'dict', received mode={mode!r}")
    for name, value in facts.items():
        print(f"{name:14} {', '.join(value) if isinstance(value, list) else value}")
    return None
