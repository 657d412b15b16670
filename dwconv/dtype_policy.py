# SPDX-License-Identifier: BSD-3-Clause
"""Data type policies: in which type a layer computes and in which it keeps its weights."""

from collections.abc import Mapping

import numpy as np

from dwconv import config
from dwconv._checks import describe

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
# Class names under which Keras 3, early Keras 3 and Keras 2 store a policy.
_CLASS_NAMES = ("DTypePolicy", "FloatDTypePolicy", "Policy")


class DTypePolicy:
    """Pair of the type of the arithmetic and the type of the weights.

    Parameters
    ----------
    name : str, optional
        ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``: both types; or
        ``"mixed_float16"``, ``"mixed_bfloat16"``: arithmetic in 16 bits, weights in float32.
        Default ``dwconv.config.floatx()``. The 16-bit types can be configured, but nothing
        computes in them yet.

    Raises
    ------
    ValueError
        For any other name.
    """

    def __init__(self, name: str | None = None):
        name = config.floatx() if name is None else name
        if not isinstance(name, str) or not (name in _FLOATS or name in _MIXED):
            raise ValueError(
                f"The `dtype` argument must be one of {(*_FLOATS, *_MIXED)}. "
                f"Received: dtype={describe(name)}"
            )
        self._name = str(name)

    @property
    def name(self) -> str:
        """The name given to the constructor."""
        return self._name

    @property
    def compute_dtype(self) -> str:
        """Type of inputs, arithmetic and outputs."""
        return _MIXED.get(self._name, self._name)

    @property
    def variable_dtype(self) -> str:
        """Type of the weights."""
        return "float32" if self._name in _MIXED else self._name

    def get_config(self) -> dict[str, str]:
        """Constructor arguments."""
        return {"name": self._name}

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "DTypePolicy":
        """Policy with the name in `config`; other keys (Keras 2 had some) are ignored."""
        return cls(config.get("name"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DTypePolicy):
            return NotImplemented
        return self._name == other._name

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self._name}">'


def get(identifier: object) -> DTypePolicy:
    """The policy meant by the `dtype` argument of a layer.

    Parameters
    ----------
    identifier : None, str, type, numpy.dtype, DTypePolicy, dict or a policy object of Keras
        ``None`` means ``dwconv.config.floatx()``; a dictionary is a configuration written by
        `serialize` or by Keras 2 or 3; Python's ``float`` means float32, as in Keras.

    Returns
    -------
    DTypePolicy

    Raises
    ------
    ValueError
        If it means no floating type of 16, 32 or 64 bits.
    """
    if isinstance(identifier, DTypePolicy):
        return identifier
    if identifier is None or isinstance(identifier, str):
        return DTypePolicy(identifier)
    if isinstance(identifier, Mapping):
        return _from_stored(identifier)
    if identifier is float:
        return DTypePolicy("float32")
    if hasattr(identifier, "compute_dtype") and hasattr(identifier, "name"):
        return DTypePolicy(identifier.name)
    try:
        return DTypePolicy(np.dtype(identifier).name)
    except TypeError:
        raise ValueError(
            f"The `dtype` argument must be a name, a data type or a policy. "
            f"Received: dtype={describe(identifier)}"
        ) from None


def serialize(policy: DTypePolicy) -> dict[str, object]:
    """Configuration of `policy` in the form of Keras 3."""
    return {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": policy.get_config(),
        "registered_name": None,
    }


def _from_stored(configuration: Mapping[str, object]) -> DTypePolicy:
    content = configuration.get("config")
    known = configuration.get("class_name") in _CLASS_NAMES
    if not known or not isinstance(content, Mapping) or "name" not in content:
        raise ValueError(
            f"A stored `dtype` must be a {' or '.join(_CLASS_NAMES)} with a name. "
            f"Received: dtype={describe(configuration)}"
        )
    return DTypePolicy(content["name"])
