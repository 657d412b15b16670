# SPDX-License-Identifier: BSD-3-Clause
"""Calling the layer: which inputs it takes, what comes out, and which inputs it refuses how."""

import dwconv
import numpy as np
import pytest
import reference
from dwconv import DepthwiseConv1D
from layer_helpers import X, assert_same_state, built_layer, state_of
from numpy.testing import assert_allclose


def expected(layer, x):
    return reference.depthwise_conv1d(
        x,
        layer.kernel,
        layer.bias,
        strides=layer.strides[0],
        padding=layer.padding,
        dilation_rate=layer.dilation_rate[0],
        data_format=layer.data_format,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"strides": 2, "padding": "same"},
        {"dilation_rate": 2, "depth_multiplier": 2},
        {"use_bias": False, "kernel_size": 1},
        {"kernel_size": 20, "padding": "same"},
    ],
)
def test_result_is_that_of_the_specification(dtype, data_format, arguments):
    layer = built_layer(dtype=dtype, data_format=data_format, **arguments)
    x = X.astype(dtype) if data_format == "channels_last" else X.astype(dtype).transpose(0, 2, 1)
    y = layer(x)
    want = expected(layer, x)
    assert y.dtype == dtype and y.shape == want.shape == layer.compute_output_shape(x.shape)
    assert_allclose(y, want, atol=1e-5 if dtype == "float32" else 1e-13)
    assert np.array_equal(layer.call(x), y)
    assert np.array_equal(layer(x, training=True), y)
    assert np.array_equal(layer(inputs=x, training=False), y)


def test_first_call_builds():
    layer = DepthwiseConv1D(3)
    layer(X)
    assert layer.built and layer.kernel.shape == (3, 3, 1)
    assert layer.get_build_config() == {"input_shape": (2, 9, 3)}
    assert layer(X[:1, :5]).shape == (1, 3, 3)  # other batch sizes and lengths are fine


@pytest.mark.parametrize("activation", ["relu", "gelu", "softmax", "linear", None])
def test_activation(activation):
    layer = built_layer(activation=activation, data_format="channels_first")
    x = X.transpose(0, 2, 1)
    z = expected(layer, x)
    assert_allclose(layer(x), dwconv.activations.get(activation)(z), atol=1e-5)


def test_activation_may_be_changed_later():
    layer = built_layer(activation="relu")
    layer.activation = dwconv.activations.tanh
    assert_allclose(layer(X), np.tanh(expected(layer, X)), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [np.float16, np.float32, np.float64, np.longdouble, ">f4", ">f8"])
def test_floating_inputs_are_cast_to_the_compute_dtype(dtype, given):
    layer = built_layer(dtype=dtype)
    x = X.astype(given)
    assert layer(x).dtype == dtype
    assert np.array_equal(layer(x), layer(x.astype(dtype)))


def test_bfloat16_inputs_are_known_by_name():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    layer = built_layer()
    x = X.astype(ml_dtypes.bfloat16)
    assert np.array_equal(layer(x), layer(x.astype(np.float32)))


def test_casting_ignores_the_error_state_of_numpy():
    layer = built_layer(kernel_size=1, depthwise_initializer="ones", bias_initializer="zeros")
    with np.errstate(all="raise"):
        y = layer(np.full((1, 1, 3), 1e300))
    assert np.all(np.isposinf(y))


@pytest.mark.parametrize("before", ["unbuilt", "built"])
@pytest.mark.parametrize("given", [np.float64, np.float16])
def test_without_autocast_other_types_are_refused(before, given):
    layer = DepthwiseConv1D(3, autocast=False)
    if before == "built":
        layer(X)
    with pytest.raises(TypeError, match="dtype.*autocast=False|autocast=False.*dtype") as caught:
        layer(X.astype(given))
    assert np.dtype(given).name in str(caught.value)
    assert layer(X).dtype == np.float32
    assert np.array_equal(layer(X.astype(">f4")), layer(X))  # the same type


class WithArray:
    def __array__(self, dtype=None, copy=None):
        return X


class WithDLPack:
    def __dlpack__(self, **options):
        return X.__dlpack__()

    def __dlpack_device__(self):
        return X.__dlpack_device__()


class Subclass(np.ndarray):
    pass


