# SPDX-License-Identifier: BSD-3-Clause
"""``dwconv demo``: the right beats of the real ECG, the filters, the report and the picture."""

import subprocess
import sys

import numpy as np
import pytest
from cli_helpers import assert_fails, files_in

from dwconv.cli import demo, main
from dwconv.cli.ecg import BANDS_HZ, BeatDetector, bandpass_fir, derivative_fir

pywt_data = pytest.importorskip("pywt.data")

# Read off a plot of the record: the three tall narrow waves, each at its highest sample.
R_PEAKS = np.array([190, 518, 848])


@pytest.fixture(scope="module")
def ecg():
    return pywt_data.ecg().astype(np.float64)


@pytest.fixture(scope="module")
def detector():
    return BeatDetector(demo.ASSUMED_RATE_HZ)


def assert_beats(found, expected, tolerance=1):
    assert len(found) == len(expected) and np.abs(found - expected).max() <= tolerance, (
        f"{found=} {expected=}")


def test_the_three_beats_are_found(ecg, detector):
    assert_beats(detector.detect(ecg).beats, R_PEAKS)


def test_scale_and_offset_do_not_matter(ecg, detector):
    for scale, offset in ((0.005, 0.0), (1e4, 3e5)):
        assert_beats(detector.detect(scale * ecg + offset).beats, R_PEAKS)


def test_beats_stand_out_of_noise_drift_and_hum(ecg, detector):
    rng = np.random.default_rng(0)
    n = np.arange(len(ecg))
    disturbed = (ecg + 10 * rng.standard_normal(len(ecg)) + 80 * np.sin(2 * np.pi * 0.3 * n / 360)
                 + 20 * np.sin(2 * np.pi * 60 * n / 360))
    # Noise moves the highest sample of a wave by a few samples at most.
    assert_beats(detector.detect(disturbed).beats, R_PEAKS, tolerance=4)


def test_every_beat_of_a_longer_signal(ecg, detector):
    # Alternate copies are mirrored, which joins them smoothly.
    long = np.concatenate([ecg, ecg[::-1]] * 10)
    mirrored = len(ecg) - 1 - R_PEAKS[::-1]
    pair = np.concatenate([R_PEAKS, len(ecg) + mirrored])
    expected = np.concatenate([pair + 2 * len(ecg) * index for index in range(10)])
    assert_beats(detector.detect(long).beats, expected)


def test_no_beats_before_the_first_and_after_the_last(ecg, detector):
    assert_beats(detector.detect(ecg[330:]).beats, R_PEAKS[1:] - 330)
    assert_beats(detector.detect(ecg[:700]).beats, R_PEAKS[:2])


def test_ripple_behind_the_assumed_rate(ecg):
    """The report says that the ripple has a period of 6.0 samples, 60 Hz at 360 Hz."""
    for quiet in (slice(330, 450), slice(660, 780)):
        slope = np.diff(ecg[quiet])
        spectrum = np.abs(np.fft.rfft((slope - slope.mean()) * np.hanning(len(slope)), 8192))
        period = 8192 / np.argmax(spectrum)
        assert abs(period - 6.0) < 0.05, f"{quiet=} {period=}"
    assert demo.ASSUMED_RATE_HZ / 6.0 == 60.0


@pytest.mark.parametrize("low, high", BANDS_HZ)
def test_bandpass_passes_its_band_only(low, high):
    rate, taps = 360.0, 145
    fir = bandpass_fir(taps, low, high, rate)
    np.testing.assert_allclose(fir, fir[::-1], atol=1e-15)  # linear phase

    def gain(frequency):
        n = np.arange(taps) - (taps - 1) / 2
        return abs(np.sum(fir * np.exp(-2j * np.pi * frequency / rate * n)))

    assert gain((low + high) / 2) == pytest.approx(1.0, abs=1e-12)
    assert gain(low) == pytest.approx(0.5, abs=0.05)  # the edges of a windowed sinc
    assert gain(high) == pytest.approx(0.5, abs=0.05)
    stopped = [f for f in np.arange(0, 180, 0.5) if f < low - 4.5 or f > high + 4.5]
    # A Hamming window lets 0.005 pass; near zero the band and its mirror image add.
    assert max(gain(f) for f in stopped) < 0.01


