# SPDX-License-Identifier: BSD-3-Clause
"""Writers for ``dwconv apply``: each takes blocks in order and keeps memory use small."""

from typing import BinaryIO, Protocol

import numpy as np

from dwconv.cli.operation import Block, part_of
from dwconv.cli.wav import wav_header


class Writer(Protocol):
    """Takes the blocks of an output in order, then `finish`."""

    def write(self, block: Block, values: np.ndarray) -> None:
        """Store `values`, (batch items, steps, channels) or (..., channels, steps)."""

    def finish(self) -> None:
        """Write what remains."""


def open_writer(suffix: str, file: BinaryIO, batch_shape: tuple[int, int, int],
                shape: tuple[int, ...], dtype: np.dtype, data_format: str,
                sample_rate: int | None) -> Writer:
    """Writer for the file type `suffix`.

    `batch_shape` is the output with, `shape` without the axes that the input did not have.
    """
    if suffix == ".wav":
        return _WavWriter(file, batch_shape, dtype, data_format, sample_rate)
    if suffix == ".npz":
        return _NpzWriter(file, batch_shape, shape, dtype, data_format)
    return _NpyWriter(file, batch_shape, shape, dtype, data_format)


class _NpyWriter:
    """Writes blocks to their place with plain file writes.

    Not through a memory map: on a full disk that ends the process instead of raising OSError.
    """

    def __init__(self, file, batch_shape, shape, dtype, data_format):
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False,
                   "shape": shape})
        self._file = file
        self._start = file.tell()
        self._batch_shape = batch_shape
        self._channels_first = data_format == "channels_first"

    def write(self, block: Block, values: np.ndarray) -> None:
        if not self._channels_first:
            _write_values(self._file, values)  # blocks in order are the file in order
            return
        _, channels, steps = self._batch_shape
        for item, rows in enumerate(values, block.batch_first):
            for channel, row in enumerate(rows):
                index = (item * channels + channel) * steps + block.first
                self._file.seek(self._start + index * row.itemsize)
                _write_values(self._file, row)

    def finish(self) -> None:
        pass


class _NpzWriter:
    """Collects the output in memory, since a member of an archive cannot be written in pieces."""

    def __init__(self, file, batch_shape, shape, dtype, data_format):
        self._file = file
        self._shape = shape
        self._values = np.empty(batch_shape, dtype)
        self._data_format = data_format

    def write(self, block: Block, values: np.ndarray) -> None:
        steps = slice(block.first, block.last)
        part_of(self._values, block, steps, self._data_format)[...] = values

    def finish(self) -> None:
        np.savez(self._file, y=self._values.reshape(self._shape))


class _WavWriter:
    """Writes frames as little-endian IEEE floats, so that no sample is clipped or rounded."""

    def __init__(self, file, batch_shape, dtype, data_format, sample_rate):
        self._channels_first = data_format == "channels_first"
        channels, steps = batch_shape[1:] if self._channels_first else batch_shape[:0:-1]
        file.write(wav_header(steps, channels, sample_rate, dtype))
        self._file = file

    def write(self, block: Block, values: np.ndarray) -> None:
        frames = values[0].T if self._channels_first else values[0]
        _write_values(self._file, frames.astype(frames.dtype.newbyteorder("<"), copy=False))

    def finish(self) -> None:
        pass


def _write_values(file: BinaryIO, values: np.ndarray) -> None:
    if values.size:
        file.write(np.ascontiguousarray(values).data.cast("B"))
