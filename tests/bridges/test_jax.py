# SPDX-License-Identifier: BSD-3-Clause
"""dwconv.jax.depthwise_conv1d: the results and derivatives of JAX's own convolution, through its
transformations."""

import sys

import dwconv
import numpy as np
import pytest
from bridge_cases import BridgeCase, assert_close, random_cases
from child import run_child

jax = pytest.importorskip("jax", reason="jax is not installed: pip install 'dwconv[bridges]'")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)  # most of the time is compiling

import dwconv.jax as bridge  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

COMPARED = random_cases(20, seed=2)
CASES = [
    BridgeCase(sides=(1, 1)),
    BridgeCase(batch=1, multiplier=2, stride=2, sides=(2, 1), channels_last=True),
    BridgeCase(dilation=2, sides=(4, 0), bias=False),
]


def arrays(case):
    """x in the layout of the case, kernel (kernel_size, channels, multiplier), bias, dy."""
    x, weight, bias, dy = case.arrays()
    kernel = weight.reshape(case.channels, case.multiplier, case.kernel_size).transpose(2, 0, 1)
    if case.channels_last:
        x, dy = x.transpose(0, 2, 1), dy.transpose(0, 2, 1)
    return [None if a is None else jnp.asarray(a) for a in (x, kernel, bias, dy)]


def ours(case):
    def convolve(x, kernel, bias=None):
        return bridge.depthwise_conv1d(
            x, kernel, bias,
            strides=case.stride, padding=case.sides, dilation_rate=case.dilation,
            data_format="channels_last" if case.channels_last else "channels_first",
        )  # fmt: skip

    return convolve


def theirs(case):
    layout = ("NWC", "WIO", "NWC") if case.channels_last else ("NCW", "WIO", "NCW")

    def convolve(x, kernel, bias=None):
        taps, channels, multiplier = kernel.shape
        y = jax.lax.conv_general_dilated(
            x, kernel.reshape(taps, 1, channels * multiplier), (case.stride,), [case.sides],
            rhs_dilation=(case.dilation,), dimension_numbers=layout, feature_group_count=channels,
        )  # fmt: skip
        if bias is None:
            return y
        return y + (bias if case.channels_last else bias[:, None])

    return convolve


def scalar(function):
    return lambda *a: jnp.sin(function(*a)).sum()


def second_order(function, argnums):
    """Gradient of a function of all gradients."""
    gradients = jax.grad(scalar(function), argnums)
    return jax.grad(lambda *a: sum(jnp.cos(g).sum() for g in gradients(*a)), argnums)


def given(case):
    x, kernel, bias, _ = arrays(case)
    return (x, kernel) if bias is None else (x, kernel, bias)


def assert_trees_close(got, expected, tolerance=1e-11):
    got, expected = jax.tree.leaves(got), jax.tree.leaves(expected)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", COMPARED, ids=repr)
def test_results_and_gradients_are_those_of_lax(case):
    x, kernel, bias, dy = arrays(case)
    inputs = (x, kernel) if bias is None else (x, kernel, bias)
    y, pullback = jax.vjp(ours(case), *inputs)
    expected, exact_pullback = jax.vjp(theirs(case), *(a.astype(float) for a in inputs))
    assert_close(case, "y", y, expected, case.kernel_size + 1)
    sums = case.batch * case.out_steps
    terms = (case.kernel_size * case.multiplier, sums, sums)
    right = exact_pullback(dy.astype(float))
    for name, got, want, count in zip(("dx", "dkernel", "dbias"), pullback(dy), right, terms, strict=False):
        assert_close(case, name, got, want, count)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_first_and_second_derivatives(case):
    inputs = given(case)
    everything = tuple(range(len(inputs)))
    for order in (lambda f: jax.grad(scalar(f), everything), lambda f: second_order(f, everything)):
        expected = jax.jit(order(theirs(case)))(*inputs)
        assert_trees_close(order(ours(case))(*inputs), expected)
        assert_trees_close(jax.jit(order(ours(case)))(*inputs), expected)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_derivatives_of_each_subset(wanted):
    for order in (lambda f: jax.grad(scalar(f), wanted), lambda f: second_order(f, wanted)):
        got, expected = (jax.jit(order(f(CASES[1])))(*given(CASES[1])) for f in (ours, theirs))
        assert_trees_close(got, expected)


def test_third_derivative():
    case = CASES[0]

    def third(function):
        second = second_order(function, (0, 1))
        return jax.jit(jax.grad(lambda *a: sum((g**2).sum() for g in second(*a)), (0, 1)))(*given(case))

    assert_trees_close(third(ours(case)), third(theirs(case)), 1e-9)


def test_check_grads():
    check_grads(ours(CASES[1]), given(CASES[1]), order=2, modes=["rev"])


