# SPDX-License-Identifier: BSD-3-Clause
"""Checks of constructor arguments and shapes, with Keras's wording where it has one."""

import operator
from collections.abc import Callable, Mapping
from itertools import islice

import numpy as np

from dwconv._checks import describe
from dwconv.padding import effective_kernel_size

# The C core counts in signed 64-bit integers.
LARGEST_SIZE = 2**63 - 1


def single_integer(value: object, name: str) -> tuple[int]:
    """The 1-tuple that `kernel_size`, `strides` and `dilation_rate` are stored as.

    Parameters
    ----------
    value : int or iterable of exactly one integer
        As in Keras, a NumPy integer is accepted inside an iterable only.
    name : str
        Of the argument.

    Raises
    ------
    TypeError
        For booleans and text.
    ValueError
        For everything else that is not one integer from 1 to 2**63 - 1.
    """
    element = value
    if not isinstance(value, (int, str, bytes, np.generic)):
        try:
            elements = tuple(islice(value, 2))
        except TypeError:  # not iterable
            elements = ()
        if len(elements) != 1:
            raise ValueError(_integer_message(value, name))
        element = elements[0]
        if isinstance(element, np.integer):
            element = int(element)
    if isinstance(element, (bool, np.bool_, str, bytes)):
        raise TypeError(_integer_message(value, name))
    if not isinstance(element, int):
        raise ValueError(_integer_message(value, name))
    if element <= 0:
        raise ValueError(
            f"{_integer_message(value, name)}, including values {{{element}}} that do not satisfy "
            "`value > 0`"
        )
    return (_in_range(int(element), name),)


def positive_integer(value: object, name: str) -> int:
    """`value`, which must be a Python or NumPy integer from 1 to 2**63 - 1.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is out of range.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"The `{name}` argument must be a positive integer. "
            f"Received: {name}={describe(value)} (of type {type(value).__name__})"
        )
    if value <= 0:
        raise ValueError(
            f"Invalid value for argument `{name}`. Expected a strictly positive value "
            f"(a positive integer). Received {name}={value}."
        )
    return _in_range(int(value), name)


def check_effective_kernel_size(kernel_size: int, dilation_rate: int) -> None:
    """Raise `ValueError` if the taps span more steps than 64-bit integers can count."""
    if effective_kernel_size(kernel_size, dilation_rate) > LARGEST_SIZE:
        raise ValueError(
            "The effective kernel size (kernel_size - 1) * dilation_rate + 1 is too large: it must "
            f"be less than 2**63. Received: kernel_size={kernel_size}, "
            f"dilation_rate={dilation_rate}"
        )


def option(value: object, name: str, allowed: tuple[str, ...], hint: str = "") -> str:
    """`value` in lower case, which must be one of the strings `allowed`.

    Raises
    ------
    ValueError
        Otherwise; the message ends with `hint`.
    """
    lowered = value.lower() if isinstance(value, str) else None
    if lowered not in allowed:
        raise ValueError(
            f"The `{name}` argument must be one of {allowed}. Received: {name}={describe(value)}"
            + hint
        )
    return lowered


def configured_object(
    get: Callable,
    identifier: object,
    name: str,
    custom_objects: Mapping[str, object] | None = None,
) -> Callable | None:
    """``get(identifier, custom_objects)``; a `ValueError` of it names the argument `name`."""
    try:
        return get(identifier, custom_objects)
    except ValueError as error:
        raise ValueError(f"Argument `{name}`: {error}") from error


def layer_name(value: object) -> str:
    """`value`, which must be a string without ``/`` (it separates the parts of a path).

    Raises
    ------
    ValueError
        Otherwise.
    """
    if not isinstance(value, str) or "/" in value:
        raise ValueError(
            "Argument `name` must be a string and cannot contain character `/`. "
            f"Received: name={describe(value)} (of type {type(value)})"
        )
    return value


def input_shape_tuple(value: object, channel_axis: int) -> tuple[int | None, ...]:
    """`value` as the shape of an input: three sizes, the number of channels known and positive.

    Parameters
    ----------
    value : sequence of int or None
        ``None`` for an unknown batch size or number of steps.
    channel_axis : int

    Raises
    ------
    ValueError
        Otherwise.
    """
    try:
        shape = tuple(size if size is None else operator.index(size) for size in value)
    except TypeError:
        raise ValueError(
            f"The input shape must be 3 integers or None. Received: input_shape={describe(value)}"
        ) from None
    if len(shape) != 3:
        raise ValueError(
            f"The input shape must have 3 dimensions, (batch, steps, channels) in the order of "
            f"`data_format`. Received: input_shape={shape}"
        )
    if shape[channel_axis] is None or shape[channel_axis] <= 0:
        raise ValueError(
            "The channel dimension of the input must be known and positive. "
            f"Received: input_shape={shape}, with {shape[channel_axis]} channels"
        )
    if any(size is not None and not 0 <= size <= LARGEST_SIZE for size in shape):
        raise ValueError(
            "The sizes of the input shape must not be negative or too large (2**63 or more). "
            f"Received: input_shape={shape}"
        )
    return shape


def _in_range(value: int, name: str) -> int:
    if value > LARGEST_SIZE:
        shown = str(value) if value.bit_length() < 1000 else f"2**{value.bit_length() - 1} or more"
        raise ValueError(
            f"The `{name}` argument is too large: it must be less than 2**63. "
            f"Received: {name}={shown}"
        )
    return value


def _integer_message(value: object, name: str) -> str:
    return (
        f"The `{name}` argument must be a positive integer or a tuple of 1 integers. "
        f"Received {name}={describe(value)} (of type {type(value).__name__})"
    )
