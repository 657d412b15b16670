# SPDX-License-Identifier: BSD-3-Clause
"""Signals for ``dwconv apply``: reading them in pieces from .npy, .npz and .wav files."""

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dwconv.cli.wav import open_wav
from dwconv.npz import read_arrays

SUFFIXES = (".npy", ".npz", ".wav")


class Signal(NamedTuple):
    """A stored signal.

    `samples` is mapped or in memory, with `rank` axes of which a layer speaks: (steps,),
    (steps, channels) or (batch, steps, channels) with channels last, (channels, steps) or
    (batch, channels, steps) with channels first. WAV files always have steps before channels, and
    may have one more axis for the bytes of a sample, which `decode` removes.
    """

    samples: np.ndarray
    rank: int
    decode: Callable[[np.ndarray, np.dtype], np.ndarray]
    sample_rate: int | None = None

    def as_batch(self, data_format: str) -> np.ndarray:
        """View of `samples` in the layer's own layout, with a batch axis."""
        samples = self.samples
        first = data_format == "channels_first"
        if self.rank == 1:
            return samples[np.newaxis, np.newaxis] if first else samples[np.newaxis, :, np.newaxis]
        if self.sample_rate is not None and first:
            samples = samples.swapaxes(0, 1)
        return samples if self.rank == 3 else samples[np.newaxis]


def suffix_of(path: str, argument: str) -> str:
    """Lower-case suffix of a file name, one of `SUFFIXES`, or ValueError."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{argument} must end in {', '.join(SUFFIXES)}. "
                         f"Received {argument}={path}")
    return suffix


def open_signal(path: str) -> Signal:
    """Open a signal; .npy and .wav are mapped and read as needed, .npz is read into memory."""
    suffix = suffix_of(path, "IN")
    if suffix == ".wav":
        frames, decode, sample_rate = open_wav(path)
        if frames.shape[1] == 1:
            return Signal(frames[:, 0], 1, decode, sample_rate)
        return Signal(frames, 2, decode, sample_rate)
    samples = _map_npy(path) if suffix == ".npy" else _only_array(path)
    if samples.ndim not in (1, 2, 3):
        raise ValueError(f"{path}: the signal must have 1 to 3 dimensions. "
                         f"Received shape={samples.shape}")
    if samples.dtype.kind not in "fiu":
        raise TypeError(f"{path}: the signal must have a floating or integer dtype. "
                        f"Received dtype={samples.dtype}")
    return Signal(samples, samples.ndim, _cast)


def check_conversion(path: str, signal: Signal, dtype: np.dtype) -> None:
    """Raise TypeError unless the samples can be converted to `dtype`, that of the layer.

    Floating samples always are, as Keras does it; integers where the dtype holds them all exactly
    (int16 in float32, say), without scaling. WAV files carry their own scale.
    """
    stored = signal.samples.dtype
    if signal.sample_rate is None and stored.kind != "f" and not np.can_cast(stored, dtype, "safe"):
        raise TypeError(f"{path}: integers of this dtype do not all fit into the layer's {dtype}. "
                        f"Received dtype={stored}")


def _cast(part: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.ascontiguousarray(part, dtype)


def _map_npy(path: str) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise ValueError(f"{path}: not a readable .npy file: {error}") from error


def _only_array(path: str) -> np.ndarray:
    arrays = read_arrays(path)
    if len(arrays) != 1:
        raise ValueError(f"{path}: IN must hold exactly one array. Received {sorted(arrays)}")
    return next(iter(arrays.values()))
