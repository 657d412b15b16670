# SPDX-License-Identifier: BSD-3-Clause
"""The initializers that draw random numbers."""

import math
from collections.abc import Sequence

import numpy as np

from dwconv._checks import describe, finite_number, float_dtype
from dwconv.constant_initializers import Initializer
from dwconv.random import draw_seed, make_generator

# Standard deviation of a unit normal distribution cut off at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978


class _Random(Initializer):
    """Common to the random initializers: the seed."""

    def __init__(self, seed: int | None = None):
        if seed is not None and not isinstance(seed, (int, np.integer)):
            raise ValueError(f"`seed` must be an integer or None. Received: seed={describe(seed)}")
        self.seed = None if seed is None else int(seed)
        self._seed = draw_seed() if seed is None else self.seed

    def get_config(self) -> dict[str, object]:
        return {"seed": self.seed}

    def _uniform(
        self, shape: Sequence[int], low: float, high: float, dtype: np.dtype
    ) -> np.ndarray:
        """Uniformly distributed in ``[low, high)``."""
        values = low + (high - low) * make_generator(self._seed).random(tuple(shape))
        values = np.asarray(values, dtype)
        if low < high:
            # Rounding must not reach the open end of the interval.
            np.minimum(values, np.nextafter(dtype.type(high), dtype.type(low)), out=values)
        return values

    def _normal(self, shape: Sequence[int], mean: float, stddev: float) -> np.ndarray:
        return mean + stddev * make_generator(self._seed).standard_normal(tuple(shape))

    def _truncated_normal(self, shape: Sequence[int], mean: float, stddev: float) -> np.ndarray:
        """Normal, redrawn wherever it is more than two standard deviations from the mean."""
        generator = make_generator(self._seed)
        values = np.asarray(generator.standard_normal(tuple(shape)))
        outside = np.abs(values) > 2
        while outside.any():
            values[outside] = generator.standard_normal(np.count_nonzero(outside))
            outside = np.abs(values) > 2
        return mean + stddev * values


class RandomNormal(_Random):
    """Normal distribution.

    Parameters
    ----------
    mean : float, default 0.0
    stddev : float, default 0.05
        Not negative.
    seed : int, optional
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.mean = finite_number(mean, "mean")
        self.stddev = finite_number(stddev, "stddev")
        if self.stddev < 0:
            raise ValueError(f"`stddev` must not be negative. Received: stddev={stddev}")

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        return np.asarray(self._normal(shape, self.mean, self.stddev), float_dtype(dtype))

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(RandomNormal):
    """Normal distribution, redrawn beyond two standard deviations from the mean.

    Parameters
    ----------
    mean : float, default 0.0
    stddev : float, default 0.05
        Before the cut; the values have 0.8796 times that.
    seed : int, optional
    """

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        values = self._truncated_normal(shape, self.mean, self.stddev)
        return np.asarray(values, float_dtype(dtype))


class RandomUniform(_Random):
    """Uniform distribution in ``[minval, maxval)``.

    Parameters
    ----------
    minval : float, default -0.05
    maxval : float, default 0.05
    seed : int, optional
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.minval = finite_number(minval, "minval")
        self.maxval = finite_number(maxval, "maxval")
        if self.minval > self.maxval:
            raise ValueError(
                "`minval` must not be greater than `maxval`. "
                f"Received: minval={minval}, maxval={maxval}"
            )

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        return self._uniform(shape, self.minval, self.maxval, float_dtype(dtype))

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


