# SPDX-License-Identifier: BSD-3-Clause
"""Streams: delays, arguments, errors, weights, memory and threads.  test_stream_histories.py has the random ones."""

import pickle
import sys
import threading
import tracemalloc

import dwconv
import numpy as np
import pytest
from dwconv import DepthwiseConv1D, DepthwiseConv1DStream, _core, depthwise_conv1d
from guarded import AVAILABLE, guarded_copy
from layer_helpers import built_layer
from stream_cases import StreamCase, same_bits

KERNEL = np.random.default_rng(5).standard_normal((5, 4, 1)).astype(np.float32)
X = np.random.default_rng(6).standard_normal((1, 40, 4)).astype(np.float32)


def in_chunks(stream, x, sizes, axis=1):
    """All outputs of a stream for x cut into chunks of these sizes, over and over."""
    outputs, at, i = [], 0, 0
    while at < x.shape[axis]:
        outputs.append(stream.push(x.take(range(at, min(at + sizes[i % len(sizes)], x.shape[axis])), axis)))
        at, i = at + sizes[i % len(sizes)], i + 1
    return np.concatenate([*outputs, stream.flush()], axis)


@pytest.mark.parametrize(
    ("padding", "dilation", "delay"),
    [
        ("causal", 1, 0), ("causal", 3, 0), ("valid", 1, 4), ("valid", 2, 8), ("same", 1, 2), ("same", 2, 4),
        ((4, 7), 1, 0), ((1, 0), 1, 3), ((-2, 0), 1, 6), ((4, -3), 1, 3), ((0, -3), 2, 11), ((6, 0), 1, -2),
    ],
)  # fmt: skip
def test_delay_is_the_distance_of_an_output_and_its_input(padding, dilation, delay):
    stream = DepthwiseConv1DStream(KERNEL, padding=padding, dilation_rate=dilation)
    assert stream.delay == delay
    assert stream.receptive_field == 4 * dilation + 1
    given = 0
    for step in range(20):
        given += stream.push(X[:, step : step + 1]).shape[1]
        assert given == max(step + 1 - delay, 0)


@pytest.mark.parametrize("strides", [2, 3])
def test_outputs_of_a_stride_come_on_time(strides):
    stream = DepthwiseConv1DStream(KERNEL, strides=strides, padding=(1, 2))
    when = [step for step in range(20) if stream.step(X[:, step]) is not None]
    assert when == [i * strides + stream.delay for i in range(len(when))]


LONG = [
    StreamCase(512, 31), StreamCase(512, 31, data_format="channels_first"), StreamCase(3, 31, batch=2),
    StreamCase(1, 400, padding="same"), StreamCase(64, 4, batch=2, padding=(3, -2), strides=2),
    StreamCase(20, 9, multiplier=3, dilation_rate=5, padding=(60, 80), activation="silu"),
    StreamCase(4096, 4, activation="silu"), StreamCase(5, 3, data_format="channels_first", padding=(-7, 4)),
]  # fmt: skip


