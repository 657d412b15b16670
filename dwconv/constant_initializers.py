# SPDX-License-Identifier: BSD-3-Clause
"""The base class of initializers and the ones that draw no random numbers."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dwconv._checks import describe, float_array, float_dtype, real_number
from dwconv.serialization import deserialize_value, serialize_value
from dwconv.windows import get_window


class Initializer:
    """Base class: subclasses define ``__call__(shape, dtype=None)`` and ``get_config()``."""

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        """New array of the given shape.

        Parameters
        ----------
        shape : sequence of int
        dtype : {"float32", "float64"} or numpy dtype, optional
            Default ``dwconv.config.floatx()``.

        Returns
        -------
        numpy.ndarray

        Raises
        ------
        TypeError
            For any other dtype.
        ValueError
            If the initializer cannot make an array of this shape.
        """
        raise NotImplementedError("Initializer subclasses must implement the `__call__()` method.")

    def get_config(self) -> dict[str, object]:
        """Constructor arguments, as JSON-compatible values."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "Initializer":
        """Initializer with the arguments that `get_config` returned (here or in Keras)."""
        arguments = {key: deserialize_value(value) for key, value in config.items()}
        arguments.pop("dtype", None)  # written by early TensorFlow versions, without effect
        return cls(**arguments)

    def clone(self) -> "Initializer":
        """New initializer with the same configuration (and a new seed, if it has none there)."""
        return type(self).from_config(self.get_config())


class Constant(Initializer):
    """The same value everywhere.

    Parameters
    ----------
    value : float or array_like, default 0.0
        An array is broadcast to the shape asked for.
    """

    def __init__(self, value: object = 0.0):
        if isinstance(value, (np.ndarray, list, tuple)):
            self.value = float_array(value, "value").copy()
        else:
            self.value = real_number(value, "value")

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        shape = tuple(shape)
        try:
            value = np.broadcast_to(self.value, shape)
        except ValueError:
            raise ValueError(
                f"`value` cannot be broadcast to the shape of the weight. Received: "
                f"value={describe(self.value)}, shape={shape}"
            ) from None
        return value.astype(float_dtype(dtype), order="C")

    def get_config(self) -> dict[str, object]:
        return {"value": serialize_value(self.value)}


class ExactArray(Constant):
    """An array given as initializer: the values of a weight of exactly its shape.

    Parameters
    ----------
    value : numpy.ndarray
    """

    def __init__(self, value: np.ndarray):
        self.value = float_array(value, "initializer").copy()

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        if self.value.shape != tuple(shape):
            raise ValueError(
                f"Expected `shape` to be {self.value.shape} for an array as initializer. "
                f"Received: shape={tuple(shape)}"
            )
        return super().__call__(shape, dtype)


class Zeros(Initializer):
    """All zeros."""

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        return np.zeros(tuple(shape), float_dtype(dtype))


class Ones(Initializer):
    """All ones."""

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        return np.ones(tuple(shape), float_dtype(dtype))


class Identity(Initializer):
    """Identity matrix times `gain`; for two-dimensional weights only.

    Parameters
    ----------
    gain : float, default 1.0
    """

    def __init__(self, gain: float = 1.0):
        self.gain = real_number(gain, "gain")

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        shape = tuple(shape)
        if len(shape) != 2:
            raise ValueError(
                "Identity matrix initializer can only be used for 2D matrices. "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        return self.gain * np.eye(*shape, dtype=float_dtype(dtype))

    def get_config(self) -> dict[str, object]:
        return {"gain": self.gain}


class STFT(Initializer):
    """Analysis filters of a short-time Fourier transform.

    Tap t and multiplier index f hold ``window[t] * cos(-2 pi t f / F)`` (or the sine) with
    ``F = 2 * (depth_multiplier - 1)``, divided by the scale of the window; the same for every
    channel.

    Parameters
    ----------
    side : {"real", "imag"}, default "real"
        Cosine or sine part.
    window : str, array_like or None, default "hann"
        Name (see `dwconv.windows.get_window`), the values themselves, or no window.
    scaling : {"density", "spectrum", None}, default "density"
        Divide by ``sqrt(sum(window**2))``, by ``sum(abs(window))``, or by nothing.
    periodic : bool, default False
        Make a named window periodic (for spectral analysis) instead of symmetric.
    """

    def __init__(
        self,
        side: str = "real",
        window: object = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ):
        if side not in ("real", "imag"):
            raise ValueError(f"`side` must be 'real' or 'imag'. Received: side={describe(side)}")
        if scaling not in ("density", "spectrum", None):
            raise ValueError(
                "`scaling` must be None, 'density' or 'spectrum'. "
                f"Received: scaling={describe(scaling)}"
            )
        if isinstance(window, str):
            get_window(window, 1)  # refuses unknown names now instead of at build
        elif window is not None:
            window = float_array(window, "window").copy()
        self.side = side
        self.window = window
        self.scaling = scaling
        self.periodic = bool(periodic)

    def __call__(self, shape: Sequence[int], dtype: object = None) -> np.ndarray:
        shape = tuple(shape)
        if len(shape) != 3 or shape[2] < 2:
            raise ValueError(
                "STFT needs a shape (frame_length, channels, fft_length // 2 + 1) with at least "
                f"2 frequencies. Received: shape={shape}"
            )
        taps, _, frequencies = shape
        period = 2 * (frequencies - 1)
        # The product is reduced exactly, as an integer, before it becomes an angle.
        turns = np.outer(np.arange(taps), np.arange(frequencies)) % period / period
        wave = np.cos(2 * np.pi * turns) if self.side == "real" else -np.sin(2 * np.pi * turns)
        filters = wave * self._scaled_window(taps)[:, np.newaxis]
        return np.broadcast_to(filters[:, np.newaxis], shape).astype(float_dtype(dtype), order="C")

    def _scaled_window(self, taps: int) -> np.ndarray:
        if self.window is None:
            return np.ones(taps)
        window = self.window
        if isinstance(window, str):
            window = get_window(window, taps, self.periodic)
        if window.shape != (taps,):
            raise ValueError(
                f"`window` must have the shape ({taps},) of the kernel taps. "
                f"Received: window={describe(window)}"
            )
        if self.scaling is None:
            return window
        scale = math.sqrt(np.sum(window**2)) if self.scaling == "density" else np.sum(abs(window))
        if scale == 0:
            raise ValueError(
                f"`window` is zero at all {taps} taps and cannot be scaled. "
                f"Received: window={describe(self.window)}, scaling={self.scaling!r}"
            )
        return window / scale

    def get_config(self) -> dict[str, object]:
        return {
            "side": self.side,
            "window": serialize_value(self.window),
            "periodic": self.periodic,
            "scaling": self.scaling,
        }
