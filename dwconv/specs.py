# SPDX-License-Identifier: BSD-3-Clause
"""Descriptions of arrays that need not exist: what a layer takes and what it returns."""

from collections.abc import Mapping


class TensorSpec:
    """Shape and dtype of an array, returned by ``layer.compute_output_spec``.

    Parameters
    ----------
    shape : tuple of int or None
        ``None`` for a size that is not known.
    dtype : str
    name : str, optional
    """

    __slots__ = ("shape", "dtype", "name")

    def __init__(self, shape: tuple[int | None, ...], dtype: str, name: str | None = None):
        self.shape = tuple(shape)
        self.dtype = dtype
        self.name = name

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorSpec):
            return NotImplemented
        return (self.shape, self.dtype, self.name) == (other.shape, other.dtype, other.name)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype, self.name))

    def __repr__(self) -> str:
        return f"<TensorSpec shape={self.shape}, dtype={self.dtype}, name={self.name}>"


class InputSpec:
    """What a layer demands of its input, in ``layer.input_spec``.

    Parameters
    ----------
    min_ndim : int
        Least number of dimensions.
    axes : mapping of int to int, optional
        Required sizes by axis.
    """

    __slots__ = ("min_ndim", "axes")

    def __init__(self, min_ndim: int, axes: Mapping[int, int] | None = None):
        self.min_ndim = min_ndim
        self.axes = dict(axes or {})

    def __repr__(self) -> str:
        return f"<InputSpec min_ndim={self.min_ndim}, axes={self.axes}>"