class VarianceScaling(_Random):
    """Distribution whose variance is ``scale / n``, n being a number of units of the weight.

    Parameters
    ----------
    scale : float, default 1.0
        Positive.
    mode : {"fan_in", "fan_out", "fan_avg"}, default "fan_in"
        What n is (at least 1): the input units, the output units or their mean.
    distribution : str, default "truncated_normal"
        ``"truncated_normal"`` (also called ``"normal"``; its standard deviation is that after the
        cut), ``"untruncated_normal"`` or ``"uniform"``, in any letter case.
    seed : int, optional
    input_axes, output_axes : sequence of int, optional
        Axes whose product is the number of input and output units. Both or none; by default the
        convolution rule of the module `dwconv.initializers`.

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010. He et al., "Delving deep into rectifiers", 2015.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(seed)
        self.scale = finite_number(scale, "scale")
        if self.scale <= 0:
            raise ValueError(f"Argument `scale` must be positive float. Received: scale={scale}")
        self.mode = _one_of(mode, "mode", ("fan_in", "fan_out", "fan_avg"))
        lowered = distribution.lower() if isinstance(distribution, str) else distribution
        self.distribution = _one_of(
            "truncated_normal" if lowered == "normal" else lowered,
            "distribution",
            ("truncated_normal", "untruncated_normal", "uniform"),
        )
        self.input_axes = _checked_axes(input_axes, "input_axes")
        self.output_axes = _checked_axes(output_axes, "output_axes")

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        dtype = float_dtype(dtype)
        fan_in, fan_out = _fans(tuple(shape), self.input_axes, self.output_axes)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return self._uniform(shape, -limit, limit, dtype)
        if self.distribution == "untruncated_normal":
            return np.asarray(self._normal(shape, 0.0, math.sqrt(variance)), dtype)
        stddev = math.sqrt(variance) / _TRUNCATED_STDDEV
        return np.asarray(self._truncated_normal(shape, 0.0, stddev), dtype)

    def get_config(self) -> dict[str, object]:
        return {
            **super().get_config(),
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class _FixedScaling(VarianceScaling):
    """Common to the named cases of `VarianceScaling`, which take a seed and the axes only."""

    _scale, _mode, _distribution = 1.0, "fan_avg", "uniform"

    def __init__(
        self,
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(self._scale, self._mode, self._distribution, seed, input_axes, output_axes)

    def get_config(self) -> dict[str, object]:
        config = super().get_config()
        return {key: config[key] for key in ("seed", "input_axes", "output_axes")}


class GlorotUniform(_FixedScaling):
    """`VarianceScaling` with scale 1 and fan_avg: uniform up to sqrt(6 / (fan_in + fan_out))."""


class GlorotNormal(_FixedScaling):
    """`VarianceScaling` with scale 1, fan_avg and the truncated normal distribution."""

    _distribution = "truncated_normal"


class HeUniform(_FixedScaling):
    """`VarianceScaling` with scale 2 and fan_in: uniform up to sqrt(6 / fan_in)."""

    _scale, _mode = 2.0, "fan_in"


class HeNormal(_FixedScaling):
    """`VarianceScaling` with scale 2, fan_in and the truncated normal distribution."""

    _scale, _mode, _distribution = 2.0, "fan_in", "truncated_normal"


class LecunUniform(_FixedScaling):
    """`VarianceScaling` with scale 1 and fan_in: uniform up to sqrt(3 / fan_in)."""

    _mode = "fan_in"


class LecunNormal(_FixedScaling):
    """`VarianceScaling` with scale 1, fan_in and the truncated normal distribution."""

    _mode, _distribution = "fan_in", "truncated_normal"


class Orthogonal(_Random):
    """Random matrix with orthonormal rows or columns, whichever are fewer, times `gain`.

    A weight of more than two dimensions is seen as the matrix of its last axis against all others.

    Parameters
    ----------
    gain : float, default 1.0
    seed : int, optional

    References
    ----------
    Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", 2014.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        super().__init__(seed)
        self.gain = finite_number(gain, "gain")

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        dtype = float_dtype(dtype)
        shape = tuple(shape)
        if len(shape) < 2:
            raise ValueError(
                "The tensor to initialize must be at least two-dimensional. "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = (max(rows, columns), min(rows, columns))
        q, r = np.linalg.qr(self._normal(tall, 0.0, 1.0))
        # The signs make the distribution uniform over all orthogonal matrices.
        q *= np.sign(np.diag(r))
        if rows < columns:
            q = q.T
        return (self.gain * q).reshape(shape).astype(dtype)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "gain": self.gain}


def _one_of(value: object, name: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(
            f"Invalid `{name}` argument: {describe(value)}. Please use one of {allowed}. "
            f"Received: {name}={describe(value)}"
        )
    return value


def _checked_axes(axes: object, name: str) -> Sequence[int] | None:
    if axes is not None and not (
        isinstance(axes, (list, tuple)) and all(isinstance(axis, int) for axis in axes)
    ):
        raise TypeError(f"`{name}` must be a list of integers. Received: {name}={describe(axes)}")
    return axes


def _fans(
    shape: tuple[int, ...],
    input_axes: Sequence[int] | None,
    output_axes: Sequence[int] | None,
) -> tuple[int, int]:
    """Input and output units of a weight of this shape, by Keras's rule."""
    if input_axes is not None and output_axes is not None:
        for axis in (*input_axes, *output_axes):
            if not -len(shape) <= axis < len(shape):
                raise ValueError(
                    f"`input_axes` and `output_axes` must be axes of the weight. Received: "
                    f"input_axes={input_axes}, output_axes={output_axes}, shape={shape}"
                )
        return _units(shape, input_axes), _units(shape, output_axes)
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    taps = math.prod(shape[:-2])
    return taps * shape[-2], taps * shape[-1]


def _units(shape: tuple[int, ...], axes: Sequence[int]) -> int:
    return math.prod(shape[axis] for axis in axes)
