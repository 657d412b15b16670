# SPDX-License-Identifier: BSD-3-Clause
"""Filter a signal of many channels with one call, whatever its layout.

The filter is a 101-tap low-pass for 64 channels sampled at 1 kHz, a windowed sinc:
``h[n] = 2 f sinc(2 f n) w[n]`` with the cut-off f in cycles per sample and a Hamming window w.
"""

import numpy as np

from dwconv import depthwise_conv1d

RATE, CUTOFF, TAPS, CHANNELS, STEPS = 1000.0, 40.0, 101, 64, 20_000

n = np.arange(TAPS) - (TAPS - 1) / 2
fir = 2 * CUTOFF / RATE * np.sinc(2 * CUTOFF / RATE * n) * np.hamming(TAPS)
fir /= fir.sum()

# Every channel holds 10 Hz, which passes, and 200 Hz, which does not, at its own phases.
rng = np.random.default_rng(0)
time = np.arange(STEPS)[:, np.newaxis] / RATE
slow = np.sin(2 * np.pi * 10 * time + rng.uniform(0, 6, CHANNELS))
signal = slow + np.sin(2 * np.pi * 200 * time + rng.uniform(0, 6, CHANNELS))

# The kernel is (taps, channels, filters per channel); one filter serves all channels here.
kernel = np.repeat(fir[:, np.newaxis, np.newaxis], CHANNELS, axis=1)
filtered = depthwise_conv1d(signal[np.newaxis], kernel, padding="same")[0]

inner = slice(TAPS, -TAPS)
print(f"rms of the disturbance: {np.std(signal - slow):.3f} before, "
      f"{np.std((filtered - slow)[inner]):.5f} after")
assert np.std((filtered - slow)[inner]) < 0.01

# The same bits from the transposed array, and from float32 an answer in float32.
transposed = depthwise_conv1d(np.ascontiguousarray(signal.T)[np.newaxis], kernel, padding="same",
                              data_format="channels_first")[0]
assert np.array_equal(transposed.T, filtered)
single = depthwise_conv1d(signal[np.newaxis].astype(np.float32), kernel.astype(np.float32),
                          padding="same")[0]
print(f"float32 differs from float64 by at most {np.abs(single - filtered).max():.1e}")

# A causal filter reads no later sample; every fourth output only costs a fourth of the time.
causal = depthwise_conv1d(signal[np.newaxis], kernel, padding="causal", strides=4)[0]
assert causal.shape == (STEPS // 4, CHANNELS)
print("causal and decimated by 4:", causal.shape)

# np.convolve reverses the kernel and takes one channel at a time.
expected = np.convolve(signal[:, 5], fir[::-1], "same")
difference = np.abs(filtered[:, 5] - expected).max()
print(f"channel 5 differs from np.convolve by at most {difference:.1e}")
assert np.allclose(filtered[:, 5], expected, atol=1e-12)
