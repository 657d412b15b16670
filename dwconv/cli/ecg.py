# SPDX-License-Identifier: BSD-3-Clause
"""Heart beats in an ECG, found by three depthwise layers and an adaptive threshold.

The chain is that of J. Pan and W. J. Tompkins, "A Real-Time QRS Detection Algorithm", IEEE
Transactions on Biomedical Engineering BME-32 (1985) 230-236: band-pass, derivative, square, moving
average, threshold. Their one pass band is replaced by a bank of adjacent bands whose energies are
added, the idea of V. X. Afonso, W. J. Tompkins, T. Q. Nguyen and S. Luo, "ECG Beat Detection Using
Filter Banks", ibid. 46 (1999) 192-202. All filters are centred (padding="same", odd
lengths), so that no stage delays the signal. Their search back for missed beats is left out.
"""

from typing import NamedTuple

import numpy as np

from dwconv.layer import DepthwiseConv1D

BANDS_HZ = ((5.0, 15.0), (15.0, 25.0), (25.0, 35.0), (35.0, 45.0))

_BANDPASS_SECONDS = 0.4  # transition bands of about 3.3 / 0.4 s = 8 Hz with a Hamming window
_INTEGRATION_SECONDS = 0.15  # about the width of the widest QRS complex (Pan and Tompkins)
_REFRACTORY_SECONDS = 0.2  # no heart beats again sooner (Pan and Tompkins)
_LEARNING_SECONDS = 2.0
_REFINEMENT_SECONDS = 0.1


class Detection(NamedTuple):
    """Every stage of the detector, for steps T and bands M."""

    signal: np.ndarray  # (T,) the ECG less its median
    bands: np.ndarray  # (T, M) band-pass outputs, units of the ECG
    slopes: np.ndarray  # (T, M) their derivatives, units per second
    energy: np.ndarray  # (T,) squared slopes, averaged over the window, summed over the bands
    threshold: np.ndarray  # (T,) what a peak of the energy has to exceed
    beats: np.ndarray  # sample numbers of the R peaks


def bandpass_fir(taps: int, low: float, high: float, rate: float) -> np.ndarray:
    """Linear-phase band-pass filter: the difference of two ideal low-passes, windowed.

    ``h[n] = (2 high / rate) sinc(2 high n / rate) - (2 low / rate) sinc(2 low n / rate)`` for n
    from -(taps - 1) / 2 to (taps - 1) / 2, times a Hamming window, scaled to gain 1 at the centre
    of the band (A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal Processing", FIR design by
    windowing).

    Parameters
    ----------
    taps : int
        Length of the filter, odd.
    low, high, rate : float
        Band edges and sampling rate in Hz, ``0 <= low < high <= rate / 2``.

    Returns
    -------
    ndarray, shape (taps,), float64
    """
    n = np.arange(taps) - (taps - 1) / 2
    ideal = (2 * high * np.sinc(2 * high / rate * n) - 2 * low * np.sinc(2 * low / rate * n)) / rate
    windowed = ideal * np.hamming(taps)
    return windowed / np.sum(windowed * np.cos(np.pi * (low + high) / rate * n))


def derivative_fir(rate: float) -> np.ndarray:
    """Five-point derivative of Pan and Tompkins: (-x[-2] - 2 x[-1] + 2 x[1] + x[2]) * rate / 8."""
    return np.array([-1.0, -2.0, 0.0, 2.0, 1.0]) * rate / 8


