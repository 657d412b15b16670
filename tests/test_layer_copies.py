# SPDX-License-Identifier: BSD-3-Clause
"""Pickle, copy and deepcopy of the layer, and pickles that somebody has changed."""

import copy
import pickle

import numpy as np
import pytest
from dwconv import DepthwiseConv1D, activations
from dwconv.variable import Variable, WeightGroup
from layer_helpers import X, assert_same_state, built_layer, state_of

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)
DUPLICATES = {
    "deepcopy": copy.deepcopy,
    **{f"pickle {p}": lambda x, p=p: pickle.loads(pickle.dumps(x, p)) for p in PROTOCOLS},
}


@pytest.mark.parametrize("how", DUPLICATES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_built_layer(how, dtype):
    layer = built_layer(
        dtype=dtype,
        activation="relu",
        depthwise_regularizer="l2",
        bias_constraint="non_neg",
        activity_regularizer="l1",
        name="dw",
    )
    y = layer(X)
    twin = DUPLICATES[how](layer)
    assert np.array_equal(twin(X), y) and twin(X).dtype == dtype
    assert twin.get_config() == layer.get_config() and twin.losses == layer.losses
    assert twin.get_build_config() == layer.get_build_config()
    assert twin.activation is activations.relu
    assert twin.kernel.regularizer is twin.depthwise_regularizer
    assert repr(twin) == repr(layer)
    twin.set_weights([w + 1 for w in twin.get_weights()])
    assert np.array_equal(layer(X), y), "the copy has weights of its own"
    with pytest.raises(ValueError, match="read-only"):
        twin.kernel.value[:] = 0
    with pytest.raises(ValueError, match="already built"):
        twin.build(X.shape)


@pytest.mark.parametrize("how", DUPLICATES)
def test_unbuilt_layer(how):
    layer = DepthwiseConv1D(3, data_format="channels_first", trainable=False, autocast=False)
    twin = DUPLICATES[how](layer)
    assert not twin.built and not twin.trainable and not twin.autocast
    assert twin.get_config() == layer.get_config()
    layer.build((None, 2, None))
    twin.build((None, 2, None))
    assert np.array_equal(twin.kernel, layer.kernel), "the seed is copied too"


def test_16_bit_layer():
    assert (
        copy.deepcopy(DepthwiseConv1D(3, dtype="mixed_float16")).dtype_policy.name
        == "mixed_float16"
    )


def test_shallow_copy_shares_weights():
    layer = built_layer()
    twin = copy.copy(layer)
    layer.bias.assign([1, 2, 3])
    assert np.array_equal(twin.bias, [1, 2, 3]) and np.array_equal(twin(X), layer(X))


def bias_of_other_dtype(state):
    state["_weight_group"] = WeightGroup([state["_kernel"].numpy(), np.zeros(3, np.float64)])
    rebind(state)


def rebind(state):
    group = state["_weight_group"]
    state["_kernel"], state["_bias"] = (state[key].in_group(group) for key in ("_kernel", "_bias"))
    state["_trainable_variables"] = (state["_kernel"], state["_bias"])


def other_kernel_shape(state):
    state["_weight_group"] = WeightGroup([np.zeros((3, 4, 1), np.float32), state["_bias"].numpy()])
    rebind(state)


def index_out_of_range(state):
    state["_kernel"].index = 7


def negative_index(state):
    state["_kernel"].index = -1


def foreign_kernel(state):
    state["_kernel"] = Variable(
        WeightGroup([np.zeros((3, 3, 1), np.float32)]), 0, name="k", path="k"
    )


TAMPERED = {
    "kernel_size": lambda state: state.update(kernel_size=(0,)),
    "kernel_size of other weights": lambda state: state.update(kernel_size=(4,)),
    "strides": lambda state: state.update(strides=(2**64,)),
    "strides with dilation": lambda state: state.update(strides=(2,), dilation_rate=(2,)),
    "padding": lambda state: state.update(padding="causal"),
    "data_format": lambda state: state.update(data_format=3),
    "data_format of other weights": lambda state: state.update(data_format="channels_first"),
    "depth_multiplier": lambda state: state.update(depth_multiplier=-1),
    "depth_multiplier of other weights": lambda state: state.update(depth_multiplier=2),
    "activation": lambda state: state.update(activation=3),
    "initializer": lambda state: state.update(bias_initializer=3),
    "use_bias": lambda state: state.update(use_bias=False),
    "name": lambda state: state.update(_name="a/b"),
    "dtype": lambda state: state.update(_dtype_policy="int8"),
    "dtype of other weights": lambda state: state.update(_dtype_policy="float64"),
    "missing": lambda state: state.pop("kernel_size"),
    "missing built": lambda state: state.pop("built"),
    "missing weights": lambda state: state.pop("_weight_group"),
    "build shape": lambda state: state.update(_build_shape=(1, 2, 0)),
    "build shape of other weights": lambda state: state.update(_build_shape=(None, None, 4)),
    "no build shape": lambda state: state.update(_build_shape=None),
    "weights": lambda state: state.update(_weight_group=[1, 2]),
    "variables": lambda state: state.update(_trainable_variables=(1, 2)),
    "no variables": lambda state: state.update(_trainable_variables=()),
    "kernel": lambda state: state.update(_kernel=None),
    "foreign kernel": foreign_kernel,
    "exchanged": lambda state: state.update(_kernel=state["_bias"], _bias=state["_kernel"]),
    "index": index_out_of_range,
    "negative index": negative_index,
    "bias dtype": bias_of_other_dtype,
    "kernel shape": other_kernel_shape,
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampered_state(how):
    layer = built_layer()
    state = copy.deepcopy(layer).__dict__
    TAMPERED[how](state)
    victim = built_layer(kernel_size=5)
    before = state_of(victim)
    with pytest.raises(ValueError, match="state of a DepthwiseConv1D is damaged"):
        victim.__setstate__(state)
    assert_same_state(victim, before)
    assert victim(X).shape == (2, 5, 3)


@pytest.mark.parametrize("state", [None, 3, [], {}, "state"], ids=repr)
def test_state_of_another_type(state):
    with pytest.raises(ValueError, match="damaged"):
        built_layer().__setstate__(state)


@pytest.mark.parametrize(
    "state", [None, [np.ones(3)], ("a",), (np.ones(3, int),), (np.ones(3, object),)], ids=repr
)
def test_tampered_arrays(state):
    group = WeightGroup([np.ones(3)])
    with pytest.raises(ValueError, match="float32 or float64"):
        group.__setstate__(state)
    assert len(group.arrays) == 1


def test_a_pickle_that_was_edited():
    data = pickle.dumps(built_layer())
    assert data.count(b"channels_last") == 1
    with pytest.raises(ValueError, match="damaged.*data_format"):
        pickle.loads(data.replace(b"channels_last", b"channels_none"))
