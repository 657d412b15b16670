# SPDX-License-Identifier: BSD-3-Clause
"""Automatic layer names, as in Keras: ``depthwise_conv1d``, ``depthwise_conv1d_1``, ..."""

import itertools
import re

# One counter per name, for the whole process. `next` and `setdefault` are atomic.
_counters: dict[str, itertools.count] = {}


def to_snake_case(class_name: str) -> str:
    """``class_name`` in lower case, words joined by underscores.

    Examples
    --------
    >>> to_snake_case("DepthwiseConv1D")
    'depthwise_conv1d'
    """
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def unique_name(class_name: str) -> str:
    """A name that no other layer of this process got automatically.

    Parameters
    ----------
    class_name : str

    Returns
    -------
    str
        The snake case name; from the second call on with ``_1``, ``_2``, ... appended.
    """
    name = to_snake_case(class_name)
    number = next(_counters.setdefault(name, itertools.count()))
    return f"{name}_{number}" if number else name
