# SPDX-License-Identifier: BSD-3-Clause
"""The gradients of every instruction set against a model of their rounding, between guard pages.

With fused multiply-add they must equal `gradient_chains` bit for bit, without the same chains with
two roundings; so each kind is equal among itself, for all thread counts.
"""

import chains
import gradient_chains
import numpy as np
import pytest
from cases import DTYPES, LAYOUTS, Case, assert_bits, leave_trace, pick, random_case, scaled
from dwconv import _core
from guarded import AVAILABLE, Guarded, guarded_copy
from test_kernels import element_strides, every_isa, plan_of
from tolerances import input_gradient_bound, weight_gradient_bound

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="needs mprotect")

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
both_layouts = pytest.mark.parametrize("data_format", LAYOUTS)

GAPS = ((0, 0), (0, 0), (0, 3), (5, 0), (7, 2))


def gradient_of_output(case, exponents=0):
    """dy of a case, channels_last."""
    rng = np.random.default_rng([case.seed, 7])
    shape = (case.batch, case.geometry["out_steps"], case.channels * case.multiplier)
    scale = rng.integers(-exponents, exponents + 1, shape)
    return np.ldexp(rng.standard_normal(shape), scale).astype(case.dtype)


def model(case, isa, x, kernel, dy):
    """dx (channels_last), dkernel, dbias."""
    add = gradient_chains.rounded
    if _core.isa_has_fma(isa):
        add = chains.fma_f32 if case.dtype == "float32" else chains.fma_f64
    dx = gradient_chains.input_gradient(add, x.shape, kernel, dy, **case.geometry)
    first = case.data_format == "channels_first"
    return dx, *gradient_chains.weight_gradient(
        add, x, kernel.shape, dy, **case.geometry, channels_first=first
    )


