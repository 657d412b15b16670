# SPDX-License-Identifier: BSD-3-Clause
"""The initializer STFT, and the windows it knows."""

import json
import math

import numpy as np
import pytest
from dwconv import initializers
from dwconv.windows import get_window


@pytest.mark.parametrize("side", ["real", "imag"])
@pytest.mark.parametrize("scaling", ["density", "spectrum", None])
def test_stft_formula(side, scaling):
    taps, frequencies = 9, 5
    window = np.hanning(taps)
    scale = {"density": np.sqrt(np.sum(window**2)), "spectrum": window.sum(), None: 1}[scaling]
    filters = initializers.STFT(side, "hann", scaling)((taps, 3, frequencies), "float64")
    for t in range(taps):
        for f in range(frequencies):
            angle = -2 * math.pi * t * f / (2 * (frequencies - 1))
            wave = math.cos(angle) if side == "real" else math.sin(angle)
            np.testing.assert_allclose(filters[t, :, f], wave * window[t] / scale, atol=1e-14)


def test_stft_windows():
    values = [1.0, 2.0, 3.0, 4.0]
    # Recorded from Keras 3.15: STFT(window=values)((4, 1, 3)).
    expected = [
        [0.18257418, 0.18257418, 0.18257418],
        [0.36514837, 0, -0.36514837],
        [0.54772252, -0.54772252, 0.54772252],
        [0.73029673, 0, -0.73029673],
    ]
    filters = initializers.STFT(window=values)((4, 1, 3))
    np.testing.assert_allclose(filters[:, 0], expected, atol=1e-7)
    plain = initializers.STFT(window=None)((4, 1, 3))
    np.testing.assert_allclose(plain[:, 0, 1], [1, 0, -1, 0], atol=1e-7)
    stored = json.loads(json.dumps(initializers.serialize(initializers.STFT(window=values))))
    np.testing.assert_array_equal(initializers.get(stored)((4, 1, 3)), filters)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("hann", np.hanning),
        ("hamming", np.hamming),
        ("blackman", np.blackman),
        ("bartlett", np.bartlett),
        ("boxcar", np.ones),
    ],
)
def test_windows_that_numpy_has(name, reference):
    for size in (1, 2, 3, 8, 33):
        np.testing.assert_allclose(get_window(name, size), reference(size), atol=1e-15)
        periodic = reference(size + 1)[:-1] if size > 1 else [1]
        np.testing.assert_allclose(get_window(name, size, True), periodic, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "first", "quarter"),
    [
        ("nuttall", 0.0003628, 0.2269824),
        ("blackmanharris", 6e-05, 0.21747),
        ("flattop", -0.000421051, -0.05473684),
        ("cosine", math.sin(math.pi / 66), math.sin(math.pi * 8.5 / 33)),
        ("triang", 1 / 17, 9 / 17),
    ],
)
def test_other_windows(name, first, quarter):
    window = get_window(name, 33)
    np.testing.assert_allclose(window, window[::-1], atol=1e-15)
    np.testing.assert_allclose(window[16], 1, atol=1e-6)
    np.testing.assert_allclose(window[[0, 8]], [first, quarter], atol=1e-9)
    assert get_window("triang", 4).tolist() == [0.25, 0.75, 0.75, 0.25]


def test_stft_errors():
    with pytest.raises(ValueError, match="`side` must be 'real' or 'imag'. Received: side=both"):
        initializers.STFT(side="both")
    with pytest.raises(ValueError, match="`scaling` must be.*Received: scaling=power"):
        initializers.STFT(scaling="power")
    with pytest.raises(ValueError, match="`window` must be.*'hann'.*Received: window=kaiser"):
        initializers.STFT(window="kaiser")
    with pytest.raises(ValueError, match=r"`window` must have the shape \(5,\)"):
        initializers.STFT(window=[1.0, 2.0])((5, 1, 3))
    for shape in ((4, 2, 1), (4, 3), (4,)):
        with pytest.raises(ValueError, match="STFT needs a shape"):
            initializers.STFT()(shape)
    with pytest.raises(ValueError, match="`window` is zero at all 2 taps"):
        initializers.STFT()((2, 1, 3))
