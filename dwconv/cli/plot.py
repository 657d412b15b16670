# SPDX-License-Identifier: BSD-3-Clause
"""The picture that ``dwconv demo`` saves."""

from typing import BinaryIO

import numpy as np

from dwconv.cli.ecg import BANDS_HZ, Detection

_INK, _MUTED, _BEAT = "#1b2733", "#7a8794", "#d1495b"
_BAND_COLOURS = ("#1f4e79", "#2a7f9e", "#3fa796", "#8fb339")


def save_plot(file: BinaryIO, image_format: str, detection: Detection, rate: float,
              title: str, subtitle: str) -> None:
    """Draw the ECG with its beats and the stages of the detector, on one time axis.

    Only matplotlib's ``Figure`` is used, which leaves the caller's pyplot state alone.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.8), dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots(4, 1, sharex=True, height_ratios=(2.3, 2.2, 1.3, 1.3))
    time = np.arange(len(detection.signal)) / rate
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=_INK, labelsize=9)
        axis.margins(x=0)
        for beat in time[detection.beats]:
            axis.axvline(beat, color=_BEAT, alpha=0.25, linewidth=1)
    _draw_ecg(axes[0], time, detection)
    _draw_bank(axes[1], time, detection.bands)
    _draw_slopes(axes[2], time, detection.slopes)
    _draw_energy(axes[3], time, detection)
    axes[3].set_xlabel("Time (s)", color=_INK)
    figure.align_ylabels(axes)
    axes[0].set_title(title, loc="left", pad=24, fontsize=15, fontweight="bold", color=_INK)
    axes[0].annotate(subtitle, (0, 1), (0, 8), xycoords="axes fraction",
                     textcoords="offset points", fontsize=10.5, color=_MUTED)
    figure.savefig(file, format=image_format)


def _draw_ecg(axis, time: np.ndarray, detection: Detection) -> None:
    signal, beats = detection.signal, detection.beats
    axis.plot(time, signal, color=_INK, linewidth=1.2)
    axis.plot(time[beats], signal[beats], "o", color=_BEAT, markersize=7, markeredgecolor="white",
              zorder=3, label="R peaks found")
    top = signal.max()
    for first, second in zip(time[beats[:-1]], time[beats[1:]]):
        axis.annotate("", (first, 0.72 * top), (second, 0.72 * top),
                      arrowprops={"arrowstyle": "<->", "color": _BEAT, "linewidth": 1})
        axis.text((first + second) / 2, 0.74 * top, f"RR {1000 * (second - first):.0f} ms",
                  ha="center", va="bottom", color=_BEAT, fontsize=10)
    axis.set_ylim(top=1.12 * top)
    axis.set_ylabel("ECG, median removed\n(recorder units)", color=_INK)
    axis.legend(loc="upper right", frameon=False, fontsize=9)


def _draw_bank(axis, time: np.ndarray, bands: np.ndarray) -> None:
    """Band outputs one above the other, each with its own zero line but one common scale."""
    distance = 1.1 * np.abs(bands).max()
    offsets = distance * np.arange(bands.shape[1])[::-1]
    for band, offset, colour in zip(bands.T, offsets, _BAND_COLOURS):
        axis.axhline(offset, color=_MUTED, alpha=0.3, linewidth=0.7)
        axis.plot(time, band + offset, color=colour, linewidth=1.1)
    axis.set_yticks(offsets, [f"{low:.0f}-{high:.0f} Hz" for low, high in BANDS_HZ])
    for label, colour in zip(axis.get_yticklabels(), _BAND_COLOURS):
        label.set_color(colour)
    axis.set_ylabel("Band-pass bank", color=_INK)
    _draw_scale_bar(axis, distance)


def _draw_scale_bar(axis, distance: float) -> None:
    """A vertical bar between the two uppermost zero lines that says how many units it spans."""
    decade = 10 ** np.floor(np.log10(0.7 * distance))
    span = decade * max(step for step in (1, 2, 5) if step * decade <= 0.7 * distance)
    middle = (len(BANDS_HZ) - 1.5) * distance
    transform = axis.get_yaxis_transform()
    axis.plot([0.985, 0.985], [middle - span / 2, middle + span / 2], color=_INK, linewidth=2,
              transform=transform)
    axis.text(0.977, middle, f"{span:g} units", ha="right", va="center", fontsize=9, color=_INK,
              transform=transform)


def _draw_slopes(axis, time: np.ndarray, slopes: np.ndarray) -> None:
    for slope, colour in zip(slopes.T, _BAND_COLOURS):
        axis.plot(time, slope / 1000, color=colour, linewidth=0.9)
    axis.set_ylabel("Derivative\n(1000 units/s)", color=_INK)


def _draw_energy(axis, time: np.ndarray, detection: Detection) -> None:
    peak, colour = detection.energy.max(), _BAND_COLOURS[1]
    axis.fill_between(time, detection.energy / peak, color=colour, alpha=0.35, linewidth=0)
    axis.plot(time, detection.energy / peak, color=colour, linewidth=1.1)
    axis.plot(time, detection.threshold / peak, "--", color=_BEAT, linewidth=1.1,
              label="adaptive threshold")
    axis.set_ylim(bottom=0)
    axis.set_ylabel("Smoothed energy\n(share of maximum)", color=_INK)
    axis.legend(loc="upper right", frameon=False, fontsize=9)
