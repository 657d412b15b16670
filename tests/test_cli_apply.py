# SPDX-License-Identifier: BSD-3-Clause
"""``dwconv apply``: blocks give the same bits as one call, for every file type and setting."""

import itertools
import json
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import assert_fails, files_in

import dwconv
from dwconv.cli import main
from dwconv.npz import save_layer


def apply(parent, x, settings, *options, suffix=".npy"):
    """Store x and the layer in a new folder, run the command, return the output array."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    np.save(folder / "in.npy", x)
    np.savez(folder / "layer.npz", **settings)
    out = folder / f"out{suffix}"
    status = main(["apply", "--quiet", "--weights", str(folder / "layer.npz"),
                   *map(str, options), str(folder / "in.npy"), str(out)])
    assert status == 0, (x.shape, settings, options)
    assert files_in(folder) == sorted(["in.npy", "layer.npz", out.name])
    if suffix == ".npz":
        with np.load(out) as archive:
            assert archive.files == ["y"]
            return archive["y"]
    return np.load(out)


def one_shot(x, settings):
    """The same convolution in one call; x is (batch, steps, channels) or channels first."""
    options = {name: value for name, value in settings.items() if name not in ("kernel", "bias")}
    return dwconv.depthwise_conv1d(x, settings["kernel"], settings.get("bias"), **options)


def random_settings(rng, taps, channels, multiplier, dtype, **settings):
    return {"kernel": rng.standard_normal((taps, channels, multiplier)).astype(dtype),
            "bias": rng.standard_normal(channels * multiplier).astype(dtype)} | settings


PADDINGS = ("valid", "same", "causal", (3, 0), (0, 5), (-3, -2), (40, 40), (-7, 30))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_blocks_equal_one_call_bit_for_bit(tmp_path, padding, data_format):
    rng = np.random.default_rng(1)
    cases = itertools.product((1, 2, 5), (1, 3), (1, 4), (1, 7, 64))
    for (stride, dilation, taps, block), dtype in zip(cases, itertools.cycle("fd")):
        batch, steps, channels, multiplier = 2, 61, 3, 2
        settings = random_settings(rng, taps, channels, multiplier, dtype, strides=stride,
                                   padding=padding, dilation_rate=dilation,
                                   data_format=data_format)
        shape = (batch, steps, channels) if data_format == "channels_last" else (
            batch, channels, steps)
        x = rng.standard_normal(shape).astype(dtype)
        y = apply(tmp_path, x, settings, "--block", block)
        expected = one_shot(x, settings)
        case = (f"{shape=} {taps=} {multiplier=} {stride=} {dilation=} {padding=} {data_format=} "
                f"{block=} {dtype=}")
        assert y.dtype == expected.dtype and y.shape == expected.shape, case
        assert y.tobytes() == expected.tobytes(), case


def test_short_items_share_a_block(tmp_path):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((50, 6, 2)).astype(np.float32)
    for data_format in ("channels_last", "channels_first"):
        channels = x.shape[2] if data_format == "channels_last" else x.shape[1]
        settings = random_settings(rng, 3, channels, 1, np.float32, padding="same",
                                   data_format=data_format)
        y = apply(tmp_path, x, settings, "--block", 40)
        assert y.tobytes() == one_shot(x, settings).tobytes(), data_format


@pytest.mark.parametrize("activation", ["relu", "tanh", "softmax", "log_softmax", "glu"])
def test_activations(tmp_path, activation):
    rng = np.random.default_rng(3)
    settings = random_settings(rng, 3, 4, 1, np.float32, padding="causal", activation=activation)
    x = rng.standard_normal((1, 50, 4)).astype(np.float32)
    y = apply(tmp_path, x, settings, "--block", 50)
    assert y.shape == (1, 50, 2 if activation == "glu" else 4)
    assert y.tobytes() == one_shot(x, settings).tobytes()
    # A row-wise activation sums over the channels of one step only, so cuts in time do not show.
    np.testing.assert_array_equal(apply(tmp_path, x, settings, "--block", 7), y)


@pytest.mark.parametrize("activation, data_format", [
    ("softmax", "channels_first"), ("log_softmax", "channels_first"),
    ("sparsemax", "channels_first"), ("glu", "channels_first"),
    (0, "channels_first"), (2, "channels_first"), (-1, "channels_first"),
    (0, "channels_last"), (1, "channels_last"), (-2, "channels_last"), (5, "channels_last"),
])
def test_activation_along_time_is_refused(tmp_path, capsys, activation, data_format):
    if isinstance(activation, int):
        activation = {"class_name": "Softmax", "config": {"axis": activation}}
    config = {"kernel_size": 3, "use_bias": False, "data_format": data_format,
              "activation": activation}
    np.save(tmp_path / "in.npy", np.ones((4, 4), np.float32))
    np.savez(tmp_path / "layer.npz", kernel=np.ones((3, 4, 1), np.float32),
             config=json.dumps(config))
    assert_fails(capsys, ["apply", "--weights", tmp_path / "layer.npz", tmp_path / "in.npy",
                          tmp_path / "out.npy"], "activation", data_format)
    assert files_in(tmp_path) == ["in.npy", "layer.npz"]


@pytest.mark.parametrize("axis, data_format", [(-1, "channels_last"), (2, "channels_last"),
                                               (1, "channels_first"), (-2, "channels_first")])
def test_softmax_layer_along_the_channels(tmp_path, axis, data_format):
    rng = np.random.default_rng(11)
    kernel = rng.standard_normal((3, 4, 1)).astype(np.float32)
    config = {"kernel_size": 3, "use_bias": False, "data_format": data_format,
              "activation": {"class_name": "Softmax", "config": {"axis": axis}}}
    x = rng.standard_normal((1, 40, 4)).astype(np.float32)
    x = x if data_format == "channels_last" else np.ascontiguousarray(x.swapaxes(1, 2))
    y = apply(tmp_path, x, {"kernel": kernel, "config": json.dumps(config)}, "--block", 7)
    z = dwconv.depthwise_conv1d(x, kernel, data_format=data_format)
    np.testing.assert_array_equal(y, dwconv.activations.softmax(z, axis=axis))


def test_signals_of_one_and_two_axes_keep_their_axes(tmp_path):
    rng = np.random.default_rng(4)
    kernel = rng.standard_normal(5).astype(np.float32)
    x = rng.standard_normal(100).astype(np.float32)
    expected = dwconv.depthwise_conv1d(x[None, :, None], kernel[:, None, None])
    one = apply(tmp_path, x, {"kernel": kernel}, "--block", 9)
    assert one.shape == (96,) and one.tobytes() == expected.tobytes()
    column = apply(tmp_path, x[:, None], {"kernel": kernel}, "--block", 9)
    assert column.shape == (96, 1) and column.tobytes() == expected.tobytes()


def test_one_filter_for_every_channel(tmp_path):
    rng = np.random.default_rng(5)
    kernel = rng.standard_normal(7)
    x = rng.standard_normal((80, 6))
    y = apply(tmp_path, x, {"kernel": kernel, "padding": "same"})
    whole = np.broadcast_to(kernel[:, None, None], (7, 6, 1))
    assert y.tobytes() == dwconv.depthwise_conv1d(x[None], whole, padding="same").tobytes()


def test_kernel_of_two_axes_has_multiplier_one(tmp_path):
    rng = np.random.default_rng(6)
    kernel = rng.standard_normal((7, 3))
    x = rng.standard_normal((80, 3))
    y = apply(tmp_path, x, {"kernel": kernel})
    assert y.tobytes() == dwconv.depthwise_conv1d(x[None], kernel[:, :, None]).tobytes()


def test_layer_saved_with_its_configuration(tmp_path):
    rng = np.random.default_rng(7)
    layer = dwconv.DepthwiseConv1D(5, strides=2, padding="same", depth_multiplier=2,
                                   activation="relu")
    x = rng.standard_normal((3, 41, 4)).astype(np.float32)
    expected = layer(x)
    save_layer(tmp_path / "saved.npz", layer)
    np.save(tmp_path / "in.npy", x)
    assert main(["apply", "--quiet", "--block", "5", "--weights", str(tmp_path / "saved.npz"),
                 str(tmp_path / "in.npy"), str(tmp_path / "out.npy")]) == 0
    assert np.load(tmp_path / "out.npy").tobytes() == np.asarray(expected).tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("stored", ["<f4", ">f4", "<f8", ">f8", "<f2", "i1", "u1", "<i2", ">u2"])
def test_stored_dtypes_are_converted_to_that_of_the_layer(tmp_path, stored, order):
    rng = np.random.default_rng(8)
    x = np.asarray(rng.integers(0, 100, (60, 3)), dtype=stored, order=order)
    settings = random_settings(rng, 4, 3, 1, np.float32)
    y = apply(tmp_path, x, settings, "--block", 13)
    assert y.dtype == np.float32
    assert y.tobytes() == one_shot(x.astype(np.float32)[None], settings).tobytes()


def test_npz_in_and_out(tmp_path):
    rng = np.random.default_rng(9)
    settings = random_settings(rng, 4, 3, 2, np.float64, data_format="channels_first")
    x = rng.standard_normal((3, 60))
    y = apply(tmp_path, x, settings, "--block", 13, suffix=".npz")
    np.testing.assert_array_equal(y, one_shot(x[None], settings)[0])
    np.savez_compressed(tmp_path / "in.npz", signal=x)
    np.savez(tmp_path / "layer.npz", **settings)
    assert main(["apply", "--quiet", "--weights", str(tmp_path / "layer.npz"),
                 str(tmp_path / "in.npz"), str(tmp_path / "again.npy")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "again.npy"), y)


@pytest.mark.parametrize("shape", [(0, 20, 3), (2, 0, 3), (0, 3)], ids=str)
def test_empty_signals(tmp_path, shape):
    settings = {"kernel": np.ones((4, 3, 1), np.float32), "padding": "same", "strides": 2}
    y = apply(tmp_path, np.ones(shape, np.float32), settings)
    steps = -(-shape[-2] // 2)
    assert y.shape == shape[:-2] + (steps, 3)


def test_threads_and_the_input_itself_as_output(tmp_path):
    rng = np.random.default_rng(10)
    x = rng.standard_normal((500, 8)).astype(np.float32)
    settings = random_settings(rng, 9, 8, 1, np.float32, padding="same")
    np.save(tmp_path / "in.npy", x)
    np.savez(tmp_path / "layer.npz", **settings)
    assert main(["apply", "--quiet", "--threads", "2", "--weights", str(tmp_path / "layer.npz"),
                 str(tmp_path / "in.npy"), str(tmp_path / "in.npy")]) == 0
    assert np.load(tmp_path / "in.npy").tobytes() == one_shot(x[None], settings).tobytes()


def test_summary_unless_quiet(tmp_path, capsys):
    np.save(tmp_path / "in.npy", np.ones((30, 2), np.float32))
    np.savez(tmp_path / "layer.npz", kernel=np.ones(3, np.float32))
    arguments = ["apply", "--weights", str(tmp_path / "layer.npz"), str(tmp_path / "in.npy"),
                 str(tmp_path / "out.npy")]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "out.npy" in out and "(28, 2)" in out and "float32" in out and err == ""
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_memory_does_not_grow_with_the_signal(tmp_path, data_format):
    shape = (2_000_000, 2) if data_format == "channels_last" else (2, 2_000_000)
    np.lib.format.open_memmap(tmp_path / "in.npy", "w+", np.float32, shape).flush()
    np.savez(tmp_path / "layer.npz", kernel=np.ones(5, np.float32), data_format=data_format)
    arguments = ["apply", "--quiet", "--block", "20000", "--weights", str(tmp_path / "layer.npz"),
                 str(tmp_path / "in.npy"), str(tmp_path / "out.npy")]
    tracemalloc.start()
    try:
        assert main(arguments) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6, f"{peak=} bytes for a signal of 16e6 bytes and an output of as many"
