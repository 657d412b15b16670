# SPDX-License-Identifier: BSD-3-Clause
"""Where the sequences of a call lie in its input and in its output."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np

from dwconv.arrays import as_array
from dwconv.functional import _checked_padding, _positive, _problem
from dwconv.padding import checked_padding, resolve_padding


class Sequence(NamedTuple):
    """`count` sequences of one length: in successive batch items, or one behind the other."""

    item: int
    start: int
    steps: int
    out_start: int
    out_steps: int
    count: int


class Layout:
    """The sequences of one call, and the parts of arrays that belong to them.

    Parameters
    ----------
    x, kernel : ndarray
        Of rank 3.
    lengths, cu_seqlens, seq_idx : array of int or None
        Exactly one of them.
    strides, padding, dilation_rate, data_format
        As in `depthwise_conv1d`.
    """

    def __init__(self, x, kernel, *, strides, padding, dilation_rate, data_format, lengths, cu_seqlens, seq_idx):
        named = {"lengths": lengths, "cu_seqlens": cu_seqlens, "seq_idx": seq_idx}
        named = [name for name, value in named.items() if value is not None]
        if len(named) != 1:
            raise ValueError(f"only one of `lengths`, `cu_seqlens` and `seq_idx` may be given, received {named}")
        # Checks all but the number of steps, which "causal" never finds too small.
        problem = _problem(x, kernel, strides, "causal", dilation_rate, data_format)
        geometry = (len(kernel), problem["stride"], _positive(dilation_rate, "dilation_rate"))
        padding = _checked_padding(padding)
        batch, steps = problem["batch"], problem["in_steps"]
        self._first = problem["channels_first"]
        self._packed = cu_seqlens is not None
        if lengths is not None:
            _, self._out_steps = checked_padding(padding, steps, *geometry)
            self._steps = _checked_lengths(lengths, batch, steps)
            self._item = np.arange(batch)
            self._start = self._out_start = np.zeros(batch, np.int64)
            self._own_out_steps = output_steps(self._steps, padding, *geometry)
        elif self._packed:
            if batch != 1:
                raise ValueError(f"`cu_seqlens` needs a batch of 1, received input.shape={x.shape}")
            boundaries = _checked_boundaries(cu_seqlens, steps)
            self._start, self._steps = boundaries[:-1], np.diff(boundaries)
            self._item = np.zeros_like(self._start)
            self._own_out_steps = output_steps(self._steps, padding, *geometry)
            ends = np.cumsum(self._own_out_steps)
            self._out_start = ends - self._own_out_steps
            self._out_steps = sum(self._own_out_steps.tolist())  # of any size, for the allocation to refuse
        else:
            reach = (geometry[0] - 1) * geometry[2]
            added = {"same": reach, "causal": reach, "valid": 0}[padding] if isinstance(padding, str) else sum(padding)
            if geometry[1] != 1 or added != reach:
                raise ValueError(
                    "`seq_idx` needs an output step for every input step: strides=1 and padding 'same' or 'causal', "
                    f"received strides={strides!r}, padding={padding!r}"
                )
            self._item, self._start, stop = runs_of(seq_idx, batch, steps)
            self._steps = self._own_out_steps = stop - self._start
            self._out_start, self._out_steps = self._start, steps
        outputs = problem["channels"] * problem["depth_multiplier"]
        self.out_shape = (batch, outputs, self._out_steps) if self._first else (batch, self._out_steps, outputs)

    def sequences(self, together: bool = True) -> Iterator[Sequence]:
        """The sequences that have outputs; with `together`, runs that one core call can do as one item each."""
        has_outputs = self._own_out_steps > 0
        fields = (self._item, self._start, self._steps, self._out_start, self._own_out_steps)
        fields = [field[has_outputs] for field in fields]
        item, start, steps = fields[:3]
        first = np.ones(len(item), bool)
        if together:
            follows = steps[1:] == steps[:-1]
            if not self._packed:
                follows &= (item[1:] == item[:-1] + 1) & (start[1:] == start[:-1])
            elif self._first:
                follows[:] = False
            else:
                follows &= start[1:] == start[:-1] + steps[:-1]
            first[1:] = ~follows
        at = np.flatnonzero(first)
        fields = [field[at].tolist() for field in fields]
        return map(Sequence, *fields, np.diff(at, append=len(item)).tolist())

    def input(self, x: np.ndarray, sequence: Sequence) -> np.ndarray:
        """The part of an array like the input, of shape (count, steps, channels) or (count, channels, steps)."""
        return self._part(x, sequence.item, sequence.start, sequence.steps, sequence.count)

    def output(self, y: np.ndarray, sequence: Sequence) -> np.ndarray:
        """The part of an array like the output."""
        return self._part(y, sequence.item, sequence.out_start, sequence.out_steps, sequence.count)

    def _part(self, array, item, start, steps, count):
        if self._first:
            return array[item : item + count, :, start : start + steps]
        if self._packed and count > 1:
            return array[0, start : start + count * steps].reshape(count, steps, array.shape[2])
        return array[item : item + count, start : start + steps]

    def clear_masked(self, y: np.ndarray) -> None:
        """Put zeros into the steps of an array like the output that belong to no sequence."""
        if not self._packed:
            self._clear(y, self._out_start, self._own_out_steps)

    def clear_masked_input(self, dx: np.ndarray) -> None:
        """The same for an array like the input; sequences without outputs count as none."""
        self._clear(dx, self._start, np.where(self._own_out_steps > 0, self._steps, 0))

    def _clear(self, array, starts, steps) -> None:
        axis = 2 if self._first else 1
        used = steps > 0
        used = zip(self._item[used].tolist(), starts[used].tolist(), steps[used].tolist(), strict=True)
        ends = ((item, array.shape[axis], 0) for item in range(len(array)))
        done = [0] * len(array)
        for item, start, n in chain(used, ends):
            if start > done[item]:
                array[item].swapaxes(0, axis - 1)[done[item] : start] = 0
            done[item] = start + n


def output_steps(
    steps: np.ndarray, padding: str | tuple[int, int], kernel_size: int, stride: int, dilation: int
) -> np.ndarray:
    """Output steps of sequences of so many steps; 0 for those that are too short."""
    lengths, where = np.unique(steps, return_inverse=True)
    resolved = [max(0, resolve_padding(padding, n, kernel_size, stride, dilation)[2]) for n in lengths.tolist()]
    return np.array(resolved, np.int64)[where.reshape(steps.shape)]


def runs_of(seq_idx: object, batch: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Batch item, start and stop of each run of equal numbers that are not negative."""
    numbers = checked_integers(seq_idx, "seq_idx")
    if numbers.shape != (batch, steps):
        raise ValueError(f"`seq_idx` must have shape (batch, steps) = {(batch, steps)}, received shape {numbers.shape}")
    begins = np.ones((batch, steps + 1), bool)  # one more, where the last run of an item ends
    begins[:, 1:-1] = numbers[:, 1:] != numbers[:, :-1]
    item, edge = np.nonzero(begins)
    inner = edge[:-1] < steps
    item, start, stop = item[:-1][inner], edge[:-1][inner], edge[1:][inner]
    number = numbers[item, start]
    item, start, stop, number = (field[number >= 0] for field in (item, start, stop, number))
    order = np.lexsort((start, number, item))
    again = (np.diff(item[order]) == 0) & (np.diff(number[order]) == 0)
    if again.any():
        at = order[1:][again][0]
        raise ValueError(
            f"`seq_idx` must number each sequence in one piece, received {number[at]} again at step {start[at]} "
            f"of batch item {item[at]}"
        )
    return item, start, stop


