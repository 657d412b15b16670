# SPDX-License-Identifier: BSD-3-Clause
"""``dwconv apply``: one depthwise layer over a signal of any length, in blocks."""

import argparse
import time

_DESCRIPTION = """\
Apply one depthwise 1-D convolution to a signal, block by block. The result is the
same, bit for bit, as that of one call on the whole signal; memory use is bounded for
.npy and .wav (an .npz is held in memory).

IN is .npy, .npz with one array, or .wav, shaped (steps,), (steps, channels) or
(batch, steps, channels); channels come before steps if the layer is channels_first.
Integers in .npy and .npz are converted without scaling where the layer's dtype holds
them exactly; PCM in .wav is scaled to [-1, 1). OUT is written as its suffix says
(.npz: array 'y'; .wav: IEEE floats) and appears complete or not at all.

The layer file comes from dwconv.npz.save_layer, or from numpy.savez with 'kernel'
(kernel_size, channels, depth_multiplier), or (kernel_size,) for every channel alike,
and optionally 'bias', 'strides', 'padding' ('valid', 'same', 'causal' or two
integers), 'dilation_rate', 'data_format' and 'activation'.
"""

# About 4 MiB of float32 per block: large enough to make the cost of a call vanish, small enough
# for the caches that a block's output leaves again.
_BLOCK_VALUES = 2**20


def add_parser(commands) -> None:
    """Add the subcommand to the ``dwconv`` parser."""
    parser = commands.add_parser(
        "apply", help="apply a stored layer to a .npy, .npz or .wav signal of any length",
        description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, metavar="LAYER.npz", help="the layer file")
    parser.add_argument("input", metavar="IN", help="the signal")
    parser.add_argument("output", metavar="OUT", help="the file to write")
    parser.add_argument("--block", type=_positive, metavar="N",
                        help="output steps per block (default: about a million values)")
    parser.add_argument("--threads", type=_positive, metavar="N",
                        help="threads to use (default: as for every call of dwconv)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be a positive integer. Received {text!r}")
    return value


def run(arguments: argparse.Namespace) -> None:
    """Apply the layer; every error is raised before or without anything left at OUT."""
    from dwconv.cli.operation import read_operation, time_axis
    from dwconv.cli.signals import check_conversion, open_signal, suffix_of

    suffix = suffix_of(arguments.output, "OUT")
    signal = open_signal(arguments.input)
    operation = read_operation(
        arguments.weights,
        lambda data_format: signal.as_batch(data_format).shape[3 - time_axis(data_format)])
    check_conversion(arguments.input, signal, operation.kernel.dtype)
    sample_rate = _output_rate(suffix, signal.sample_rate, operation.stride)
    started = time.perf_counter()
    shape = _apply(arguments, operation, signal, suffix, sample_rate)
    if not arguments.quiet:
        seconds = time.perf_counter() - started
        print(f"wrote {arguments.output}: shape {shape}, {operation.kernel.dtype}, {seconds:.2f} s")


def _apply(arguments, operation, signal, suffix: str, sample_rate: int | None) -> tuple[int, ...]:
    """Compute and write all blocks; returns the shape of the output."""
    from dwconv._atomic import atomic_output
    from dwconv.cli.operation import blocks, part_of, time_axis, window
    from dwconv.cli.outputs import open_writer
    from dwconv.cli.progress import ProgressBar

    data_format, dtype = operation.data_format, operation.kernel.dtype
    samples = signal.as_batch(data_format)
    batch, in_steps = samples.shape[0], samples.shape[time_axis(data_format)]
    pad_left, out_steps = operation.resolve(in_steps)
    out_channels = operation.out_channels()
    batch_shape = ((batch, out_channels, out_steps) if data_format == "channels_first"
                   else (batch, out_steps, out_channels))
    shape = _drop_axes(batch_shape, signal.rank, out_steps, out_channels)
    channels = max(operation.kernel.shape[1], out_channels, 1)
    block_steps = arguments.block or max(_BLOCK_VALUES // channels, 4 * operation.halo(), 1)

    with (atomic_output(arguments.output) as file,
          ProgressBar(batch * out_steps, "steps", not arguments.quiet) as progress):
        writer = open_writer(suffix, file, batch_shape, shape, dtype, data_format, sample_rate)
        for block in blocks(batch, out_steps, block_steps):
            steps, padding = window(operation, block, in_steps, pad_left)
            x = signal.decode(part_of(samples, block, steps, data_format), dtype)
            writer.write(block, operation.run(x, padding, arguments.threads))
            progress.advance((block.batch_last - block.batch_first) * (block.last - block.first))
        writer.finish()
    return shape


def _drop_axes(batch_shape: tuple[int, int, int], rank: int, steps: int,
               channels: int) -> tuple[int, ...]:
    """Shape of the output with as many axes as the input, where one channel allows it."""
    if rank == 3:
        return batch_shape
    return (steps,) if rank == 1 and channels == 1 else batch_shape[1:]


def _output_rate(suffix: str, sample_rate: int | None, stride: int) -> int | None:
    if suffix != ".wav":
        return None
    if sample_rate is None:
        raise ValueError("OUT may end in .wav only if IN does: no sample rate is known otherwise")
    if sample_rate % stride:
        raise ValueError(f"OUT cannot be .wav: its sample rate, {sample_rate} / strides, is not an "
                         f"integer. Received strides={stride}")
    return sample_rate // stride