ARRAYS = {
    "F-order": np.asfortranarray(X),
    "negative strides": X[::-1, ::-1, ::-1][::-1, ::-1, ::-1],
    "every second": np.repeat(X, 2, axis=1)[:, ::2],
    "transposed": np.ascontiguousarray(X.transpose(2, 1, 0)).transpose(2, 1, 0),
    "byteswapped": X.astype(">f4"),
    "unaligned": np.frombuffer(b"x" + X.tobytes(), "f4", offset=1).reshape(X.shape),
    "subclass": X.view(Subclass),
    "masked array without a masked element": np.ma.masked_array(X),
    "__array__": WithArray(),
    "__dlpack__": WithDLPack(),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_any_array_gives_the_same_bits(name):
    layer = built_layer(padding="same")
    want = layer(X)
    y = layer(ARRAYS[name])
    assert type(y) is np.ndarray and y.flags.c_contiguous and y.flags.owndata
    assert np.array_equal(y, want)


def test_zero_strides_readonly_and_memmap(tmp_path):
    layer = built_layer(padding="same")
    broadcast = np.broadcast_to(X[:1], X.shape)
    assert np.array_equal(layer(broadcast), layer(broadcast.copy()))
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.array_equal(layer(mapped), layer(X))
    assert type(layer(mapped)) is np.ndarray


BAD_INPUTS = [
    (None, TypeError, ["input", "NoneType"]),
    ("text", TypeError, ["input", "str"]),
    (b"text", TypeError, ["input", "bytes"]),
    ({}, TypeError, ["input", "dict"]),
    ({1.0}, TypeError, ["input", "set"]),
    (object(), TypeError, ["input", "dtype", "object"]),
    (X.tolist(), ValueError, ["input", "list"]),
    ([[1.0], [2.0, 3.0]], ValueError, ["input", "list"]),
    ((X,), ValueError, ["input", "tuple"]),
    (3.0, ValueError, ["input", "float"]),
    (3, ValueError, ["input", "int"]),
    (np.float32(3), ValueError, ["3 dimensions", "()"]),
    (X[0], ValueError, ["3 dimensions", "(9, 3)"]),
    (X[0, 0], ValueError, ["3 dimensions", "(3,)"]),
    (X[None], ValueError, ["3 dimensions", "(1, 2, 9, 3)"]),
    (X[..., :0], ValueError, ["channel", "(2, 9, 0)"]),
    (X[:, :2], ValueError, ["output size", "2", "kernel_size=3", "dilation_rate=1"]),
    (X[:, :0], ValueError, ["output size", "0", "kernel_size=3", "dilation_rate=1"]),
    (X.astype(np.int32), TypeError, ["dtype", "int32"]),
    (X.astype(np.uint8), TypeError, ["dtype", "uint8"]),
    (X > 0, TypeError, ["dtype", "bool"]),
    (X.astype(np.complex64), TypeError, ["dtype", "complex64"]),
    (X.astype("U4"), TypeError, ["dtype", "U4"]),
    (X.astype(np.int64).astype("M8[s]"), TypeError, ["dtype", "datetime64"]),
    (np.zeros((2, 9, 3), [("a", "f4")]), TypeError, ["dtype", "'a'"]),
    (X.astype(object), TypeError, ["dtype", "object"]),
    (np.ma.masked_less(X, 0), TypeError, ["mask"]),
]


@pytest.mark.parametrize("first", [True, False], ids=["first call", "built"])
@pytest.mark.parametrize("row", BAD_INPUTS, ids=lambda row: f"{row[2]}")
def test_bad_input(row, first):
    value, error, parts = row
    layer = DepthwiseConv1D(3) if first else built_layer()
    before = state_of(layer)
    with pytest.raises(error) as caught:
        layer(value)
    missing = [part for part in parts if part not in str(caught.value)]
    assert not missing, f"{missing} not in {caught.value}"
    assert_same_state(layer, before)
    assert np.allclose(layer(X), expected(layer, X), atol=1e-5)


def test_masks_and_other_arguments_are_refused():
    layer = DepthwiseConv1D(3)
    before = state_of(layer)
    for call in (
        lambda: layer(X, mask=np.ones((2, 9), bool)),
        lambda: layer(X, None),
        lambda: layer(),
    ):
        with pytest.raises(TypeError):
            call()
        assert_same_state(layer, before)


def test_errors_of_the_callers_objects_are_passed_on():
    class Failing:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("no array today")

    layer = built_layer()
    with pytest.raises(RuntimeError, match="no array today"):
        layer(Failing())

    def failing(outputs):
        raise ZeroDivisionError("activation")

    layer = DepthwiseConv1D(3, activation=failing)
    before = state_of(layer)
    with pytest.raises(ZeroDivisionError):
        layer(X)
    assert_same_state(layer, before)
    layer.activation = None
    layer(X)


def test_call_needs_a_built_layer():
    with pytest.raises(ValueError, match="not built"):
        DepthwiseConv1D(3).call(X)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_channels_than_built(channels):
    for layer, axis in ((built_layer(), -1), (built_layer(data_format="channels_first"), 1)):
        x = np.ones((2, 9, channels) if axis == -1 else (2, channels, 9), np.float32)
        with pytest.raises(ValueError, match="channel") as caught:
            layer(x)
        assert f"axis {axis}" in str(caught.value) and "value 3" in str(caught.value)
        assert str(x.shape) in str(caught.value)


def test_rank_4_after_rank_3():
    layer = built_layer()
    layer(X)
    with pytest.raises(ValueError, match="3 dimensions"):
        layer(X[:, None])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("arguments", "batch", "steps"),
    [({}, 0, 9), ({"strides": 2}, 0, 9), ({"padding": "same"}, 0, 0), ({"padding": "same"}, 2, 0)],
)
def test_empty_inputs_give_empty_outputs(data_format, arguments, batch, steps):
    layer = DepthwiseConv1D(3, depth_multiplier=2, data_format=data_format, **arguments)
    shape = (batch, steps, 3) if data_format == "channels_last" else (batch, 3, steps)
    for _ in range(2):  # first call and later ones
        y = layer(np.zeros(shape, np.float32))
        assert y.size == 0 and y.shape == layer.compute_output_shape(shape)


