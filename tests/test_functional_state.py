# SPDX-License-Identifier: BSD-3-Clause
"""`state` and `return_state` of depthwise_conv1d: chunks that hand on the state equal one call."""

import numpy as np
import pytest
from cases import scaled
from dwconv import depthwise_conv1d
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_cases import StreamCase, same_bits

KERNEL = np.random.default_rng(5).standard_normal((5, 4, 1)).astype(np.float32)
X = np.random.default_rng(6).standard_normal((2, 40, 4)).astype(np.float32)


@settings(max_examples=scaled(60))
@given(st.data())
def test_handing_on_the_state_equals_one_call(data):
    draw = data.draw
    padding = draw(st.sampled_from(("causal", "valid")))
    case = StreamCase(
        channels=draw(st.sampled_from((1, 3, 20, 64))), kernel_size=draw(st.sampled_from((1, 2, 4, 9))),
        batch=draw(st.sampled_from((1, 3))), multiplier=draw(st.sampled_from((1, 2))), padding=padding,
        strides=draw(st.sampled_from((1, 2, 3))) if padding == "causal" else 1,
        dilation_rate=draw(st.sampled_from((1, 3))), dtype=draw(st.sampled_from(("float32", "float64"))),
        data_format=draw(st.sampled_from(("channels_last", "channels_first"))), bias=draw(st.booleans()),
        activation=draw(st.sampled_from((None, "silu"))), seed=draw(st.integers(0, 50)),
    )  # fmt: skip
    kernel, bias = case.weights()
    axis, rng = case.time_axis, np.random.default_rng(case.seed)
    options = dict(
        strides=case.strides, padding=padding, dilation_rate=case.dilation_rate, data_format=case.data_format,
        activation=case.activation,
    )  # fmt: skip
    chunks = [case.chunk(rng, case.strides * n) for n in draw(st.lists(st.integers(0, 30), min_size=1, max_size=6))]
    state, outputs = None, []
    for i, chunk in enumerate(chunks):
        y, state = depthwise_conv1d(chunk, kernel, bias, **options, state=state, return_state=True)
        outputs.append(y)
        whole = np.concatenate(chunks[: i + 1], axis)
        kept = min(whole.shape[axis], (case.kernel_size - 1) * case.dilation_rate)
        assert same_bits(state, whole.take(range(whole.shape[axis] - kept, whole.shape[axis]), axis)), case
    expected = np.concatenate([case.one_call(np.ascontiguousarray(whole[b : b + 1])) for b in range(case.batch)])
    assert same_bits(np.concatenate(outputs, axis), expected), f"{case} {[c.shape for c in chunks]}"


def test_a_state_alone():
    y = depthwise_conv1d(X[:, 4:], KERNEL, padding="valid", state=X[:, :4])
    assert same_bits(y, depthwise_conv1d(X, KERNEL))
    out = np.empty((2, 36, 8), np.float32)[:, :, ::2]
    assert depthwise_conv1d(X[:, 4:], KERNEL, padding="causal", state=X[:, :4], out=out) is out
    assert same_bits(out.copy(), y)


def test_zeros_are_inputs_and_an_absent_state_is_none():
    kernel = np.full((3, 1, 1), np.inf)
    x = np.ones((1, 2, 1))
    assert depthwise_conv1d(x, kernel, padding="causal", return_state=True)[0].ravel().tolist() == [np.inf, np.inf]
    with np.errstate(all="ignore"):
        assert np.isnan(depthwise_conv1d(x, kernel, padding="causal", state=np.zeros((1, 2, 1)))).all()


def test_an_empty_batch():
    y, state = depthwise_conv1d(X[:0], KERNEL, padding="causal", return_state=True, state=X[:0, :4])
    assert y.shape == (0, 40, 4) and state.shape == (0, 4, 4)


BAD = {
    "padding": (dict(padding="same"), "padding='same'"),
    "valid with a stride": (dict(padding="valid", strides=2), "strides=2"),
    "method": (dict(method="fft"), "method='fft'"),
    "steps": (dict(strides=3), r"\(2, 40, 4\), strides=3"),
    "channels": (dict(state=X[:, :4, :3]), r"\(2, 4 or fewer, 4\).*received state.shape=\(2, 4, 3\)"),
    "length": (dict(state=X[:, :5]), r"received state.shape=\(2, 5, 4\)"),
    "batch": (dict(state=X[:1, :4]), r"received state.shape=\(1, 4, 4\)"),
    "rank": (dict(state=X[0, :4]), r"received state.shape=\(4, 4\)"),
    "dtype": (dict(state=X[:, :4].astype(float)), "float32, received state.dtype=float64"),
    "lengths": (dict(lengths=[3, 4]), "cannot be combined"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_states(name):
    options, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        depthwise_conv1d(X, KERNEL, **{"padding": "causal", "return_state": True, **options})
