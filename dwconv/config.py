# SPDX-License-Identifier: BSD-3-Clause
"""Global defaults, as in ``keras.config``: data format, float type and fuzz factor.

Nothing is read from files or environment variables: every process starts with
``channels_last``, ``float32`` and ``1e-7``.
"""

import math
from numbers import Real

_DATA_FORMATS = ("channels_last", "channels_first")
_FLOAT_TYPES = ("bfloat16", "float16", "float32", "float64")

_image_data_format = "channels_last"
_floatx = "float32"
_epsilon = 1e-7


def image_data_format() -> str:
    """Data format of layers that are created with ``data_format=None``.

    Returns
    -------
    str
        ``"channels_last"`` or ``"channels_first"``.
    """
    return _image_data_format


def set_image_data_format(data_format: str) -> None:
    """Set the data format of layers that are created with ``data_format=None``.

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}
        Any letter case.

    Raises
    ------
    ValueError
        For anything else.
    """
    global _image_data_format
    lowered = data_format.lower() if isinstance(data_format, str) else data_format
    if lowered not in _DATA_FORMATS:
        raise ValueError(
            f"The `data_format` argument must be one of {_DATA_FORMATS}. "
            f"Received: data_format={data_format!r}"
        )
    _image_data_format = lowered


def floatx() -> str:
    """Name of the default float type, of layers created with ``dtype=None`` for example.

    Returns
    -------
    str
        ``"bfloat16"``, ``"float16"``, ``"float32"`` or ``"float64"``.
    """
    return _floatx


def set_floatx(value: str) -> None:
    """Set the default float type.

    Parameters
    ----------
    value : {"bfloat16", "float16", "float32", "float64"}
        The 16-bit types can be stored in configurations, but nothing computes with them yet.

    Raises
    ------
    ValueError
        For anything else.
    """
    global _floatx
    if value not in _FLOAT_TYPES:
        raise ValueError(
            f"The `value` argument must be one of {_FLOAT_TYPES}. Received: value={value!r}"
        )
    _floatx = str(value)


def epsilon() -> float:
    """Fuzz factor that keeps divisions by a norm finite (used by the constraints).

    Returns
    -------
    float
    """
    return _epsilon


def set_epsilon(value: float) -> None:
    """Set the fuzz factor.

    Parameters
    ----------
    value : float
        Positive and finite.

    Raises
    ------
    TypeError
        If `value` is not a number.
    ValueError
        If `value` is not positive and finite.
    """
    global _epsilon
    if not isinstance(value, Real):
        raise TypeError(f"`value` must be a number. Received: value={value!r}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"`value` must be positive and finite. Received: value={value!r}")
    _epsilon = float(value)
