# SPDX-License-Identifier: BSD-3-Clause
"""``dwconv demo``: beats of a real ECG, checked and timed against NumPy, and a picture."""

import argparse
import os
import time
from collections.abc import Callable

import numpy as np

# PyWavelets documents neither sampling rate nor unit of its record. At 360 Hz, the rate of the
# MIT-BIH databases, the ripple in its quiet stretches (one period in 6.0 samples) is the 60 Hz of
# the mains, and the intervals between its waves are those of a resting adult.
ASSUMED_RATE_HZ = 360.0

_IMAGE_FORMATS = (".png", ".pdf", ".svg")
_TIMING_COPIES = 200
_TIMING_REPEATS = 5


def add_parser(commands) -> None:
    """Add the subcommand to the ``dwconv`` parser."""
    parser = commands.add_parser(
        "demo", help="find the heart beats of a real ECG with a bank of depthwise layers",
        description="Find the heart beats of a real ECG (from PyWavelets) with a bank of depthwise "
                    "layers, compare results and speed with NumPy, and save a plot.")
    parser.add_argument("-o", "--output", default="ecg.png", metavar="FILE",
                        help="plot to write: .png, .pdf or .svg (default: ecg.png)")
    parser.add_argument("--no-plot", action="store_true", help="print only; matplotlib not needed")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the report and, unless told otherwise, save the plot."""
    from dwconv._atomic import atomic_output
    from dwconv.cli.ecg import BeatDetector

    suffix = os.path.splitext(arguments.output)[1].lower()
    if suffix not in _IMAGE_FORMATS:
        raise ValueError(f"--output must end in {', '.join(_IMAGE_FORMATS)}. "
                         f"Received --output={arguments.output}")
    ecg = _load_ecg()
    if not arguments.no_plot:
        _require("matplotlib")
    detector = BeatDetector(ASSUMED_RATE_HZ)
    detection = detector.detect(ecg)
    print(f"signal      pywt.data.ecg(): {len(ecg)} samples, {len(ecg) / ASSUMED_RATE_HZ:.2f} s at "
          f"{ASSUMED_RATE_HZ:.0f} Hz")
    print("            (the rate is an assumption, PyWavelets states none: it turns the record's "
          "ripple\n            of 6.0 samples into 60 Hz mains hum; amplitudes in recorder units)")
    rhythm = _print_beats(detection.beats)
    _print_agreement(detector, detection)
    _print_timing(detector, detection.signal)
    if not arguments.no_plot:
        from dwconv.cli.plot import save_plot

        with atomic_output(arguments.output) as file:
            save_plot(file, suffix[1:], detection, ASSUMED_RATE_HZ,
                      "Heart beats found by a bank of depthwise layers",
                      f"{rhythm}   (pywt.data.ecg(), sampling rate assumed: "
                      f"{ASSUMED_RATE_HZ:.0f} Hz)")
        print(f"plot        {arguments.output}")


def _require(module: str):
    """Import an optional module, or say in one line how to get it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(f"the demo needs {error.name}: pip install 'dwconv[demo]'") from error


def _load_ecg() -> np.ndarray:
    return np.asarray(_require("pywt.data").ecg(), dtype=np.float64)


def _print_beats(beats: np.ndarray) -> str:
    """Print beats and RR intervals and return the rhythm in one phrase."""
    seconds = beats / ASSUMED_RATE_HZ
    print(f"beats       {len(beats)}, R peaks at samples {', '.join(map(str, beats))} "
          f"({', '.join(f'{second:.3f}' for second in seconds)} s)")
    if len(beats) < 2:
        return f"{len(beats)} beat"
    intervals = 1000 * np.diff(seconds)
    mean = intervals.mean()
    print(f"RR          {', '.join(f'{interval:.0f}' for interval in intervals)} ms; "
          f"mean {mean:.0f}, range {np.ptp(intervals):.0f} "
          "(too short a record for measures of variability)")
    print(f"heart rate  {60000 / mean:.1f} beats/min")
    return f"{len(beats)} beats, {60000 / mean:.1f} beats/min"


def numpy_reference(layer, x: np.ndarray) -> np.ndarray:
    """What `layer` ("same", odd length, no bias) gives for x of shape (T, C), by ``np.convolve``.

    The kernel is reversed, since layers cross-correlate while ``np.convolve`` convolves. Computed
    in the dtype of x.
    """
    kernel = np.asarray(layer.kernel).astype(x.dtype, copy=False)
    return np.stack([np.convolve(x[:, channel], kernel[::-1, channel, index], "same")
                     for channel in range(kernel.shape[1]) for index in range(kernel.shape[2])],
                    axis=1)


def _print_agreement(detector, detection) -> None:
    """Largest difference from ``np.convolve`` in float64 on the same float32 inputs."""
    print("agreement   max |dwconv float32 - np.convolve float64|, and its share of the maximum")
    signal = detection.signal[:, np.newaxis]
    stages = (("band-pass", detector.bandpass, signal),
              ("derivative", detector.derivative, detection.bands),
              ("smoothing", detector.smoothing, np.square(detection.slopes)))
    for name, layer, x in stages:
        expected = numpy_reference(layer, x.astype(np.float64))
        difference = np.abs(layer(x[np.newaxis])[0] - expected).max()
        taps, channels, multiplier = layer.kernel.shape
        print(f"            {name:<11}{taps:4d} taps x {channels * multiplier} filters   "
              f"{difference:.1e}   {difference / np.abs(expected).max():.1e}")


def _print_timing(detector, signal: np.ndarray) -> None:
    """Best times for the filter bank on a long signal, the same float32 work for both."""
    import dwconv

    long_signal = np.tile(signal, _TIMING_COPIES)[:, np.newaxis]
    layer = detector.bandpass
    numpy_seconds = _best_seconds(lambda: numpy_reference(layer, long_signal))
    taps, _, filters = layer.kernel.shape
    print(f"timing      {filters} filters of {taps} taps on {len(long_signal)} samples (the record "
          f"repeated), float32, best of {_TIMING_REPEATS}")
    print(f"            np.convolve          {1000 * numpy_seconds:8.1f} ms")
    for threads in sorted({1, dwconv.get_num_threads()}):
        with dwconv.num_threads(threads):
            seconds = _best_seconds(lambda: layer(long_signal[np.newaxis]))
        name = f"dwconv, {threads} thread{'s' if threads > 1 else ''}"
        print(f"            {name:<20} {1000 * seconds:8.1f} ms   "
              f"{numpy_seconds / seconds:.1f} x the speed of np.convolve")


def _best_seconds(task: Callable[[], object]) -> float:
    times = []
    for _ in range(_TIMING_REPEATS):
        started = time.perf_counter()
        task()
        times.append(time.perf_counter() - started)
    return min(times)
