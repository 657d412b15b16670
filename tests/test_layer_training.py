# SPDX-License-Identifier: BSD-3-Clause
"""Training calls: what is remembered and for how long, what is refused, what stays as it was."""

import copy
import functools
import pickle

import dwconv
import numpy as np
import pytest
from dwconv import DepthwiseConv1D, activations, constraints
from layer_helpers import (
    DY,
    X,
    assert_equal_gradients,
    assert_same_state,
    built_layer,
    state_of,
)
from numpy.testing import assert_allclose
from test_layer_threads import in_threads


def everything_regularized(**arguments):
    objects = {
        "depthwise_regularizer": "l2",
        "bias_regularizer": "l1",
        "activity_regularizer": "l2",
        "activation": "tanh",
    }
    return built_layer(**(objects | arguments))


def test_backward_is_the_pullback_of_the_last_training_call():
    layer = everything_regularized()
    y, pullback = layer.vjp(X)
    dx, gradients = pullback(DY)
    assert np.array_equal(layer(X, training=True), y)
    layer(2 * X)  # other calls do not disturb it
    layer(2 * X, training=False)
    got = layer.backward(DY)
    assert len(got) == 3
    assert_equal_gradients((got[0], list(got[1:])), (dx, gradients))
    layer(2 * X, training=True)
    layer(X, training=True)
    without = layer.backward(DY, losses=False)
    assert_equal_gradients((without[0], list(without[1:])), pullback(DY, losses=False))
    assert not np.allclose(without[1], gradients[0])


def test_backward_needs_a_training_call():
    layer = DepthwiseConv1D(3, name="dw")
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"`backward` of layer 'dw'.*training=True"):
            layer.backward(DY)
        layer(X)
    layer(X, training=True)
    layer.backward(DY)
    with pytest.raises(RuntimeError, match="training=True"):
        layer.backward(DY)


def test_a_call_is_held_until_backward_and_its_memory_for_the_next_call():
    layer = built_layer()
    plain = set(layer.__dict__)
    layer(X)
    layer(X, training=False)
    assert set(layer.__dict__) == plain
    places = set()
    for _ in range(3):
        layer(X, training=True)
        assert set(layer.__dict__) == plain | {"_pullback", "_input_memory"}
        places.add(layer._pullback._inputs.ctypes.data)
        layer.backward(DY)
        assert set(layer.__dict__) == plain | {"_input_memory"}
    assert len(places) == 1
    layer(X[:1], training=True)
    assert layer._pullback._inputs.shape == X[:1].shape


def test_memory_of_a_pullback_in_use_is_not_taken():
    layer = built_layer(activation="tanh")
    x = [X, 2 * X, 3 * X]
    want = [layer.vjp(part)[1](DY) for part in x]
    pullbacks = [layer.vjp(part)[1] for part in x]
    for pullback, gradients in zip(pullbacks, want, strict=True):
        assert_equal_gradients(pullback(DY), gradients)


@pytest.mark.parametrize(
    ("dy", "error", "message"),
    [
        (DY[:1], ValueError, r"`dy` must have the shape of the outputs, \(2, 7, 3\).*\(1, 7, 3\)"),
        (DY[0], ValueError, r"shape of the outputs, \(2, 7, 3\).*\(7, 3\)"),
        (DY[..., None], ValueError, r"\(2, 7, 3\).*\(2, 7, 3, 1\)"),
        (np.float32(1), ValueError, r"\(2, 7, 3\).*\(\)"),
        (DY.astype(int), TypeError, "`dy` must hold floating numbers.*int64"),
        (DY * 1j, TypeError, "`dy` must hold floating numbers.*complex64"),
        (DY > 0, TypeError, "bool"),
        (None, TypeError, "dy.*NoneType"),
        ("dy", TypeError, "dy.*str"),
        (np.ma.masked_array(DY, DY > 0), TypeError, "masked"),
    ],
)
def test_a_bad_dy_changes_nothing(dy, error, message):
    layer = everything_regularized()
    want = layer.vjp(X)[1](DY)
    layer(X, training=True)
    before = state_of(layer)
    with pytest.raises(error, match=message):
        layer.backward(dy)
    assert_same_state(layer, before)
    dx, *gradients = layer.backward(DY)  # still remembered
    assert_equal_gradients((dx, gradients), want)