class BeatDetector:
    """The three layers for one sampling rate.

    Parameters
    ----------
    rate : float
        Sampling rate in Hz, at least twice the highest band edge.

    Attributes
    ----------
    bandpass, derivative, smoothing : dwconv.DepthwiseConv1D
        The bank maps 1 channel to one per band through its depth multiplier; the other two
        treat all bands alike.
    """

    def __init__(self, rate: float):
        self.rate = rate
        bank = np.stack([bandpass_fir(_odd(_BANDPASS_SECONDS * rate), low, high, rate)
                         for low, high in BANDS_HZ], axis=1)
        window = _odd(_INTEGRATION_SECONDS * rate)
        self.bandpass = _fir_layer("bandpass", bank[:, np.newaxis, :])
        self.derivative = _fir_layer("derivative", _for_each_band(derivative_fir(rate)))
        self.smoothing = _fir_layer("smoothing", _for_each_band(np.full(window, 1 / window)))

    def detect(self, ecg: np.ndarray) -> Detection:
        """Find the beats in `ecg`, shape (T,), in any unit."""
        signal = (ecg - np.median(ecg)).astype(np.float32)
        bands = self.bandpass(signal[np.newaxis, :, np.newaxis])
        slopes = self.derivative(bands)
        energy = self.smoothing(np.square(slopes)).sum(axis=-1)[0]
        peaks, threshold = self._peaks_above_threshold(energy)
        beats = np.array([self._refine(signal, peak) for peak in peaks], dtype=np.intp)
        return Detection(signal, bands[0], slopes[0], energy, threshold, beats)

    def _peaks_above_threshold(self, energy: np.ndarray) -> tuple[list[int], np.ndarray]:
        """Peaks that exceed the running threshold of Pan and Tompkins, and that threshold.

        Signal and noise levels follow the peaks of either kind, ``level = peak / 8 + 7 level / 8``,
        and the threshold is a quarter of the way from the noise to the signal level.
        """
        learning = energy[: round(_LEARNING_SECONDS * self.rate)]
        signal_level, noise_level = learning.max(), learning.mean() / 2
        threshold = np.empty_like(energy)
        beats, start = [], 0
        for peak in self._separate_peaks(energy):
            limit = noise_level + (signal_level - noise_level) / 4
            threshold[start : peak + 1] = limit
            start = peak + 1
            if energy[peak] > limit:
                beats.append(peak)
                signal_level += (energy[peak] - signal_level) / 8
            else:
                noise_level += (energy[peak] - noise_level) / 8
        threshold[start:] = noise_level + (signal_level - noise_level) / 4
        return beats, threshold

    def _separate_peaks(self, energy: np.ndarray) -> list[int]:
        """Local maxima in order of time, of any two within the refractory period the higher."""
        inner = energy[1:-1]
        peaks = np.flatnonzero((inner > energy[:-2]) & (inner >= energy[2:])) + 1
        distance = _REFRACTORY_SECONDS * self.rate
        chosen: list[int] = []
        for peak in peaks[np.argsort(-energy[peaks], kind="stable")]:
            if all(abs(peak - other) >= distance for other in chosen):
                chosen.append(int(peak))
        return sorted(chosen)

    def _refine(self, signal: np.ndarray, peak: int) -> int:
        """The highest sample near a peak of the energy, which is only as sharp as its window."""
        reach = round(_REFINEMENT_SECONDS * self.rate)
        first = max(peak - reach, 0)
        return first + int(np.argmax(signal[first : peak + reach + 1]))


def _odd(length: float) -> int:
    return 2 * round(length / 2) + 1


def _for_each_band(fir: np.ndarray) -> np.ndarray:
    return np.repeat(fir[:, np.newaxis, np.newaxis], len(BANDS_HZ), axis=1)


def _fir_layer(name: str, kernel: np.ndarray) -> DepthwiseConv1D:
    """Layer with a fixed kernel of shape (taps, channels, depth_multiplier).

    Layers cross-correlate; the filters here are symmetric or written in the order of time.
    """
    taps, channels, multiplier = kernel.shape
    layer = DepthwiseConv1D(taps, padding="same", depth_multiplier=multiplier, use_bias=False,
                            data_format="channels_last", dtype="float32", name=name)
    layer.build((None, None, channels))
    layer.set_weights([kernel])
    return layer
