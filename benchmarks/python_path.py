# SPDX-License-Identifier: BSD-3-Clause
"""Which dwconv is measured."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def prefer_installed(folder: str | None) -> None:
    """Makes ``import dwconv`` find the one in `folder`, or else the installed one.

    ``python -m`` puts the current folder first, where a checkout has its sources without a compiled
    core; it goes to the end, to be taken only if nothing is installed.
    """
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _ROOT]
    sys.path.append(str(_ROOT))
    if folder:
        sys.path.insert(0, str(Path(folder).resolve()))
