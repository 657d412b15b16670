# SPDX-License-Identifier: BSD-3-Clause
"""Record ``training.json`` and ``training.npz`` from an installed Keras 3 on TensorFlow.

The files hold what the training of dwconv is compared with: gradients of layers with regularizers,
activations with arguments at their kinks, and steps of optimizers. Keras 3.15.1 on TensorFlow 2.21
made the stored ones; the tests need neither. Run it as ``python make_training_goldens.py FOLDER``.
"""

import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

LAYERS = [
    {"depthwise_regularizer": {"l2": 0.25}},
    {"depthwise_regularizer": {"l1": 0.125}, "bias_regularizer": {"l2": 0.5}},
    {"depthwise_regularizer": {"l1": 0.125, "l2": 0.25}, "activity_regularizer": {"l2": 0.5}},
    {"activity_regularizer": {"l1": 0.25}, "activation": "relu"},
    {
        "activity_regularizer": {"l1": 0.25, "l2": 0.125},
        "bias_regularizer": {"l1": 0.5},
        "activation": "tanh",
        "strides": 2,
        "depth_multiplier": 2,
    },
    {"activation": "softmax", "activity_regularizer": {"l2": 2.0}, "dilation_rate": 2},
    {
        "activation": "log_softmax",
        "data_format": "channels_first",
        "depthwise_regularizer": {"l2": 0.25},
        "use_bias": False,
    },
    {"activation": "glu", "depth_multiplier": 2, "activity_regularizer": {"l1": 0.5}},
    {"activation": "selu", "trainable": False, "activity_regularizer": {"l2": 0.5}},
]

POINTS = [-2, -1, -0.5, -0.25, -0.0, 0, 0.25, 0.5, 1, 1.5, 2, 3, 5, 6, 7]
ACTIVATIONS = [
    ["relu", {"max_value": 5.0}],
    ["relu", {"max_value": 6.0}],
    ["relu", {"negative_slope": 0.125}],
    ["leaky_relu", {"negative_slope": 0.25}],
    ["elu", {"alpha": 0.5}],
    ["gelu", {"approximate": True}],
    ["soft_shrink", {"threshold": 1.0}],
    ["hard_shrink", {"threshold": 1.0}],
    ["threshold", {"threshold": 1.0, "default_value": 0.5}],
    ["squareplus", {"b": 1.0}],
]

# But for the defaults, numbers that Keras does not change when it keeps them in float32.
OPTIMIZERS = [
    ["SGD", {"learning_rate": 0.125}],
    ["SGD", {"learning_rate": 0.125, "momentum": 0.875}],
    ["SGD", {"learning_rate": 0.125, "momentum": 0.875, "nesterov": True}],
    ["SGD", {"learning_rate": 0.125, "weight_decay": 0.25, "clipvalue": 0.5}],
    ["SGD", {"learning_rate": 0.125, "momentum": 0.5, "clipnorm": 1.5}],
    ["SGD", {"learning_rate": 0.125, "global_clipnorm": 2.0}],
    ["Adam", {"learning_rate": 0.0625}],
    ["Adam", {"learning_rate": 0.0625, "beta_1": 0.75, "beta_2": 0.875, "epsilon": 0.001}],
    ["Adam", {"learning_rate": 0.0625, "amsgrad": True, "beta_1": 0.5, "beta_2": 0.5}],
    [
        "Adam",
        {
            "learning_rate": 0.0625,
            "beta_1": 0.5,
            "beta_2": 0.75,
            "weight_decay": 0.5,
            "global_clipnorm": 1.0,
        },
    ],
    ["AdamW", {"learning_rate": 0.0625}],
    ["AdamW", {"learning_rate": 0.0625, "weight_decay": 0.25, "clipnorm": 1.0}],
]
CONSTRAINTS = [None, None, "MaxNorm", "NonNeg"]
STEPS = 6


def layer_arguments(config, dtype):
    arguments = {"kernel_size": 3, "padding": "same", "dtype": dtype, **config}
    for key, coefficients in config.items():
        if key.endswith("regularizer"):
            arguments[key] = keras.regularizers.L1L2(**coefficients)
    return arguments


