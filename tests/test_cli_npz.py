# SPDX-License-Identifier: BSD-3-Clause
"""Layer files: what ``save_layer`` writes ``load_layer`` reads, and hostile files only raise."""

import io
import json
import zipfile

import numpy as np
import pytest
from cli_helpers import files_in

import dwconv
from dwconv.npz import load_layer, read_arrays, read_layer_file, save_layer


def built_layer(**settings):
    layer = dwconv.DepthwiseConv1D(**({"kernel_size": 3} | settings))
    first = settings.get("data_format") == "channels_first"
    layer.build((None, 4, None) if first else (None, None, 4))
    return layer


@pytest.mark.parametrize("settings", [
    {},
    {"use_bias": False},
    {"depth_multiplier": 3, "strides": 2, "padding": "same", "activation": "relu"},
    {"dilation_rate": 2, "data_format": "channels_first", "dtype": "float64", "name": "filter"},
], ids=str)
def test_round_trip(tmp_path, settings):
    layer = built_layer(**settings)
    rng = np.random.default_rng(0)
    layer.set_weights([rng.standard_normal(weight.shape) for weight in layer.get_weights()])
    save_layer(tmp_path / "layer.npz", layer)
    assert files_in(tmp_path) == ["layer.npz"]
    again = load_layer(tmp_path / "layer.npz")
    assert again.get_config() == layer.get_config()
    for first, second in zip(again.get_weights(), layer.get_weights(), strict=True):
        assert first.dtype == second.dtype and first.tobytes() == second.tobytes()
    x = rng.standard_normal((2, 4, 30) if "data_format" in settings else (2, 30, 4))
    x = x.astype(layer.get_weights()[0].dtype)
    assert np.asarray(again(x)).tobytes() == np.asarray(layer(x)).tobytes()


def test_file_made_by_hand(tmp_path):
    kernel = np.random.default_rng(1).standard_normal((5, 3, 2))
    np.savez(tmp_path / "layer.npz", kernel=kernel, bias=np.ones(6), strides=2, padding="same",
             activation="tanh", data_format="channels_last")
    layer = load_layer(tmp_path / "layer.npz")
    x = np.random.default_rng(2).standard_normal((1, 20, 3))
    expected = dwconv.depthwise_conv1d(x, kernel, np.ones(6), strides=2, padding="same",
                                       activation="tanh")
    assert np.asarray(layer(x)).tobytes() == expected.tobytes()
    np.savez(tmp_path / "layer.npz", kernel=kernel[:, :, 0])
    assert load_layer(tmp_path / "layer.npz").get_weights()[0].shape == (5, 3, 1)


def test_layer_that_is_not_built(tmp_path):
    with pytest.raises(ValueError, match="not built"):
        save_layer(tmp_path / "layer.npz", dwconv.DepthwiseConv1D(3))
    assert files_in(tmp_path) == []