def _checked_lengths(lengths: object, batch: int, steps: int) -> np.ndarray:
    numbers = checked_integers(lengths, "lengths")
    if numbers.shape != (batch,):
        raise ValueError(f"`lengths` must have shape (batch,) = ({batch},), received shape {numbers.shape}")
    wrong = (numbers < 0) | (numbers > steps)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"`lengths` must lie between 0 and the {steps} steps of the input, "
                         f"received lengths[{at}]={int(numbers[at])}")  # fmt: skip
    return numbers.astype(np.int64)


def _checked_boundaries(cu_seqlens: object, steps: int) -> np.ndarray:
    numbers = checked_integers(cu_seqlens, "cu_seqlens")
    if numbers.ndim != 1 or len(numbers) < 2:
        raise ValueError(f"`cu_seqlens` must have shape (sequences + 1,), received shape {numbers.shape}")
    wrong = numbers[1:] < numbers[:-1]
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"`cu_seqlens` must not decrease, received cu_seqlens[{at}]={int(numbers[at])}, "
                         f"cu_seqlens[{at + 1}]={int(numbers[at + 1])}")  # fmt: skip
    if numbers[0] != 0 or numbers[-1] != steps:
        raise ValueError(f"`cu_seqlens` must begin with 0 and end with the {steps} steps of the input, "
                         f"received {int(numbers[0])} and {int(numbers[-1])}")  # fmt: skip
    return numbers.astype(np.int64)


def checked_integers(values: object, name: str) -> np.ndarray:
    """`values` as an array; TypeError unless it holds integers."""
    array = as_array(values, name)
    if array.dtype.kind not in "iu":
        if array.size:
            raise TypeError(f"`{name}` must hold integers, received {name} of dtype {array.dtype}")
        return array.astype(np.int64)
    return array