def check_bounds(case, line, got, x, kernel, dy):
    """Promise P2, against float64."""
    wide = [a.astype(np.float64) for a in (x, kernel, dy)]
    exact = model_in_float64(case, *wide)
    magnitude = model_in_float64(case, *map(np.abs, wide))
    phase = case.strides // np.gcd(case.strides, case.dilation_rate)
    taps, steps = -(-case.kernel_size // phase), case.geometry["out_steps"]
    bounds = (
        input_gradient_bound(taps, case.multiplier, magnitude[0], case.dtype),
        weight_gradient_bound(steps, case.batch, magnitude[1], case.dtype),
        weight_gradient_bound(steps, case.batch, magnitude[2], case.dtype),
    )
    for g, e, bound, name in zip(got, exact, bounds, ("dx", "dkernel", "dbias"), strict=True):
        worst = np.max(np.abs(g - e) / np.maximum(bound, 1e-300), initial=0)
        assert worst <= 1, f"{case} {line} {name}: {worst:.3g} times the bound"


def model_in_float64(case, x, kernel, dy):
    add = gradient_chains.rounded
    dx = gradient_chains.input_gradient(add, x.shape, kernel, dy, **case.geometry)
    return dx, *gradient_chains.weight_gradient(add, x, kernel.shape, dy, **case.geometry)


def check_guarded(case, isa, rng, exponents):
    x, kernel, _ = case.floats(exponents)
    dy = gradient_of_output(case, exponents)
    gaps = [pick(rng, GAPS) for _ in range(2)]
    ends = rng.integers(2, size=6).astype(bool)
    x_guarded = guarded_copy(case.to_layout(x), gaps=gaps[0], at_end=ends[0])
    dy_guarded = guarded_copy(case.to_layout(dy), gaps=gaps[1], at_end=ends[1])
    kernel_guarded = guarded_copy(kernel, at_end=ends[2])
    dx = Guarded(x_guarded.shape, case.dtype, gaps=gaps[0], at_end=ends[3])
    dkernel = Guarded(kernel.shape, case.dtype, at_end=ends[4])
    outputs = case.channels * case.multiplier
    dbias = Guarded((1, 1, outputs), case.dtype, at_end=ends[5])
    plan = plan_of(case, isa, element_strides(x_guarded), element_strides(dy_guarded))
    threads = int(rng.integers(1, 9))
    line = f"{isa=} {exponents=} {gaps=} at_end={ends.tolist()} {threads=}"
    leave_trace(case, line)
    _core.backward_input(plan, dy_guarded, kernel_guarded, dx.array, threads)
    _core.backward_weight(
        plan, x_guarded, dy_guarded, dkernel.array, dbias.array.reshape(outputs), threads
    )
    for guarded in (dx, dkernel, dbias):
        assert guarded.gaps_are_untouched(), f"{case} {line}: written outside of an array"
    got = case.to_last(dx.array), dkernel.array, dbias.array.reshape(outputs)
    for g, e, name in zip(
        got, model(case, isa, x, kernel, dy), ("dx", "dkernel", "dbias"), strict=True
    ):
        assert_bits(case, g, e, f"{line} {name}")
    if case.dtype == "float32":
        check_bounds(case, line, got, x, kernel, dy)
    once = [guarded.array for guarded in (dx, dkernel, dbias)]
    want = [array.copy() for array in once]
    for array in once:
        array[...] = 1
    once[2] = once[2].reshape(outputs)
    arrays = x_guarded, kernel_guarded, dy_guarded
    _core.backward(plan, *arrays, *once, threads)
    for guarded, w, name in zip((dx, dkernel, dbias), want, ("dx", "dkernel", "dbias"), strict=True):
        assert guarded.gaps_are_untouched(), f"{case} {line}: at once, written outside of an array"
        assert_bits(case, guarded.array, w, f"{line} {name}, at once")
    n = int(rng.integers(3))  # two of them
    once[n] = None
    _core.backward(plan, *arrays, *once, threads)
    for guarded, w in zip((dx, dkernel, dbias), want, strict=True):
        assert_bits(case, guarded.array, w, f"{line}, at once without number {n}")


@every_isa
@both_dtypes
@both_layouts
def test_gradients_between_guard_pages(data_format, dtype, isa):
    rng = np.random.default_rng([37, *data_format.encode(), *dtype.encode()])
    for _ in range(scaled(25)):
        case = random_case(rng, data_format=data_format, dtype=dtype)
        if case.work <= 200_000:
            check_guarded(case, isa, rng, pick(rng, (0, 8)))


@every_isa
@both_dtypes
@both_layouts
def test_small_gradients_between_guard_pages(data_format, dtype, isa):
    """Many more cases of sizes where tails of vectors, blocks and clipping meet."""
    rng = np.random.default_rng([41, *data_format.encode(), *dtype.encode()])
    for _ in range(scaled(60)):
        case = random_case(
            rng,
            data_format=data_format,
            dtype=dtype,
            steps=int(rng.integers(1, 40)),
            channels=int(rng.integers(1, 36)),
            kernel_size=int(rng.integers(1, 12)),
            dilation_rate=int(rng.integers(1, 4)),
        )
        check_guarded(case, isa, rng, 4)


# One for each way that sums over time are walked: several chunks and batch items, channels side by
# side, more taps than a task has, a dilation beyond the tiles, many output channels for each input,
# the gradient of the input on the way.
WALKS = [
    Case(1400, 3, 4, batch=3, padding="same"),
    Case(1400, 2, 3, batch=2, padding="causal", strides=2, multiplier=2),
    Case(900, 1, 70, padding=(-3, 40)),
    Case(700, 33, 3, dilation_rate=200, padding="same"),
    Case(600, 17, 5, dilation_rate=4, strides=6, padding="same"),
    Case(40, 2, 3, batch=2, multiplier=70, padding="same", strides=2),
    Case(5, 40, 2, batch=37, multiplier=1, padding="same"),
    Case(700, 48, 31, batch=3, padding="same"),
    Case(300, 48, 31, batch=2, padding="same", strides=2),
    Case(300, 20, 15, batch=2, padding="same", strides=2, multiplier=2),
]

# Sequences contiguous in time.  With few taps: several units of several batch items, of several chunks,
# whole vectors and not, taps near enough to be shifted and not.
LINES = [
    Case(64, 37, 7, batch=11, padding="same"),
    Case(40, 19, 7, batch=11, padding="same"),
    Case(51, 3, 4, padding="valid"),
    Case(9000, 3, 2, batch=3, dilation_rate=5, padding="causal"),
    Case(700, 2, 8, batch=70, padding=(9, -2)),
    Case(300, 2, 3, padding=(9000, 20)),
    Case(330, 35, 3, batch=3, dilation_rate=8, padding="same"),
    Case(64, 5, 4, dilation_rate=20, batch=2, padding="same"),
    Case(32, 9, 5, dilation_rate=2, padding=(-3, 11)),
    Case(32, 9, 1),
    # with many taps, in bundles: parts of vectors and blocks, more taps than a task has, chunks side by side
    Case(70, 37, 33, batch=3, padding="same"),
    Case(1100, 2, 17, batch=5, multiplier=2, padding=(20, 3)),
    Case(90, 3, 70, padding=(-3, 60)),
    # both gradients in one walk: lines of the cache in step and not, several chunks of time, dx from elsewhere
    Case(224, 32, 33, batch=3, padding="same"),
    Case(1100, 31, 9, padding=(20, 3)),
    Case(600, 32, 12, batch=2, padding=(-3, 60)),
]


@pytest.mark.parametrize("walk", WALKS, ids=str)
@both_dtypes
@both_layouts
def test_walks(data_format, dtype, walk):
    rng = np.random.default_rng(43)
    case = Case(**(vars(walk) | {"data_format": data_format, "dtype": dtype}))
    check_guarded(case, pick(rng, _core.isa_names()), rng, 0)


@every_isa
@both_dtypes
@pytest.mark.parametrize("line", LINES, ids=str)
def test_lines(line, dtype, isa):
    case = Case(**(vars(line) | {"data_format": "channels_first", "dtype": dtype}))
    check_guarded(case, isa, np.random.default_rng(53), 0)


@every_isa
@both_dtypes
@pytest.mark.parametrize("kernel_size", (7, 13))
def test_lines_that_are_not_finite(kernel_size, dtype, isa):
    """An infinite gradient meets no padding, at either end; what it meets becomes infinite or NaN."""
    case = Case(64, 6, kernel_size, batch=3, padding="same", data_format="channels_first", dtype=dtype)
    x, kernel, _ = case.floats()
    for step, value in ((0, np.inf), (63, -np.inf), (30, np.nan), (2, np.inf)):
        dy = gradient_of_output(case)
        dy[1, step, 4] = value
        dkernel, dbias = np.empty_like(kernel), np.empty(6, dtype)
        _core.backward_weight(
            plan_of(case, isa), case.to_layout(x), case.to_layout(dy), dkernel, dbias, 1
        )
        with np.errstate(invalid="ignore"):
            _, exact, exact_bias = model_in_float64(case, x, kernel, dy)
        np.testing.assert_allclose(dkernel, exact, 1e-4, 1e-4, err_msg=f"{step=} {value=}")
        np.testing.assert_allclose(dbias, exact_bias, 1e-4, 1e-4, err_msg=f"{step=} {value=}")
        left = kernel_size // 2
        assert np.isfinite(dkernel[:, 4]).sum() == max(left - step, 0) + max(step + left - 63, 0)


def test_thread_counts_and_layouts_give_the_same_bits():
    """But for the gradients of few weights, which have an order of their own in channels_first."""
    rng = np.random.default_rng(47)
    for case in (*WALKS, *LINES, *(random_case(rng) for _ in range(scaled(40)))):
        x, kernel, _ = case.floats()
        dy = gradient_of_output(case)
        expected = None
        few = case.kernel_size <= 8 and case.strides == case.multiplier == 1
        few = few and case.geometry["out_steps"] >= 32
        for data_format in LAYOUTS:
            if few and expected:
                expected = expected[:1]
            laid = Case(**(vars(case) | {"data_format": data_format}))
            plan = plan_of(laid)
            for threads in (1, 2, 3, 7, 16):
                dx = np.empty(laid.to_layout(x).shape, case.dtype)
                dkernel = np.empty_like(kernel)
                dbias = np.empty(case.channels * case.multiplier, case.dtype)
                _core.backward_input(plan, laid.to_layout(dy), kernel, dx, threads)
                _core.backward_weight(
                    plan, laid.to_layout(x), laid.to_layout(dy), dkernel, dbias, threads
                )
                got = laid.to_last(dx).copy(), dkernel, dbias
                expected = expected or got
                expected += got[len(expected) :]
                for g, e in zip(got, expected, strict=True):
                    assert_bits(laid, g, e, f"{threads=}")


def test_only_the_bias():
    case = Case(1400, 3, 4, batch=3)
    x, _, _ = case.floats()
    dy = gradient_of_output(case)
    dkernel, both, alone = np.empty((4, 3, 1), "f4"), np.empty(3, "f4"), np.empty(3, "f4")
    for threads in (1, 7):
        _core.backward_weight(plan_of(case), x, dy, dkernel, both, threads)
        _core.backward_weight(plan_of(case), x, dy, None, alone, threads)
        assert_bits(case, alone, both)


def check_one_walk(case, isa, rng, exponents=0):
    """All gradients at once have the bits of one after the other, and touch nothing else."""
    x, kernel, bias = case.floats(exponents)
    dy, kind = gradient_of_output(case, exponents), int(rng.choice((5, 6, 7)))
    bias = bias if rng.integers(2) else None
    gaps = [pick(rng, GAPS) for _ in range(2)]
    ends = rng.integers(2, size=6).astype(bool)
    x_guarded = guarded_copy(x, gaps=gaps[0], at_end=ends[0])
    dy_guarded = guarded_copy(dy, gaps=gaps[1], at_end=ends[1])
    kernel_guarded = guarded_copy(kernel, at_end=ends[2])
    dx = Guarded(x.shape, case.dtype, gaps=gaps[0], at_end=ends[3])
    dkernel = Guarded(kernel.shape, case.dtype, at_end=ends[4])
    dbias = Guarded((1, 1, case.channels), case.dtype, at_end=ends[5])
    plan = plan_of(case, isa, element_strides(x_guarded), element_strides(dy_guarded))
    threads = int(rng.integers(1, 9))
    line = f"{isa=} {kind=} {gaps=} at_end={ends.tolist()} {threads=} bias={bias is not None}"
    leave_trace(case, line)
    done = _core.backward_activated(
        plan, kind, x_guarded, kernel_guarded, bias, dy_guarded, dx.array, dkernel.array,
        dbias.array.reshape(-1), threads,
    )  # fmt: skip
    for guarded in (dx, dkernel, dbias):
        assert guarded.gaps_are_untouched(), f"{case} {line}: written outside of an array"
    if not done:
        return False
    packed, dz = plan_of(case, isa), np.empty_like(dy)
    packed.forward(x, kernel, bias, dz, (0, 0.0, 0.0), 1, False)
    _core.activation_backward(
        kind, dz.reshape(-1), dy.reshape(-1), dz.reshape(-1), 1, isa.encode()
    )
    want = np.empty_like(x), np.empty_like(kernel), np.empty(case.channels, case.dtype)
    _core.backward_input(packed, dz, kernel, want[0], 1)
    _core.backward_weight(packed, x, dz, want[1], want[2], 1)
    got = dx.array, dkernel.array, dbias.array.reshape(-1)
    for g, w, name in zip(got, want, ("dx", "dkernel", "dbias"), strict=True):
        assert_bits(case, g, w, f"{line} {name}")
    for n in range(3):  # each alone
        alone = [np.empty_like(w) if i == n else None for i, w in enumerate(want)]
        _core.backward_activated(plan_of(case, isa), kind, x, kernel, bias, dy, *alone, 1)
        assert_bits(case, alone[n], want[n], f"{line}, alone: number {n}")
    return True


@every_isa
@both_dtypes
def test_gradients_with_an_activation_in_one_walk(dtype, isa):
    """Several chunks, panels and strips, heads, ends of any kind, taps that lie apart."""
    rng = np.random.default_rng([59, *dtype.encode()])
    done = 0
    for number in range(scaled(60)):
        large = number % 10 == 0
        case = random_case(
            rng,
            data_format="channels_last",
            dtype=dtype,
            steps=int(rng.integers(500, 1100) if large else rng.integers(1, 60)),
            channels=int(rng.integers(8, 60) if number % 3 or large else rng.integers(500, 1300)),
            kernel_size=int(rng.integers(1, 9)),
            dilation_rate=int(rng.integers(1, 3)),
            strides=1,
            multiplier=1,
        )
        done += check_one_walk(case, isa, rng, pick(rng, (0, 4)))
    assert done > 20