@pytest.mark.parametrize("mapped", [(0, None, None), (None, 0, None), (2, 1, 0), (None, None, 0), (1, None, 0)])
def test_vmap(mapped):
    case = CASES[1]
    inputs = [
        a if axis is None else jnp.stack([a * (1 + i) for i in range(3)], axis)
        for a, axis in zip(given(case), mapped, strict=True)
    ]
    assert_trees_close(*(jax.vmap(f(case), mapped)(*inputs) for f in (ours, theirs)))
    for order in (lambda f: jax.grad(scalar(f), (0, 1, 2)), lambda f: second_order(f, (0, 1, 2))):
        assert_trees_close(*(jax.jit(jax.vmap(order(f(case)), mapped))(*inputs) for f in (ours, theirs)))


def test_vmap_within_vmap():
    case = CASES[0]
    x, kernel, bias = given(case)
    xs = jnp.stack([x, 2 * x, 3 * x])
    kernels = jnp.stack([kernel, -kernel])
    twice = lambda f: jax.vmap(jax.vmap(f, (None, 0, None)), (0, None, None))(xs, kernels, bias)  # noqa: E731
    assert twice(ours(case)).shape[:2] == (3, 2)
    assert_trees_close(twice(ours(case)), twice(theirs(case)))
    inputs = lambda f: jax.vmap(jax.vmap(f, (0, None, None)), (0, None, None))(xs[None], kernel, bias)  # noqa: E731
    assert_trees_close(inputs(ours(case)), inputs(theirs(case)))


def test_only_the_gradients_that_are_needed_are_computed(monkeypatch):
    asked = []
    backward = bridge.depthwise_conv1d_backward
    monkeypatch.setattr(
        bridge,
        "depthwise_conv1d_backward",
        lambda *a, needs, **k: asked.append(needs) or backward(*a, needs=needs, **k),
    )
    for jit in (lambda f: f, jax.jit):
        for wanted in ((True, False, False), (False, True, False), (False, True, True), (True, True, True)):
            argnums = tuple(i for i, w in enumerate(wanted) if w)
            jax.block_until_ready(jit(jax.grad(scalar(ours(CASES[0])), argnums))(*given(CASES[0])))
            assert asked.pop() == wanted and not asked


def test_memory_is_read_and_written_in_place(monkeypatch):
    seen = []
    convolve = bridge.functional.depthwise_conv1d

    def spy(x, *rest, out, **options):
        seen.append((x.__array_interface__["data"][0], out.__array_interface__["data"][0], x.flags.writeable))
        return convolve(x, *rest, out=out, **options)

    monkeypatch.setattr(bridge.functional, "depthwise_conv1d", spy)
    x, kernel = jnp.ones((2, 500, 16)), jnp.ones((3, 16, 1))
    y = jax.jit(bridge.depthwise_conv1d)(x, kernel).block_until_ready()
    assert seen == [(x.unsafe_buffer_pointer(), y.unsafe_buffer_pointer(), False)]


