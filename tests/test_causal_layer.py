# SPDX-License-Identifier: BSD-3-Clause
"""CausalDepthwiseConv1D: what it computes, and that it can be stored like its parent."""

import copy
import json
import pickle

import dwconv
import numpy as np
import pytest
from dwconv import CausalDepthwiseConv1D, DepthwiseConv1D, depthwise_conv1d
from layer_helpers import X, built_layer
from stream_cases import same_bits

OPTIONS = [{}, {"strides": 2, "dilation_rate": 3}, {"data_format": "channels_first", "depth_multiplier": 2, "activation": "silu"}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_outputs_and_their_shape(options):
    layer = built_layer(layer_class=CausalDepthwiseConv1D, **options)
    x = X.transpose(0, 2, 1) if layer.data_format == "channels_first" else X
    function = {k: v for k, v in options.items() if k != "depth_multiplier"}
    expected = depthwise_conv1d(x, layer.kernel.numpy(), layer.bias.numpy(), padding="causal", **function)
    y = layer(x)
    assert same_bits(y, expected) and layer.compute_output_shape(x.shape) == y.shape
    stream = layer.stream(2)
    assert stream.delay == 0
    halves = np.split(x, [4], 1 if layer.data_format == "channels_last" else 2)
    assert same_bits(np.concatenate([stream.push(half) for half in halves], stream_axis(layer)), y)


def stream_axis(layer):
    return 1 if layer.data_format == "channels_last" else 2


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_way_to_store_it(options, tmp_path):
    layer = built_layer(layer_class=CausalDepthwiseConv1D, **options)
    x = X.transpose(0, 2, 1) if layer.data_format == "channels_first" else X
    assert type(layer.from_config(json.loads(json.dumps(layer.get_config())))) is CausalDepthwiseConv1D
    stored = dwconv.serialize(layer)
    assert stored["module"] == "dwconv" and stored["registered_name"] is None
    again = dwconv.deserialize(json.loads(json.dumps(stored)))
    again.set_weights(layer.get_weights())
    dwconv.save_layer(tmp_path / "layer.npz", layer)
    for twin in (again, dwconv.load_layer(tmp_path / "layer.npz"), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(twin) is CausalDepthwiseConv1D
        assert twin.get_config() == layer.get_config()
        assert same_bits(twin(x), layer(x))


def test_as_the_activation_of_another_layer():
    inner = CausalDepthwiseConv1D(2)
    outer = DepthwiseConv1D.from_config(DepthwiseConv1D(3, activation=inner).get_config())
    assert type(outer.activation) is CausalDepthwiseConv1D


def test_names_and_signature():
    import inspect

    assert CausalDepthwiseConv1D(3).name.startswith("causal_depthwise_conv1d")
    own, parent = (inspect.signature(c.__init__).parameters for c in (CausalDepthwiseConv1D, DepthwiseConv1D))
    assert list(own) == list(parent)
    assert {k for k in own if own[k].default != parent[k].default} == {"padding"}


@pytest.mark.parametrize("padding", ["valid", "same", (1, 2), None])
def test_other_paddings_are_refused(padding):
    with pytest.raises(ValueError, match="padding"):
        CausalDepthwiseConv1D(3, padding=padding)
    with pytest.raises(ValueError, match="causal"):
        DepthwiseConv1D(3, padding="causal")


def test_command_line_operation(tmp_path):
    from dwconv.cli.operation import read_operation

    layer = built_layer(layer_class=CausalDepthwiseConv1D, strides=2, dilation_rate=2)
    dwconv.save_layer(tmp_path / "layer.npz", layer)
    operation = read_operation(tmp_path / "layer.npz", lambda data_format: 3)
    assert (operation.padding, operation.stride, operation.dilation) == ("causal", 2, 2)
