# SPDX-License-Identifier: BSD-3-Clause
"""Depthwise 1-D convolution for CPUs: a fast C core and a drop-in for Keras's DepthwiseConv1D."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dwconv import activations
from dwconv._version import __version__
from dwconv.functional import depthwise_conv1d
from dwconv.threads import get_num_threads, num_threads, set_num_threads

if TYPE_CHECKING:
    from dwconv import (
        activation_gradients,
        config,
        constraints,
        initializers,
        optimizers,
        regularizers,
    )
    from dwconv.causal_conv1d import causal_conv1d_fn, causal_conv1d_update, causal_conv_with_state
    from dwconv.causal_layer import CausalDepthwiseConv1D
    from dwconv.diagnostics import show_config
    from dwconv.gradients import depthwise_conv1d_backward
    from dwconv.layer import DepthwiseConv1D
    from dwconv.layer_serialization import deserialize, serialize
    from dwconv.npz import load_layer, save_layer
    from dwconv.random import set_random_seed
    from dwconv.sequences import output_lengths
    from dwconv.stream import DepthwiseConv1DStream

__all__ = [
    "CausalDepthwiseConv1D",
    "DepthwiseConv1D",
    "DepthwiseConv1DStream",
    "__version__",
    "activation_gradients",
    "activations",
    "causal_conv1d_fn",
    "causal_conv1d_update",
    "causal_conv_with_state",
    "config",
    "constraints",
    "depthwise_conv1d",
    "depthwise_conv1d_backward",
    "deserialize",
    "get_include",
    "get_num_threads",
    "initializers",
    "load_layer",
    "num_threads",
    "optimizers",
    "output_lengths",
    "regularizers",
    "save_layer",
    "serialize",
    "set_num_threads",
    "set_random_seed",
    "show_config",
]

# Imported when first asked for, so that those who only filter do not wait for what only layers need.
_LATER = {
    "CausalDepthwiseConv1D": "causal_layer",
    "DepthwiseConv1D": "layer",
    "DepthwiseConv1DStream": "stream",
    "causal_conv1d_fn": "causal_conv1d",
    "causal_conv1d_update": "causal_conv1d",
    "causal_conv_with_state": "causal_conv1d",
    "depthwise_conv1d_backward": "gradients",
    "deserialize": "layer_serialization",
    "load_layer": "npz",
    "output_lengths": "sequences",
    "save_layer": "npz",
    "serialize": "layer_serialization",
    "set_random_seed": "random",
    "show_config": "diagnostics",
}
_MODULES_LATER = (
    "activation_gradients",
    "config",
    "constraints",
    "initializers",
    "optimizers",
    "regularizers",
)


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES_LATER:
        return import_module(f"dwconv.{name}")
    if name in _LATER:
        value = getattr(import_module(f"dwconv.{_LATER[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'dwconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def get_include() -> str:
    """Directory of ``dwconv.h``, for compiling C or Cython code against it.

    Returns
    -------
    str
        The installed directory, or that of the source tree in an editable installation.
    """
    import os

    package = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(package, "include")
    if os.path.exists(os.path.join(installed, "dwconv.h")):
        return installed
    return os.path.join(os.path.dirname(package), "src_c", "include")