@pytest.mark.parametrize("given", ["f8", ">f4", "f2", "strided", "list", "readonly"])
def test_dy_is_cast_as_inputs_are(given):
    layer = built_layer(activation="tanh")
    dy = DY.astype("f2").astype("f4")
    want = layer.vjp(X)[1](dy)
    other = {
        "strided": np.repeat(dy, 2, axis=1)[:, ::2],
        "list": dy.astype(float).tolist(),
        "readonly": np.frombuffer(dy.tobytes(), "f4").reshape(dy.shape),
    }
    other = other[given] if given in other else dy.astype(given)
    assert_equal_gradients(layer.vjp(X)[1](other), want)
    layer.autocast = False
    if given in ("f8", "f2", "list"):
        with pytest.raises(TypeError, match="autocast=False `dy` must have dtype float32"):
            layer.vjp(X)[1](other)
    else:
        assert_equal_gradients(layer.vjp(X)[1](other), want)


def test_pullback_keeps_what_the_call_has_seen():
    layer = everything_regularized(activity_regularizer="l1", activation="relu")
    x = X.copy()
    y, pullback = layer.vjp(x)
    want = pullback(DY)
    kept_y = y.copy()
    x[:] = 7
    y[:] = 7
    layer.set_weights([np.ones((3, 3, 1)), np.ones(3)])
    layer.activation = activations.tanh
    layer.activity_regularizer = None
    layer.kernel.regularizer = None
    layer.trainable = False
    dy = DY.copy()
    assert_equal_gradients(pullback(dy), want)
    assert np.array_equal(dy, DY)
    assert_equal_gradients(pullback(DY), want)  # any number of times
    assert not np.array_equal(layer(X), kept_y)


def test_linear_layers_do_not_share_memory_with_their_outputs():
    layer = built_layer(activity_regularizer="l2", kernel_size=1)
    x = X.copy()
    y, pullback = layer.vjp(x)
    dx, _ = pullback(np.zeros_like(y))
    assert not np.shares_memory(x, y)
    y[:] = 0
    assert np.array_equal(pullback(np.zeros_like(y))[0], dx) and np.any(dx)


def test_trainable():
    layer = everything_regularized()
    dx, (dkernel, dbias) = layer.vjp(X)[1](DY)
    layer.kernel.trainable = False
    assert_equal_gradients(layer.vjp(X)[1](DY), (dx, [dbias]))
    layer(X, training=True)
    assert len(layer.backward(DY)) == 2
    layer.trainable = False
    assert_equal_gradients(layer.vjp(X)[1](DY), (dx, []))
    layer(X, training=True)
    assert len(layer.backward(DY)) == 1
    layer.trainable = True
    assert_equal_gradients(layer.vjp(X)[1](DY), (dx, [dkernel, dbias]))
    layer = built_layer(use_bias=False)
    assert len(layer.vjp(X)[1](DY)[1]) == 1


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("shape", [(0, 9), (2, 0), (0, 0)])
def test_empty_axes_give_zeros(shape, data_format):
    batch, steps = shape
    layer = everything_regularized(
        padding="same", data_format=data_format, activity_regularizer="l1", depth_multiplier=2
    )
    channels_last = data_format == "channels_last"
    x = np.ones((batch, steps, 3) if channels_last else (batch, 3, steps), np.float32)
    y, pullback = layer.vjp(x)
    dx, gradients = pullback(np.ones_like(y), losses=False)
    assert y.size == 0 and dx.shape == x.shape
    assert [g.shape for g in gradients] == [w.shape for w in layer.weights]
    assert not any(np.any(g) for g in gradients)
    _, (dkernel, dbias) = pullback(np.ones_like(y))
    assert_allclose(dkernel, 0.02 * layer.kernel, rtol=1e-6)
    assert_allclose(dbias, 0.01 * np.sign(layer.bias), rtol=1e-6)


def test_what_is_not_finite_spreads_as_far_as_the_taps():
    layer = built_layer(channels=3, activation="tanh")
    dy = DY.copy()
    dy[1, 2, 1] = np.nan
    dx, (dkernel, dbias) = layer.vjp(X)[1](dy)
    reached = np.zeros(dx.shape, bool)
    reached[1, 2:5, 1] = True
    assert np.array_equal(np.isnan(dx), reached)
    assert np.isnan(dkernel[:, 1]).all() and np.isfinite(dkernel[:, ::2]).all()
    assert np.array_equal(np.isnan(dbias), [False, True, False])
    x = X.copy()
    x[0, 0, 2] = np.nan
    dx, (dkernel, dbias) = layer.vjp(x)[1](DY)
    assert np.isnan(dkernel[0, 2]) and np.isnan(dbias[2]) and np.isfinite(dbias[:2]).all()


def test_first_calls_build():
    for first in (
        lambda layer: layer.vjp(X)[0],
        lambda layer: layer(X, training=True),
        lambda layer: layer(X.astype("f8"), training=np.True_),
    ):
        layer = DepthwiseConv1D(3, activity_regularizer="l2")
        y = first(layer)
        assert layer.built and np.array_equal(y, layer(X)) and len(layer.losses) == 1
    assert len(layer.backward(DY)) == 3