def test_derivative_is_exact_for_ramps_and_close_for_slow_waves():
    rate = 360.0
    fir = derivative_fir(rate)
    offsets = np.arange(-2, 3) / rate
    assert np.sum(fir * 1.0) == 0.0
    # Pan and Tompkins's weights make a ramp of slope 1 come out as 1.
    assert np.sum(fir * offsets) == pytest.approx(1.0, abs=1e-12)
    omega = 2 * np.pi * 10
    assert np.sum(fir * np.sin(omega * offsets)) == pytest.approx(omega, rel=0.05)


def test_layers_agree_with_numpy(ecg, detector):
    rng = np.random.default_rng(1)
    for layer in (detector.bandpass, detector.derivative, detector.smoothing):
        taps, channels, multiplier = layer.kernel.shape
        x = rng.standard_normal((700, channels)).astype(np.float32)
        expected = demo.numpy_reference(layer, x.astype(np.float64))
        y = np.asarray(layer(x[np.newaxis]))[0]
        bound = taps * 2.0**-23 * np.abs(np.asarray(layer.kernel)).sum(axis=0).max() * 5
        assert y.shape == expected.shape == (700, channels * multiplier)
        assert np.abs(y - expected).max() <= bound, f"{layer.name} {x.shape=}"


def test_report_and_picture(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(demo, "_TIMING_COPIES", 2)
    picture = tmp_path / "beats.png"
    assert main(["demo", "-o", str(picture)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in ("3, R peaks at samples 190, 518, 848", "911, 917 ms", "65.7 beats/min", "360 Hz",
                  "assumption", "np.convolve", "1 thread", "band-pass", "derivative", "smoothing",
                  str(picture)):
        assert words in out, words
    assert files_in(tmp_path) == ["beats.png"]
    from matplotlib.image import imread

    image = imread(picture)
    assert image.shape[0] > 800 and image.shape[1] > 1200
    # Beats are marked in the one red of the picture, on a white ground that is not all there is.
    red = np.all(np.abs(image[..., :3] - np.array([0xD1, 0x49, 0x5B]) / 255) < 0.02, axis=-1)
    assert red.sum() > 300
    assert 0.5 < np.all(image[..., :3] == 1, axis=-1).mean() < 0.99


def test_pyplot_is_not_touched(tmp_path):
    pytest.importorskip("matplotlib")
    script = ("import sys; from dwconv.cli import demo, main; demo._TIMING_COPIES = 1;"
              "status = main(['demo', '-o', sys.argv[1]]);"
              "sys.exit(status or 'matplotlib.pyplot' in sys.modules)")
    done = subprocess.run([sys.executable, "-P", "-c", script, str(tmp_path / "ecg.png")],
                          capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["beats.pdf", "beats.SVG"])
def test_vector_pictures(tmp_path, monkeypatch, name):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(demo, "_TIMING_COPIES", 1)
    assert main(["demo", "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_bytes()[:5] in (b"%PDF-", b"<?xml")


def test_without_plot_matplotlib_is_not_needed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "_TIMING_COPIES", 1)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--no-plot"]) == 0
    assert "3, R peaks" in capsys.readouterr().out and files_in(tmp_path) == []
    assert_fails(capsys, ["demo"], "matplotlib", "pip install 'dwconv[demo]'")
    monkeypatch.setitem(sys.modules, "pywt", None)
    monkeypatch.delitem(sys.modules, "pywt.data")
    assert_fails(capsys, ["demo", "--no-plot"], "pywt", "pip install 'dwconv[demo]'")
    assert files_in(tmp_path) == []


def test_picture_that_cannot_be_written(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(demo, "_TIMING_COPIES", 1)
    path = tmp_path / "missing" / "ecg.png"
    assert main(["demo", "-o", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and str(path) in err