def test_nan_and_infinity_stay_within_their_windows():
    layer = built_layer(depth_multiplier=2, padding="same", dilation_rate=2)
    kernel, bias = layer.get_weights()
    kernel[1, 1] = 0  # a zero weight is not skipped: 0 * inf is NaN
    layer.set_weights([kernel, bias])
    clean = layer(X)
    for poison in (np.nan, np.inf):
        x = X.copy()
        x[1, 4, 1] = poison
        y = layer(x)
        touched = np.zeros(y.shape, bool)
        touched[1, [2, 4, 6], 2:4] = True
        assert np.array_equal(y[~touched], clean[~touched])
        assert not np.isfinite(y[touched]).any()
        assert np.isnan(y[1, 4, 2:4]).all()


def test_infinite_weights_over_padding_add_nothing():
    layer = built_layer(padding="same", use_bias=False)
    kernel = layer.get_weights()[0]
    kernel[0] = np.inf  # the left tap, which has no input at the first step
    layer.set_weights([kernel])
    y = layer(np.ones((1, 4, 3), np.float32))
    assert np.isfinite(y[:, 0]).all() and np.isposinf(y[:, 1:]).all()


def test_inputs_weights_and_results_never_share_memory():
    for arguments in ({}, {"kernel_size": 1, "use_bias": False, "activation": "linear"}):
        layer = built_layer(**arguments)
        x = X.copy()
        y = layer(x)
        again = layer(x)
        arrays = [x, y, again, *layer.get_weights(), *(v.value for v in layer.weights)]
        for i, a in enumerate(arrays):
            assert not any(np.shares_memory(a, b) for b in arrays[:i])
        assert np.array_equal(x, X)
        y[:] = 0
        assert np.array_equal(layer(x), again)


def test_outputs_too_large_are_a_memory_error():
    layer = DepthwiseConv1D(1, depth_multiplier=2**21)
    x = np.ones((2**11, 2**13, 1), np.float32)  # the output would fill the address space
    with pytest.raises(MemoryError, match=str(2**47)) as caught:
        layer(x)
    assert str((2**11, 2**13, 2**21)) in str(caught.value)
    assert not layer.built
    assert layer(x[:1, :1]).shape == (1, 1, 2**21)


def test_compute_output_spec_and_mask():
    layer = DepthwiseConv1D(3, dtype="float64", depth_multiplier=2)
    spec = layer.compute_output_spec(X)
    assert (spec.shape, spec.dtype, spec.ndim) == ((2, 7, 6), "float64", 3)
    assert layer.compute_output_spec(spec).shape == (2, 5, 12)
    assert not layer.built
    mask = np.ones((2, 9), bool)
    assert layer.compute_mask(X, mask) is mask and layer.compute_mask(X) is None
    assert spec == layer.compute_output_spec(X) and hash(spec) == hash(layer.compute_output_spec(X))
    assert spec != X.shape and "float64" in repr(spec)