def test_a_failing_first_call_builds_nothing():
    for first in (lambda layer: layer.vjp(X), lambda layer: layer(X, training=True)):
        layer = DepthwiseConv1D(3, activation=Failing())
        before = state_of(layer)
        with pytest.raises(ZeroDivisionError):
            first(layer)
        assert_same_state(layer, before)
        assert not layer.built


class Failing:
    def __call__(self, z):
        raise ZeroDivisionError

    def gradient(self, z, dy):
        return dy


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X[0], ValueError, "3 dimensions"),
        (X[..., :2], ValueError, "channel axis"),
        (X[:, :2], ValueError, "output size"),
        (X.astype(int), TypeError, "floating"),
        (X.tolist(), ValueError, "must be an array"),
    ],
)
def test_bad_inputs_change_nothing(x, error, message):
    layer = everything_regularized()
    layer(X, training=True)
    before, losses = state_of(layer), layer.losses
    for call in (layer.vjp, functools.partial(layer, training=True)):
        with pytest.raises(error, match=message):
            call(x)
        assert_same_state(layer, before)
        assert layer.losses == losses


def test_losses_of_training_calls():
    layer = everything_regularized()
    layer(X)
    want = layer.losses
    layer(2 * X)
    layer.vjp(X)
    assert layer.losses == want and len(want) == 3
    layer(2 * X, training=True)
    assert layer.losses != want
    layer(X, training=True)
    assert layer.losses == want


def through_pickle(layer):
    return pickle.loads(pickle.dumps(layer))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, through_pickle])
def test_copies_do_not_remember_the_call(duplicate):
    layer = built_layer()
    layer(X, training=True)
    twin = duplicate(layer)
    with pytest.raises(RuntimeError, match="training=True"):
        twin.backward(DY)
    assert len(layer.backward(DY)) == 3
    assert np.array_equal(twin(X), layer(X))


def test_stateless_calls_leave_the_memory():
    layer = built_layer()
    layer(X, training=True)
    want = layer.vjp(X)[1](DY)
    layer.stateless_call(layer.get_weights(), [], 2 * X, training=True)
    dx, *gradients = layer.backward(DY)
    assert_equal_gradients((dx, gradients), want)


def test_threads_that_use_vjp():
    layer = everything_regularized()
    inputs = [np.float32(i + 1) * X for i in range(4)]
    want = [layer.vjp(x)[1](DY) for x in inputs]

    def work(i):
        for _ in range(50):
            assert_equal_gradients(layer.vjp(inputs[i])[1](DY), want[i])

    in_threads(4, work)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_thread_counts_and_data_formats_do_not_change_a_bit(dtype):
    x = np.random.default_rng(13).standard_normal((3, 400, 40)).astype(dtype)
    first, last = (
        everything_regularized(
            channels=40, data_format=data_format, dtype=dtype, kernel_size=9, padding="same"
        )
        for data_format in ("channels_first", "channels_last")
    )
    first.set_weights(last.get_weights())
    results = []
    for threads in (1, 2, 5):
        with dwconv.num_threads(threads):
            y, pullback = last.vjp(x)
            results.append((y, *pullback(2 * x)))
            swapped = np.ascontiguousarray(x.swapaxes(1, 2))
            y, pullback = first.vjp(swapped)
            dx, gradients = pullback(2 * swapped)
            results.append((y.swapaxes(1, 2), dx.swapaxes(1, 2), gradients))
    for y, dx, gradients in results[1:]:
        assert np.array_equal(y, results[0][0]) and np.array_equal(dx, results[0][1])
        assert all(map(np.array_equal, gradients, results[0][2]))


def test_apply_constraints():
    layer = built_layer(
        depthwise_constraint=constraints.MaxNorm(0.5), bias_constraint="non_neg", dtype="float64"
    )
    layer.set_weights([np.full((3, 3, 1), 2.0), [-1.0, 0.0, 1.0]])
    before = layer.get_weights()
    assert_allclose(layer.get_weights()[0], before[0])
    layer.bias.trainable = False
    layer.apply_constraints()
    assert_allclose(np.linalg.norm(layer.kernel.value, axis=0), 0.5, rtol=1e-6)
    assert np.array_equal(layer.bias, before[1])
    layer.trainable = True
    layer.apply_constraints()
    assert np.array_equal(layer.bias, [0, 0, 1])
    layer.bias.constraint = lambda w: w[:1]
    state = state_of(layer)
    with pytest.raises(ValueError, match=r"expected shape=\(3,\).*\(1,\)"):
        layer.apply_constraints()
    assert_same_state(layer, state)
    DepthwiseConv1D(3).apply_constraints()  # nothing to do
    built_layer().apply_constraints()