KERNEL = np.ones((3, 4, 1), np.float32)
CONFIG = {"kernel_size": [3], "use_bias": False}
BAD_ENTRIES = {
    "no kernel": ({"bias": np.ones(4)}, "'kernel' is missing"),
    "unknown entry": ({"kernel": KERNEL, "dilation": 2}, "'dilation'"),
    "kernel of 4 axes": ({"kernel": KERNEL[None]}, "shape=(1, 3, 4, 1)"),
    "kernel without taps": ({"kernel": KERNEL[:0]}, "shape=(0, 4, 1)"),
    "kernel without axes": ({"kernel": np.float32(1)}, "shape=()"),
    "integer kernel": ({"kernel": KERNEL.astype(int)}, "dtype=int64"),
    "float16 kernel": ({"kernel": KERNEL.astype(np.float16)}, "dtype=float16"),
    "complex bias": ({"kernel": KERNEL, "bias": np.ones(4, complex)}, "'bias'"),
    "long bias": ({"kernel": KERNEL, "bias": np.ones(5, np.float32)}, "shape=(5,)"),
    "one filter for no channels": ({"kernel": KERNEL[:, 0, 0]}, "shape=(3,)"),
    "float strides": ({"kernel": KERNEL, "strides": 2.0}, "'strides'"),
    "two strides": ({"kernel": KERNEL, "strides": [1, 2]}, "'strides'"),
    "zero strides": ({"kernel": KERNEL, "strides": 0}, "strides"),
    "negative dilation": ({"kernel": KERNEL, "dilation_rate": -1}, "dilation_rate"),
    "numeric padding": ({"kernel": KERNEL, "padding": 3}, "'padding'"),
    "unknown padding": ({"kernel": KERNEL, "padding": "reflect"}, "reflect"),
    "padding the layer lacks": ({"kernel": KERNEL, "padding": [1, 2]}, "(1, 2)"),
    "unknown activation": ({"kernel": KERNEL, "activation": "nothing"}, "nothing"),
    "unknown layout": ({"kernel": KERNEL, "data_format": "NWC"}, "NWC"),
    "numeric config": ({"kernel": KERNEL, "config": 1}, "'config'"),
    "several configs": ({"kernel": KERNEL, "config": ["{}", "{}"]}, "'config'"),
    "config not JSON": ({"kernel": KERNEL, "config": "{"}, "'config'"),
    "deep config": ({"kernel": KERNEL, "config": "[" * 100_000}, "'config'"),
    "config a list": ({"kernel": KERNEL, "config": "[]"}, "list"),
    "config and strides": (
        {"kernel": KERNEL, "config": json.dumps(CONFIG), "strides": 1}, "strides"),
    "config without size": ({"kernel": KERNEL, "config": "{}"}, "kernel_size"),
    "config of other size": (
        {"kernel": KERNEL, "config": json.dumps(CONFIG | {"kernel_size": 10**12})}, "(3, 4, 1)"),
    "config of other multiplier": (
        {"kernel": KERNEL, "config": json.dumps(CONFIG | {"depth_multiplier": 2})}, "(3, 4, 2)"),
    "config with bias": (
        {"kernel": KERNEL, "config": json.dumps(CONFIG | {"use_bias": True})}, "use_bias=True"),
    "bias against config": (
        {"kernel": KERNEL, "bias": np.ones(4, np.float32), "config": json.dumps(CONFIG)},
        "use_bias=False"),
    "unknown class in config": (
        {"kernel": KERNEL, "config": json.dumps(CONFIG | {"activation": "os.system"})},
        "os.system"),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_bad_entries(tmp_path, name):
    entries, words = BAD_ENTRIES[name]
    path = tmp_path / "layer.npz"
    np.savez(path, **entries)
    with pytest.raises(ValueError) as caught:
        load_layer(path)
    assert str(path) in str(caught.value) and words in str(caught.value)


def npy(array, **options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def archive(path, *members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)


def npy_header(text: str) -> bytes:
    line = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line


def lying(shape: str, descr: str = "<f4") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}"
    return npy_header(header) + bytes(48)


HOSTILE = {
    "python objects": npy(np.array([{}], object), allow_pickle=True),
    "too many bytes declared": lying("(1000000000000,)"),
    "too few bytes declared": lying("(3,)"),
    "overflowing shape": lying("(4294967296, 4294967296, 4294967296)"),
    "negative shape": lying("(-3, -4)"),
    "huge item": lying("(1,)", "V2147483647"),
    "no header": b"",
    "not an array": b"hello",
    "code in the header": npy_header("__import__('os').abort()"),
    "version 9": b"\x93NUMPY\x09\x00" + bytes(100),
    "long header": b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b" " * 1000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_members(tmp_path, name):
    path = tmp_path / "layer.npz"
    archive(path, ("kernel.npy", HOSTILE[name]))
    with pytest.raises(ValueError, match="npz"):
        read_layer_file(path)


def test_hostile_archives(tmp_path):
    path = tmp_path / "layer.npz"
    archive(path, ("kernel.npy", npy(np.zeros(2**25, np.float32))),
            compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="expands"):
        read_arrays(path)
    with pytest.warns(UserWarning, match="Duplicate"):
        archive(path, ("kernel.npy", npy(KERNEL)), ("kernel.npy", npy(KERNEL)))
    with pytest.raises(ValueError, match="several members"):
        read_arrays(path)
    archive(path, ("../kernel.txt", b"text"))
    with pytest.raises(ValueError, match="not an array"):
        read_arrays(path)


def test_compressible_but_small_is_accepted(tmp_path):
    np.savez_compressed(tmp_path / "layer.npz", kernel=np.zeros((1000, 100, 10), np.float32))
    assert read_layer_file(tmp_path / "layer.npz").kernel.shape == (1000, 100, 10)


def test_any_damage_is_a_value_error_or_harmless(tmp_path):
    """Every truncation, and a seeded choice of flipped bytes."""
    path = tmp_path / "layer.npz"
    np.savez_compressed(path, kernel=KERNEL, strides=2)
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    damaged = [content[:length] for length in range(len(content))]
    for position in rng.permutation(len(content))[:300]:
        flipped = bytearray(content)
        flipped[position] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    raised = 0
    for case in damaged:
        path.write_bytes(case)
        try:
            layer_file = read_layer_file(path)
        except ValueError as error:
            raised += str(path) in str(error)
        else:
            # Harmless: the archive's redundant fields may differ, its checked content may not.
            np.testing.assert_array_equal(layer_file.kernel, KERNEL)
    assert raised > len(content), f"{raised=} of {len(damaged)}"


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.npz"):
        load_layer(tmp_path / "nothing.npz")
