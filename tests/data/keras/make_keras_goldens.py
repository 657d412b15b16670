# SPDX-License-Identifier: BSD-3-Clause
"""Compute the numeric golden files again from their stored inputs, with an installed Keras 3.

Reads ``cases.json``, ``cases.npz``, ``activations.npz``, ``extras.json`` and ``extras.npz`` beside
this script, writes ``cases.npz``, ``activations.npz``, ``extras.json`` and ``extras.npz`` of the
same form to another directory, and prints how far each new array is from the stored one. To add a
case, append it to ``cases.json``, add its inputs (``x``, ``kernel``, ``bias``, ``dy``) to
``cases.npz``, run this script and copy its output back.

Needs ``keras>=3`` and ``tensorflow`` or ``torch``, chosen as usual with ``KERAS_BACKEND``. The
stored values are those of TensorFlow; torch has other derivatives at some kinks (``hard_tanh``,
``selu``, ``celu``) and other values at infinities and NaN.
"""

import argparse
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROW_WISE = ("softmax", "log_softmax", "sparsemax", "glu")


def value_and_gradients(
    function: Callable, inputs: Sequence[np.ndarray], dy: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """``y = function(*inputs)`` and the gradients of ``sum(y * dy)`` to all inputs."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(array) for array in inputs]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            y = function(*tensors)
            total = tf.reduce_sum(y * tf.constant(dy))
        gradients = tape.gradient(total, tensors, unconnected_gradients="zero")
        return y.numpy(), [gradient.numpy() for gradient in gradients]
    if backend == "torch":
        import torch

        tensors = [torch.tensor(array, requires_grad=True) for array in inputs]
        y = function(*tensors)
        gradients = torch.autograd.grad((y * torch.tensor(dy)).sum(), tensors)
        return y.detach().numpy(), [gradient.numpy() for gradient in gradients]
    raise SystemExit(f"no automatic differentiation with the Keras backend {backend!r}")


def to_numpy(value: object) -> np.ndarray:
    """A Keras tensor as an array."""
    import keras

    return keras.ops.convert_to_numpy(value)


def run_case(case: Mapping, stored: Mapping[str, np.ndarray], width: str) -> dict[str, np.ndarray]:
    """Output and gradients of one layer; `width` is ``"32"`` or ``"64"``."""
    import keras

    dtype = "float" + width
    config = dict(case["config"])
    names = ["x", "kernel"] + (["bias"] if config["use_bias"] else [])
    inputs = {name: stored[f"{case['id']}/{name}"].astype(dtype) for name in [*names, "dy"]}
    # Keras on TensorFlow adds the bias along the wrong axis here (see README.md).
    transposed = case["tag"] == "square-channels-first"
    if transposed:
        config["data_format"] = "channels_last"
        for name in ("x", "dy"):
            inputs[name] = np.ascontiguousarray(np.swapaxes(inputs[name], 1, 2))
    layer = keras.layers.DepthwiseConv1D(**config, dtype=dtype)
    layer.build(inputs["x"].shape)

    def forward(x, *weights):
        return layer.stateless_call(list(weights), [], x)[0]

    y, gradients = value_and_gradients(forward, [inputs[name] for name in names], inputs["dy"])
    results = {"y": y} | {"d" + name: g for name, g in zip(names, gradients, strict=True)}
    if transposed:
        for name in ("y", "dx"):
            results[name] = np.swapaxes(results[name], 1, 2)
    return {name + width: np.ascontiguousarray(array) for name, array in results.items()}


def make_cases(cases: Sequence[Mapping], stored: Mapping) -> dict[str, np.ndarray]:
    """All of ``cases.npz``."""
    new = {}
    for case in cases:
        for name in ("x", "kernel", "bias", "dy"):
            key = f"{case['id']}/{name}"
            if key in stored:
                new[key] = stored[key]
        results = run_case(case, stored, "32") | run_case(case, stored, "64")
        for name, array in results.items():
            narrow = results[name[:-2] + "32"]
            left_out = case["kind"] == "grid" and name.endswith("64")
            if not (left_out and np.array_equal(array, narrow)):
                new[f"{case['id']}/{name}"] = array
    return new


def make_activations(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All of ``activations.npz``."""
    import keras

    new = {name: stored[name] for name in ("points", "rows", "special")}
    for name in dict.fromkeys(key.split("/")[0] for key in stored if "/" in key):
        function = keras.activations.get(name)
        for width in ("32", "64"):
            dtype = "float" + width
            if name in ROW_WISE:
                x, dy = stored["rows"].astype(dtype), stored[f"{name}/dy{width}"]
                new[f"{name}/dy{width}"] = dy
            else:
                x = stored["points"].astype(dtype)
                dy = np.ones_like(x)
                special = keras.ops.convert_to_tensor(stored["special"].astype(dtype))
                new[f"{name}/special{width}"] = to_numpy(function(special))
            new[f"{name}/y{width}"], (new[f"{name}/dx{width}"],) = value_and_gradients(
                function, [x], dy
            )
    return new


def make_extras(
    expected: Mapping, stored: Mapping[str, np.ndarray]
) -> tuple[dict, dict[str, np.ndarray]]:
    """The contents of ``extras.json`` and ``extras.npz``."""
    import keras

    w, b, x = stored["w"], stored["b"], stored["x"]
    document = json.loads(json.dumps(expected))
    arrays = {"w": w, "b": b, "x": x}
    for entry in document["constraints"]:
        constraint = getattr(keras.constraints, entry["class_name"])(**entry["kwargs"])
        entry["config"] = constraint.get_config()
        for name, weight in (("w32", w), ("w64", w.astype("float64")), ("b32", b)):
            key = f"{entry['key']}/{name}"
            if key in stored:
                arrays[key] = to_numpy(constraint(keras.ops.convert_to_tensor(weight)))
    for entry in document["regularizers"]:
        regularizer = getattr(keras.regularizers, entry["class_name"])(**entry["kwargs"])
        for name, weight in (("value_w", w), ("value_b", b)):
            tensor = keras.ops.convert_to_tensor(weight.astype("float64"))
            entry[name] = float(to_numpy(regularizer(tensor)))
    for entry in document["losses"]:
        layer = keras.layers.DepthwiseConv1D(**entry["kwargs"])
        layer.build(x.shape)
        layer.set_weights([w[:3], b])
        entry["after_build"] = [float(to_numpy(loss)) for loss in layer.losses]
        layer(x)
        entry["after_call"] = [float(to_numpy(loss)) for loss in layer.losses]
    return document, arrays


def report(name: str, new: Mapping[str, np.ndarray], stored: Mapping[str, np.ndarray]) -> None:
    """Print the arrays that are missing, and the largest differences from the stored ones."""
    print(f"{name}: {len(new)} arrays")
    for key in sorted(set(new) ^ set(stored)):
        print(f"  {key}: only in the {'new' if key in new else 'stored'} file")
    distances = {}
    for key in set(new) & set(stored):
        finite = np.isfinite(new[key]) & np.isfinite(stored[key])
        if not np.array_equal(new[key][~finite], stored[key][~finite], equal_nan=True):
            print(f"  {key}: NaN or infinity at other places")
        a, b = new[key][finite].astype("float64"), stored[key][finite].astype("float64")
        if a.size:
            distances[key] = np.max(np.abs(a - b)) / max(1.0, np.max(np.abs(b)))
    for key in sorted(distances, key=distances.get, reverse=True)[:10]:
        print(f"  {key}: {distances[key]:.2g}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=pathlib.Path, help="directory for the new files")
    directory = parser.parse_args(arguments).output
    directory.mkdir(parents=True, exist_ok=True)

    cases = json.loads((HERE / "cases.json").read_text())["cases"]
    expected = json.loads((HERE / "extras.json").read_text())
    names = ("cases", "activations", "extras")
    stored = {name: dict(np.load(HERE / f"{name}.npz")) for name in names}
    document, extras = make_extras(expected, stored["extras"])
    new = {
        "cases": make_cases(cases, stored["cases"]),
        "activations": make_activations(stored["activations"]),
        "extras": extras,
    }
    for name, arrays in new.items():
        np.savez_compressed(directory / f"{name}.npz", **arrays)
        report(f"{name}.npz", arrays, stored[name])
    (directory / "extras.json").write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
