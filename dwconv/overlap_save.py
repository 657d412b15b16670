# SPDX-License-Identifier: BSD-3-Clause
"""Depthwise convolution with long kernels: overlap-save through NumPy's FFT.

The circular correlation of N input steps with K taps is right in ``N - K + 1`` places. So the
outputs are cut into blocks of at most that many, each made from N input steps; neighbouring blocks
read ``K - 1`` steps twice (Oppenheim and Schafer, Discrete-Time Signal Processing, section 8.7.3).
"""

from math import gcd, sqrt

import numpy as np

# Kernels at least this long are convolved by FFT with method="auto".
# Milliseconds, direct / FFT, one thread of a Zen 4 server, float32, padding "same":
#                                            K = 256     K = 501 or 512     K = 1024
#   512 channels, 2000 steps, channels_last   5.9 / 12      11 / 15          21 / 19
#   512 channels, 2000 steps, channels_first  5.6 / 10      10 / 10          20 / 11
#   12 channels, 100000 steps, channels_first               14 / 6
# Between the layouts lie two transpositions; one constant, for results not to depend on the layout.
SHORTEST_FFT_KERNEL = 500

# N is at most about this many times K, unless there are few channels: larger transforms waste less
# overlap, smaller ones stay in cache.
_BLOCK_PER_KERNEL = 4
# Elements of one array of a group of rows: rows are taken together until they fill it.
_GROUP_SIZE = 1 << 17


def overlap_save(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray,
    problem: dict[str, int],
    only_finite: bool,
) -> bool:
    """Put the convolution into `y`, without an activation.

    Parameters
    ----------
    x, kernel, bias, y : ndarray
        Of one dtype, float32 or float64, in the shapes of `dwconv.depthwise_conv1d`; any strides.
    problem : dict
        ``stride``, ``dilation``, ``pad_left`` and ``channels_first`` as in a `Plan`. All outputs
        between those that a stride keeps are computed too.
    only_finite : bool
        Stop at the first block with an output that is not finite.

    Returns
    -------
    bool
        False if it stopped.

    Notes
    -----
    The additional memory is that of about six arrays of ``max(131072, 5 * kernel_size)`` elements,
    whatever the sizes of x and y; twice as much for float32 before NumPy 2.0, which transforms in
    float64.
    """
    if not problem["channels_first"]:
        x, y = x.transpose(0, 2, 1), y.transpose(0, 2, 1)
    stride, dilation = problem["stride"], problem["dilation"]
    batch, outputs, out_steps = y.shape
    if not y.size:
        return True
    # With dilation d, the outputs of a phase, every P-th, read input steps that are d apart.
    common = gcd(stride, dilation)
    phases, step = dilation // common, stride // common
    most = (-(-out_steps // phases) - 1) * step + 1  # outputs of a phase, at stride 1
    size = _transform_length(len(kernel), most, x.shape[1])
    group = max(1, _GROUP_SIZE // size)
    with np.errstate(all="ignore"):
        for start in range(0, outputs, group):
            rows = slice(start, min(start + group, outputs))
            filters = _Filters(kernel, bias, rows, size)
            for phase in range(min(phases, out_steps)):
                first = phase * stride - problem["pad_left"]
                for b in range(batch):
                    result = y[b, rows, phase::phases]
                    if not filters.correlate(x[b], first, dilation, step, result, only_finite):
                        return False
    return True


class _Filters:
    """The spectra of some filters, for output channels `rows`, and memory for their input."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray | None, rows: slice, size: int):
        kernel_size, channels, multiplier = kernel.shape
        padded = np.zeros((rows.stop - rows.start, size), kernel.dtype)
        padded[:, :kernel_size] = kernel.reshape(kernel_size, channels * multiplier)[:, rows].T
        # The norm is "ortho" throughout: with the default one, some versions of NumPy transform
        # float32 in long double, since they scale by a 1 of type int.
        padded *= sqrt(size)
        spectrum = np.fft.rfft(padded, norm="ortho")
        self._spectrum = np.conjugate(spectrum, out=spectrum)
        self._bias = 0 if bias is None else bias[rows, np.newaxis]
        self._block = size - kernel_size + 1
        source = np.arange(rows.start, rows.stop) // multiplier
        self._channels = slice(source[0], source[-1] + 1)
        self._source = source - source[0] if multiplier > 1 else slice(None)
        self._segment = np.empty((source[-1] + 1 - source[0], size), kernel.dtype)

    def correlate(
        self,
        signal: np.ndarray,
        first: int,
        dilation: int,
        step: int,
        result: np.ndarray,
        only_finite: bool,
    ) -> bool:
        """Fill `result`: its output i has its first tap at step ``first + i*step*dilation``."""
        signal, segment = signal[self._channels], self._segment
        count = (self._block - 1) // step + 1
        for start in range(0, result.shape[1], count):
            target = result[:, start : start + count]
            _copy_segment(signal, first + start * step * dilation, dilation, segment)
            spectrum = np.fft.rfft(segment, norm="ortho")[self._source]
            spectrum *= self._spectrum
            outputs = np.fft.irfft(spectrum, segment.shape[1], norm="ortho")
            outputs = outputs[:, : (target.shape[1] - 1) * step + 1 : step]
            np.add(outputs, self._bias, out=target, casting="same_kind")
            if only_finite and not np.isfinite(target).all():
                return False
        return True


def _transform_length(kernel_size: int, outputs: int, channels: int) -> int:
    """Input steps of a block, for that many outputs.

    Few channels have longer blocks, so that the time for a call of NumPy does not count.
    """
    most = max(_BLOCK_PER_KERNEL * kernel_size, _GROUP_SIZE // (2 * channels))
    blocks = -(-outputs // (most - kernel_size + 1))
    return _fast_length(kernel_size - 1 + -(-outputs // blocks))


def _fast_length(least: int) -> int:
    """The smallest ``2**a * 3**b * 5**c`` from `least` on that is a multiple of 16."""
    return 16 * min(
        odd << max(0, -(-least // (16 * odd)) - 1).bit_length() for odd in (1, 3, 5, 9, 15, 25, 27)
    )


def _copy_segment(signal: np.ndarray, first: int, dilation: int, segment: np.ndarray) -> None:
    """Every `dilation`-th step of the signal, from step `first` on; zeros where it has no steps."""
    size, in_steps = segment.shape[1], signal.shape[1]
    start = min(max(0, -(first // dilation)), size)
    stop = min(max(start, -((first - in_steps) // dilation)), size)
    segment[:, :start] = 0
    segment[:, stop:] = 0
    if start < stop:
        begin = first + start * dilation
        segment[:, start:stop] = signal[:, begin : begin + (stop - start - 1) * dilation + 1 : dilation]