@pytest.mark.parametrize("padding", ["valid", "same", "causal", (2, 1), [0, 3], (-1, 2)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_bits_are_those_of_dwconv(padding, data_format):
    rng = np.random.default_rng(0)
    x, kernel, bias = (rng.standard_normal(s).astype("float32") for s in ((2, 24, 24), (4, 24, 2), (48,)))
    options = dict(strides=3, padding=padding, dilation_rate=2, data_format=data_format)
    y = bridge.depthwise_conv1d(x, kernel, bias, **options)
    assert y.dtype == np.float32
    assert np.array_equal(y, dwconv.depthwise_conv1d(x, kernel, bias, method="direct", **options))


def test_same_is_jax_s_same():
    case = BridgeCase(steps=23, kernel_size=4, stride=3, channels_last=True)
    x, kernel, _ = given(case)
    expected = jax.lax.conv_general_dilated(
        x, kernel.reshape(4, 1, 4), (3,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=4
    )
    assert_trees_close(bridge.depthwise_conv1d(x, kernel, strides=3, padding="same"), expected)


def test_dtypes():
    x, kernel = np.ones((1, 9, 2)), np.ones((3, 2, 1), np.float32)
    assert bridge.depthwise_conv1d(x, kernel).dtype == np.float64
    assert bridge.depthwise_conv1d(x.astype("float32"), kernel).dtype == np.float32
    dx, dkernel = jax.grad(lambda *a: bridge.depthwise_conv1d(*a).sum(), (0, 1))(jnp.asarray(x), jnp.asarray(kernel))
    assert (dx.dtype, dkernel.dtype) == (np.float64, np.float32)


def test_without_x64_everything_is_float32():
    printed = run_child(
        """
        import jax, numpy as np, dwconv.jax
        x, kernel = np.ones((1, 9, 2)), np.ones((3, 2, 1))
        loss = lambda x, k: dwconv.jax.depthwise_conv1d(x, k, padding="same").sum()
        print(dwconv.jax.depthwise_conv1d(x, kernel).dtype, *jax.jit(jax.grad(loss))(x, kernel)[0, :, 0])
        """,
        prelude="",
        timeout=120,
    )
    assert printed.split() == ["float32", "2.0", *["3.0"] * 7, "2.0"]


def test_empty_batch():
    loss = lambda *a: bridge.depthwise_conv1d(*a, padding="same").sum()  # noqa: E731
    x, kernel = jnp.zeros((0, 9, 2)), jnp.ones((3, 2, 1))
    assert bridge.depthwise_conv1d(x, kernel).shape == (0, 7, 2)
    dx, dkernel = jax.grad(loss, (0, 1))(x, kernel)
    assert dx.shape == x.shape and not dkernel.any()


def test_loops():
    x, kernel = jnp.ones((1, 50, 4)), jnp.full((3, 4, 1), 1 / 3)

    @jax.jit
    def smooth(x, kernel):
        once = lambda c, _: (bridge.depthwise_conv1d(c, kernel, padding="same"), None)  # noqa: E731
        return jax.lax.scan(once, x, None, length=5)[0]

    expected = x
    for _ in range(5):
        expected = bridge.depthwise_conv1d(expected, kernel, padding="same")
    assert_trees_close(smooth(x, kernel), expected)
    case = BridgeCase(steps=50, sides=(1, 1), channels_last=True)
    scanned = lambda f: lambda k: jax.lax.scan(lambda c, _: (f(c, k), None), x, None, length=5)[0].sum()  # noqa: E731
    assert_trees_close(jax.grad(scanned(ours(case)))(kernel), jax.grad(scanned(theirs(case)))(kernel))


@pytest.mark.skipif(sys.platform != "linux", reason="needs sched_setaffinity")
def test_calls_in_flight_do_not_wait_for_each_other():
    """On one CPU, where callbacks that wait for JAX would wait for ever."""
    printed = run_child(
        """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import jax, jax.numpy as jnp, dwconv.jax
        x, kernel = jnp.ones((4, 2000, 64)), jnp.ones((9, 64, 1))
        function = jax.jit(lambda x: jnp.tanh(dwconv.jax.depthwise_conv1d(x, kernel, padding="same")))
        results = [function(x + i) for i in range(20)]
        print(float(sum(y.sum() for y in results)))
        """,
        prelude="",
        timeout=120,
    )
    assert float(printed) == 20 * 4 * 2000 * 64


def test_a_failure_inside_a_call_is_an_exception(monkeypatch):
    def fail(*arguments, **options):
        raise MemoryError("no memory for this test")

    monkeypatch.setattr(bridge.functional, "depthwise_conv1d", fail)
    with pytest.raises(Exception, match="MemoryError: no memory for this test"):
        jax.jit(bridge.depthwise_conv1d)(jnp.ones((1, 9, 2)), jnp.ones((3, 2, 1))).block_until_ready()


def test_forward_mode_is_refused():
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(ours(CASES[0]), given(CASES[0]), given(CASES[0]))


X, K, B = jnp.zeros((2, 20, 4)), jnp.zeros((3, 4, 2)), jnp.zeros(8)
BAD = [
    (TypeError, "`input` must have dtype", (X.astype("bfloat16"), K), {}),
    (TypeError, "`kernel` must have dtype", (X, K.astype(int)), {}),
    (ValueError, "`input` must have 3 dimensions", (X[0], K), {}),
    (ValueError, "`kernel` must have 3 dimensions", (X, K[0]), {}),
    (ValueError, "`input` must have as many channels", (X[..., :3], K), {}),
    (ValueError, "`bias` must have shape", (X, K, B[:4]), {}),
    (ValueError, "zero or negative", (X[:, :2], K), {}),
    (ValueError, "`strides` must be a positive integer", (X, K), {"strides": 0}),
    (TypeError, "`dilation_rate` must be a positive integer", (X, K), {"dilation_rate": 1.5}),
    (ValueError, "`padding` must be one of", (X, K), {"padding": "full"}),
    (TypeError, "`padding` must hold two integers", (X, K), {"padding": (1.0, 2)}),
    (ValueError, "`data_format` must be one of", (X, K), {"data_format": "NWC"}),
]


@pytest.mark.parametrize("error, message, arguments, options", BAD, ids=lambda v: v if isinstance(v, str) else "")
def test_bad_input_is_refused_when_traced(error, message, arguments, options):
    for function in (bridge.depthwise_conv1d, jax.jit(lambda *a: bridge.depthwise_conv1d(*a, **options))):
        with pytest.raises(error, match=message):
            function(*arguments, **(options if function is bridge.depthwise_conv1d else {}))