def record_layers(rng, arrays):
    for i, config in enumerate(LAYERS):
        first = config.get("data_format") == "channels_first"
        x = rng.standard_normal((3, 2, 8) if first else (3, 8, 2)).astype("float32")
        for width in ("32", "64"):
            dtype = "float" + width
            layer = keras.layers.DepthwiseConv1D(**layer_arguments(config, dtype))
            layer.build(x.shape)
            if width == "32":
                weights = [rng.standard_normal(w.shape).astype("float32") for w in layer.weights]
            layer.set_weights(weights)
            tensors = [tf.constant(x.astype(dtype)), *(w.value for w in layer.trainable_weights)]
            with tf.GradientTape() as tape:
                tape.watch(tensors[0])
                y = layer(tensors[0])
                if width == "32":
                    dy = rng.standard_normal(y.shape).astype("float32")
                losses = layer.losses
                total = tf.reduce_sum(y * dy.astype(dtype)) + tf.add_n([0 * y[0, 0, 0], *losses])
            gradients = tape.gradient(total, tensors)
            arrays[f"layer{i}/losses{width}"] = np.array([float(loss) for loss in losses])
            arrays[f"layer{i}/y{width}"] = y.numpy()
            for j, gradient in enumerate(gradients):
                arrays[f"layer{i}/g{j}_{width}"] = gradient.numpy()
        arrays |= {f"layer{i}/x": x, f"layer{i}/dy": dy}
        for j, weight in enumerate(weights):
            arrays[f"layer{i}/w{j}"] = weight
    return arrays


def record_activations(arrays):
    arrays["points"] = np.array(POINTS)
    for i, (name, arguments) in enumerate(ACTIVATIONS):
        x = tf.constant(arrays["points"], "float64")
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = getattr(keras.activations, name)(x, **arguments)
        arrays[f"activation{i}"] = tape.gradient(y, x).numpy()
    return arrays


def record_optimizers(rng, arrays):
    shapes = [(3, 2, 2), (4,)]
    for j, shape in enumerate(shapes):
        arrays[f"start{j}"] = rng.standard_normal(shape).astype("float32")
        gradients = rng.standard_normal((STEPS, *shape)).astype("float32")
        gradients[2] *= 100
        gradients[4] = 0
        arrays[f"gradients{j}"] = gradients
    configurations = []
    for i, (name, arguments) in enumerate(OPTIMIZERS):
        constraint = CONSTRAINTS[i % len(CONSTRAINTS)]
        for width in ("32", "64"):
            dtype = "float" + width
            variables = [keras.Variable(arrays[f"start{j}"], dtype=dtype) for j in (0, 1)]
            if constraint:
                variables[0].constraint = getattr(keras.constraints, constraint)()
            optimizer = getattr(keras.optimizers, name)(**arguments)
            recorded = [[], []]
            for step in range(STEPS):
                if step == 3:
                    optimizer.learning_rate = arguments["learning_rate"] / 2
                gradients = [arrays[f"gradients{j}"][step].astype(dtype) for j in (0, 1)]
                optimizer.apply(gradients, variables)
                for j in (0, 1):
                    recorded[j].append(variables[j].numpy())
            for j in (0, 1):
                arrays[f"optimizer{i}/v{j}_{width}"] = np.array(recorded[j])
        configurations.append(
            {
                "class_name": name,
                "kwargs": arguments,
                "constraint": constraint,
                "serialized": keras.optimizers.serialize(optimizer),
            }
        )
    return configurations


def main(folder):
    rng = np.random.default_rng(20)
    arrays = record_activations(record_layers(rng, {}))
    optimizers = record_optimizers(rng, arrays)
    np.savez_compressed(folder / "training.npz", **arrays)
    document = {
        "generator": f"keras {keras.version()} on tensorflow {tf.__version__}",
        "layers": LAYERS,
        "activations": ACTIVATIONS,
        "optimizers": optimizers,
    }
    (folder / "training.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