@pytest.mark.parametrize("case", LONG, ids=str)
@pytest.mark.parametrize("sizes", [(16,), (1, 700), (150, 3), (64, 1, 64)], ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_long_sequences(case, sizes, threads):
    x = case.chunk(np.random.default_rng(1), 900)
    with dwconv.num_threads(threads):
        got = in_chunks(case.stream(), x, sizes, case.time_axis)
    expected = np.concatenate([case.one_call(x[b : b + 1]) for b in range(case.batch)])
    assert same_bits(got, expected), f"{case} {sizes=} {threads=}"


@pytest.mark.parametrize("isa", _core.isa_names())
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.skipif(not AVAILABLE, reason="no guard pages on this system")
def test_chunks_between_guard_pages(isa, data_format):
    rng = np.random.default_rng(8)
    for channels in (1, 3, 16, 21, 64, 70):
        for at_end in (False, True):
            case = StreamCase(channels, 5, padding="same", data_format=data_format, isa=isa, multiplier=2)
            x = case.chunk(rng, 90)
            stream, outputs = case.stream(), []
            cuts = (0, 1, 3, 20, 90)
            for lo, hi in zip(cuts, cuts[1:], strict=False):
                chunk = guarded_copy(x.take(range(lo, hi), case.time_axis), at_end=at_end)
                outputs.append(stream.push(chunk))
            got = np.concatenate([*outputs, stream.flush()], case.time_axis)
            assert same_bits(got, case.one_call(x)), f"{case} {at_end=}"


@pytest.mark.parametrize("strides", [2, 3, 4])
@pytest.mark.parametrize("steps", [1, 9, 10, 11, 12])
def test_same_padding_with_a_stride_needs_the_total(strides, steps):
    x = X[:, :steps]
    stream = DepthwiseConv1DStream(KERNEL, strides=strides, padding="same", total_steps=steps)
    expected = depthwise_conv1d(x, KERNEL, strides=strides, padding="same", method="direct")
    assert same_bits(in_chunks(stream, x, (3, 1)), expected)
    with pytest.raises(ValueError, match="total_steps.*pair"):
        DepthwiseConv1DStream(KERNEL, strides=strides, padding="same")


def test_same_padding_without_total_where_the_length_does_not_matter():
    kernel = KERNEL[:2]
    for steps in (1, 4, 5, 20):
        stream = DepthwiseConv1DStream(kernel, strides=2, padding="same")
        expected = depthwise_conv1d(X[:, :steps], kernel, strides=2, padding="same")
        assert same_bits(in_chunks(stream, X[:, :steps], (3,)), expected)


def test_another_length_than_the_total_is_an_error():
    stream = DepthwiseConv1DStream(KERNEL, strides=2, padding="same", total_steps=9)
    stream.push(X[:, :7])
    with pytest.raises(ValueError, match="total_steps=9.*received 7"):
        stream.flush()
    with pytest.raises(ValueError, match="total_steps=9.*received 10"):
        stream.push(X[:, :3])
    stream.push(X[:, 7:9])
    stream.flush()
    with pytest.raises(ValueError, match="`total_steps` has a meaning"):
        DepthwiseConv1DStream(KERNEL, total_steps=9)


BAD_CALLS = {
    "channels": (lambda s: s.push(X[:, :, :3]), r"\(1, steps, 4\), received chunk.shape=\(1, 40, 3\)"),
    "batch": (lambda s: s.push(np.concatenate([X, X])), r"received chunk.shape=\(2, 40, 4\)"),
    "rank": (lambda s: s.push(X[0]), r"received chunk.shape=\(40, 4\)"),
    "dtype": (lambda s: s.push(X.astype(float)), "float32, received chunk.dtype=float64"),
    "integers": (lambda s: s.push(X.astype(int)), "float32, received chunk.dtype=int64"),
    "frame shape": (lambda s: s.step(X[:, 0, :2]), r"\(1, 4\), received frame.shape=\(1, 2\)"),
    "frame rank": (lambda s: s.step(X[:, :1]), r"\(1, 4\), received frame.shape=\(1, 1, 4\)"),
    "frame dtype": (lambda s: s.step(X[:, 0].astype(float)), "received frame.dtype=float64"),
    "out shape": (lambda s: s.step(X[:, 0], np.empty((4,), "f")), r"shape .*\(1, 4\), received out.shape=\(4,\)"),
    "out dtype": (lambda s: s.step(X[:, 0], np.empty((1, 4))), "received out.dtype=float64"),
    "out read-only": (lambda s: s.step(X[:, 0], np.broadcast_to(np.float32(0), (1, 4))), "writable|overlap"),
    "index": (lambda s: s.reset(1), "from 0 to 0, received index=1"),
    "negative index": (lambda s: s.flush(-1), "received index=-1"),
    "index of another type": (lambda s: s.reset("0"), "received index='0'"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_say_what_was_expected_and_change_nothing(name):
    call, words = BAD_CALLS[name]
    stream = DepthwiseConv1DStream(KERNEL, padding="causal")
    stream.push(X[:, :7])
    before = pickle.dumps(stream.state)
    with pytest.raises(ValueError, match=words):
        call(stream)
    assert pickle.dumps(stream.state) == before


def test_overlapping_out_is_an_error():
    stream = DepthwiseConv1DStream(KERNEL, padding="causal")
    frame = X[:, 0].copy()
    before = pickle.dumps(stream.state)
    with pytest.raises(ValueError, match="overlap"):
        stream.step(frame, frame)
    assert pickle.dumps(stream.state) == before


def test_after_a_flush_only_reset_goes():
    stream = DepthwiseConv1DStream(KERNEL, batch_size=2, padding="same")
    x = np.concatenate([X, X])
    stream.push(x[:, :9])
    stream.flush(0)
    for call in (lambda: stream.push(x), lambda: stream.step(x[:, 0]), stream.flush, lambda: stream.flush(0)):
        with pytest.raises(ValueError, match="ended by a flush.*batch item 0"):
            call()
    stream.reset(0)
    assert stream.push(x[:, 9:20]).shape == (2, 11, 4)
    assert stream.new_steps.tolist() == [9, 11]


BAD_STATES = {
    "version": ({"version": 2}, "version=1, received version=2"),
    "kernel size": ({"kernel_size": 4}, "kernel_size=5, received kernel_size=4"),
    "padding": ({"padding": (2, 2)}, r"padding=\(4, 0\), received"),
    "data format": ({"data_format": "channels_first"}, "data_format='channels_last', received"),
    "history shape": ({"history": np.zeros((1, 3, 4), "f")}, r"\(1, 4, 4\).*received history of shape \(1, 3, 4\)"),
    "history dtype": ({"history": np.zeros((1, 4, 4))}, "dtype float32, received .* float64"),
    "history type": ({"history": None}, "received history of shape None"),
    "position": ({"position": np.array([-1])}, r"received position=\[-1\]"),
    "positions": ({"position": np.array([1, 2])}, r"position of shape \(1,\)"),
    "available": ({"available": np.array([5])}, r"available=\[5\]"),
    "more available than read": ({"position": np.array([1])}, r"available=\[4\]"),
    "flushed": ({"flushed": np.array([0])}, "flushed of shape .* dtype bool"),
    "key": ({"more": 1}, "keys"),
}


@pytest.mark.parametrize("name", BAD_STATES)
def test_bad_states(name):
    change, words = BAD_STATES[name]
    stream = DepthwiseConv1DStream(KERNEL, padding="causal")
    stream.push(X[:, :7])
    state = stream.state
    before = pickle.dumps(state)
    with pytest.raises(ValueError, match=words):
        stream.state = {**state, **change}
    with pytest.raises(ValueError, match="received NoneType"):
        stream.state = None
    del state["position"]
    with pytest.raises(ValueError, match="keys"):
        stream.state = state
    assert pickle.dumps(stream.state) == before


BAD_ARGUMENTS = {
    "kernel rank": ({"kernel": KERNEL[0]}, ValueError, "3 dimensions"),
    "kernel dtype": ({"kernel": KERNEL.astype(int)}, TypeError, "float32 or float64"),
    "bias": ({"bias": KERNEL[0, :3, 0]}, ValueError, "`bias`"),
    "batch_size": ({"batch_size": 0}, ValueError, "batch_size=0"),
    "batch_size type": ({"batch_size": 1.0}, TypeError, "batch_size=1.0"),
    "strides": ({"strides": 0}, ValueError, "strides=0"),
    "padding": ({"padding": "full"}, ValueError, "'full'"),
    "data_format": ({"data_format": "NWC"}, ValueError, "'NWC'"),
    "activation": ({"activation": "nothing"}, ValueError, "nothing"),
    "activation along the steps": (
        {"activation": "softmax", "data_format": "channels_first"}, ValueError, "must not mix time steps",
    ),
    "dilation": ({"dilation_rate": 2**62}, ValueError, "63 bits|too large"),
    "memory": ({"dilation_rate": 2**50}, MemoryError, "bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_arguments(name):
    arguments, error, words = BAD_ARGUMENTS[name]
    with pytest.raises(error, match=words):
        DepthwiseConv1DStream(**{"kernel": KERNEL, **arguments})


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_layers_stream_with_their_weights(data_format):
    layer = built_layer(4, kernel_size=5, padding="same", activation="tanh", data_format=data_format, depth_multiplier=2)
    layer.method = "direct"
    x, axis = (X, 1) if data_format == "channels_last" else (np.ascontiguousarray(X.transpose(0, 2, 1)), 2)
    streams = [layer.stream(), layer.stream()]
    for stream in streams:
        assert same_bits(in_chunks(stream, x, (7, 2), axis), layer(x))
    layer.set_weights([2 * w for w in layer.get_weights()])
    for stream in streams:
        stream.reset()
        assert same_bits(in_chunks(stream, x, (7, 2), axis), layer(x))
    copy = pickle.loads(pickle.dumps(stream))
    copy.reset()
    assert same_bits(in_chunks(copy, x, (9,), axis), layer(x))


def test_streams_copy_no_weights():
    kernel = np.ones((64, 512, 1))
    stream = DepthwiseConv1DStream(kernel)
    tracemalloc.start()
    streams = [DepthwiseConv1DStream(kernel) for _ in range(20)]
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 20 * 10_000 and len(streams) == 20
    kernel[:] = 2
    assert stream.push(np.ones((1, 64, 512))).ravel().tolist() == [128.0] * 512


def test_layers_that_cannot_stream():
    with pytest.raises(ValueError, match="must be built"):
        DepthwiseConv1D(3).stream()

    class Own(DepthwiseConv1D):
        def call(self, inputs):
            return inputs

    with pytest.raises(TypeError, match="overrides `call`"):
        built_layer(layer_class=Own).stream()


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_activations_in_python(data_format):
    x, axis = (X, 1) if data_format == "channels_last" else (np.ascontiguousarray(X.transpose(0, 2, 1)), 2)
    options = dict(padding="causal", data_format=data_format, activation=np.cos)
    expected = depthwise_conv1d(x, KERNEL, method="direct", **options)
    assert same_bits(in_chunks(DepthwiseConv1DStream(KERNEL, **options), x, (7, 2), axis), expected)
    stream = DepthwiseConv1DStream(KERNEL, **options)
    out = np.empty((1, 8), np.float32)[:, ::2]
    assert stream.step(X[:, 0], out) is out
    second = stream.step(X[:, 1])
    assert np.array_equal(np.stack([out, second], axis), expected.take(range(2), axis))


def test_an_activation_that_fails_leaves_the_stream_unchanged():
    def fussy(y):
        if np.isnan(y).any():
            raise ArithmeticError("NaN")
        return y

    stream = DepthwiseConv1DStream(KERNEL, padding="same", activation=fussy)
    stream.push(X[:, :9])
    before, counts = pickle.dumps(stream.state), stream.new_steps
    bad = np.full((1, 3, 4), np.nan, np.float32)
    for call in (lambda: stream.push(bad), lambda: stream.step(bad[:, 0])):
        with pytest.raises(ArithmeticError):
            call()
    assert pickle.dumps(stream.state) == before and np.array_equal(stream.new_steps, counts)
    stream.push(X[:, 9:])
    expected = depthwise_conv1d(X, KERNEL, padding="same")
    assert same_bits(stream.flush(), expected[:, -2:])


def test_any_array_is_a_chunk():
    expected = depthwise_conv1d(X, KERNEL, padding="causal")
    for chunk in (
        X[:, ::-1][:, ::-1], np.asfortranarray(X), X.astype(">f4"), np.repeat(X, 2, 2)[:, :, ::2], X.tolist(),
        np.frombuffer(b"x" + X.tobytes(), np.uint8)[1:].view("f").reshape(X.shape),
    ):  # fmt: skip
        stream = DepthwiseConv1DStream(KERNEL, padding="causal")
        if isinstance(chunk, list):
            with pytest.raises(ValueError, match="dtype"):
                stream.push(chunk)
        else:
            assert same_bits(stream.push(chunk), expected)
    wide = np.zeros((2, 8, 4), np.float32)
    wide[:, ::4] = X[:, :2].transpose(1, 0, 2).reshape(2, 1, 4)
    stream = DepthwiseConv1DStream(KERNEL, batch_size=2, padding="causal")
    out = np.zeros((2, 9), np.float32)
    stream.step(wide[:, 0], out[:, 2:6])
    assert same_bits(out[:, 2:6].copy(), DepthwiseConv1DStream(KERNEL, batch_size=2, padding="causal").step(X[0, :2]))
    assert not out[:, :2].any() and not out[:, 6:].any()


@pytest.mark.parametrize("activation", [None, "silu"])
def test_a_step_allocates_nothing(activation):
    kernel = np.ones((4, 1536, 1), np.float32)
    stream = DepthwiseConv1DStream(kernel, padding="causal", activation=activation)
    frame, out = np.ones((1, 1536), np.float32), np.empty((1, 1536), np.float32)
    for _ in range(100):
        stream.step(frame, out)
    blocks = sys.getallocatedblocks()
    tracemalloc.start()
    stream.step(frame, out)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        stream.step(frame, out)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The buffer protocol of NumPy borrows some hundred bytes for the time of a call.
    assert after - before < 200 and peak - before < 1000
    assert abs(sys.getallocatedblocks() - blocks) < 20


def test_a_stream_belongs_to_one_thread_at_a_time():
    kernel = np.ones((64, 512, 1), np.float32)
    stream = DepthwiseConv1DStream(kernel, padding="causal")
    x = np.ones((1, 4000, 512), np.float32)
    refused, done = [], []

    def work():
        for _ in range(10):
            try:
                stream.push(x)
                done.append(1)
            except RuntimeError as error:
                assert "another thread" in str(error)
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) + len(done) == 30 and done
    assert stream.state["position"].tolist() == [4000 * len(done)]


def test_streams_in_many_threads():
    layer = built_layer(40, kernel_size=31, padding="same")
    layer.method = "direct"
    x = np.random.default_rng(3).standard_normal((1, 500, 40)).astype(np.float32)
    expected, results = layer(x), []

    def work(size):
        results.append(same_bits(in_chunks(layer.stream(), x, (size,)), expected))

    threads = [threading.Thread(target=work, args=(size,)) for size in (1, 2, 7, 16, 100, 333)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 6
