# SPDX-License-Identifier: BSD-3-Clause
"""Every instruction set against a model of its rounding, with all arrays between guard pages.

With fused multiply-add it must equal `chains.fused` bit for bit, without `chains.rounded`; so the
former are equal among themselves, and so are the latter.
"""

import os
import signal
from itertools import product

import chains
import numpy as np
import pytest
from cases import DTYPES, LAYOUTS, Case, assert_bits, leave_trace, pick, random_case, scaled
from child import run_child
from dwconv import _core
from guarded import AVAILABLE, CANARY, Guarded, guarded_copy
from tolerances import LARGEST, SMALLEST_SUBNORMAL, forward_bound

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="needs mprotect")

ISAS = _core.isa_names()
LINEAR = (0, 0.0, 0.0)
CLIP, LEAKY_RELU = 1, 2

every_isa = pytest.mark.parametrize("isa", ISAS)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
both_layouts = pytest.mark.parametrize("data_format", LAYOUTS)


def plan_of(case: Case, isa=None, x_strides=(0, 0), y_strides=(0, 0)):
    return _core.Plan(
        batch=case.batch,
        in_steps=case.steps,
        channels=case.channels,
        depth_multiplier=case.multiplier,
        kernel_size=case.kernel_size,
        stride=case.strides,
        dilation=case.dilation_rate,
        pad_left=case.geometry["left"],
        out_steps=case.geometry["out_steps"],
        channels_first=case.is_first,
        double_precision=case.dtype == "float64",
        x_strides=x_strides,
        y_strides=y_strides,
        isa=None if isa is None else isa.encode(),
    )


def convolve(case, isa, x, kernel, bias, activation=LINEAR, threads=1):
    """On plain arrays; x and the result are channels_last."""
    plan = plan_of(case, isa)
    y = np.empty(plan.out_shape, case.dtype)
    plan.forward(case.to_layout(x), kernel, bias, y, activation, threads)
    return case.to_last(y)


def model(isa):
    return chains.fused if _core.isa_has_fma(isa) else chains.rounded


def element_strides(array):
    return array.strides[0] // array.itemsize, array.strides[1] // array.itemsize


def check_guarded(case, isa, rng, exponents):
    """One case with random gaps, each array at a random end of its memory; nothing else may be read
    or written."""
    x, kernel, bias = case.floats(exponents)
    gaps = [pick(rng, ((0, 0), (0, 0), (0, 3), (5, 0), (7, 2))) for _ in range(2)]
    ends = rng.integers(2, size=4).astype(bool)
    x_guarded = guarded_copy(case.to_layout(x), gaps=gaps[0], at_end=ends[0])
    kernel_guarded = guarded_copy(kernel, at_end=ends[1])
    bias_guarded = None if bias is None else guarded_copy(bias, at_end=ends[2])
    shape = plan_of(case).out_shape
    y = Guarded(shape, case.dtype, gaps=gaps[1], at_end=ends[3])
    plan = plan_of(case, isa, element_strides(x_guarded), element_strides(y.array))
    assert plan.isa == isa
    line = f"{isa=} {exponents=} {gaps=} at_end={ends.tolist()}"
    leave_trace(case, line)
    plan.forward(x_guarded, kernel_guarded, bias_guarded, y.array, LINEAR, int(rng.integers(1, 4)))
    assert y.gaps_are_untouched(), f"{case} {line}: written outside of y"
    got = case.to_last(y.array)
    expected = model(isa)(x, kernel, bias, **case.geometry)
    assert not np.isnan(expected).any()
    assert_bits(case, got, expected, line)
    if case.dtype == "float32":
        error = np.abs(got - chains.plain(x, kernel, bias, **case.geometry))
        bound = forward_bound(
            case.kernel_size, chains.magnitude(x, kernel, bias, **case.geometry), case.dtype
        )
        assert (error <= bound).all(), f"{case} {line}: {np.max(error / bound):.3g} times the bound"


def check_infinite_tap(case, isa, rng):
    """Only outputs that an infinite tap covers become infinite: padding is absent."""
    x, kernel, bias = case.floats()
    kernel[rng.integers(case.kernel_size)] = np.inf
    y = np.empty(plan_of(case).out_shape, case.dtype)
    plan_of(case, isa).forward(case.to_layout(x), kernel, bias, y, LINEAR, 1)
    expected = chains.plain(x, kernel, bias, **case.geometry)
    assert (np.isfinite(case.to_last(y)) == np.isfinite(expected)).all(), f"{case} {isa=}"


@every_isa
@both_dtypes
@both_layouts
def test_kernels_between_guard_pages(data_format, dtype, isa):
    rng = np.random.default_rng([23, *data_format.encode(), *dtype.encode()])
    for _ in range(scaled(110)):
        case = random_case(rng, data_format=data_format, dtype=dtype)
        check_guarded(case, isa, rng, pick(rng, (0, 8, 20)))


@every_isa
@both_dtypes
@both_layouts
def test_small_kernels_between_guard_pages(data_format, dtype, isa):
    """Many more cases of sizes where tails of vectors, row blocks and clipping meet."""
    rng = np.random.default_rng([29, *data_format.encode(), *dtype.encode()])
    for _ in range(scaled(150)):
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


@pytest.mark.parametrize("at_end", [True, False])
def test_guard_pages_bite(at_end):
    """The same arrays, read one element too far, end a process; otherwise the tests above would
    show nothing."""
    text = f"""
        import ctypes, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from guarded import Guarded
        array = Guarded((1, 3, 5), "float32", at_end={at_end}).array
        at = array.ctypes.data + (array.nbytes if {at_end} else -4)
        print(ctypes.c_float.from_address(array.ctypes.data).value, flush=True)
        ctypes.c_float.from_address(at).value
    """
    assert "nan" in run_child(text, prelude="", status=-signal.SIGSEGV)


def test_guarded_gaps_are_watched():
    guarded = Guarded((2, 3, 4), "float64", gaps=(3, 2))
    guarded.array[...] = 1
    assert guarded.gaps_are_untouched()
    np.lib.stride_tricks.as_strided(guarded.array, (2, 3, 5))[0, 0, 4] = 1
    assert not guarded.gaps_are_untouched()


def spiced(case, rng):
    """Numbers of every kind: NaN, infinities, zeros of both signs, subnormals, the largest."""
    tiny, largest = SMALLEST_SUBNORMAL[case.dtype], LARGEST[case.dtype]
    values = [
        np.nan,
        np.inf,
        -np.inf,
        0.0,
        -0.0,
        tiny,
        -3 * tiny,
        largest,
        -largest,
        2.0**-60,
        1.0,
        -2.0,
    ]
    arrays = []
    for array in case.floats(20):
        if array is not None:
            spice = rng.choice(values, array.shape).astype(case.dtype)
            array = np.where(rng.random(array.shape) < 0.08, spice, array)
        arrays.append(array)
    return arrays


@every_isa
@both_layouts
@both_dtypes
def test_special_values(dtype, data_format, isa):
    """NaN, infinities, overflow, subnormals and signed zeros: as IEEE 754 says, in the outputs
    whose taps see them."""
    rng = np.random.default_rng([37, *data_format.encode(), *dtype.encode()])
    for _ in range(scaled(40)):
        case = random_case(
            rng, data_format=data_format, dtype=dtype, kernel_size=int(rng.integers(1, 10))
        )
        x, kernel, bias = spiced(case, rng)
        got = convolve(case, isa, x, kernel, bias)
        if dtype == "float64" and _core.isa_has_fma(isa):  # beyond the range of the model
            expected = convolve(case, next(filter(_core.isa_has_fma, ISAS)), x, kernel, bias)
            rounded = chains.rounded(x, kernel, bias, **case.geometry)
            assert (np.isnan(rounded) >= np.isnan(got)).all(), f"{case} {isa=}"
        else:
            expected = model(isa)(x, kernel, bias, **case.geometry)
        assert_bits(case, got, expected, f"{isa=}")


@every_isa
@both_layouts
def test_nan_stays_in_its_window(data_format, isa):
    rng = np.random.default_rng([41, *data_format.encode()])
    for _ in range(scaled(40)):
        case = random_case(rng, data_format=data_format)
        x, kernel, bias = case.floats()
        clean = convolve(case, isa, x, kernel, bias)
        at = tuple(int(rng.integers(n)) for n in x.shape)
        mark = np.zeros_like(x)
        mark[at] = 1
        hit = chains.plain(mark, np.ones_like(kernel), None, **case.geometry) > 0
        for value in (np.nan, np.inf):
            x[at] = value
            y = convolve(case, isa, x, kernel, bias)
            assert not np.isfinite(y[hit]).any(), f"{case} {isa=} {at=} {value}"
            assert_bits(case, np.where(hit, 0, y), np.where(hit, 0, clean), f"{isa=} {at=} {value}")


@every_isa
@both_layouts
def test_weights_over_padding_add_nothing(data_format, isa):
    """An infinite or NaN weight shows only where its tap meets input."""
    rng = np.random.default_rng([43, *data_format.encode()])
    for _ in range(scaled(40)):
        case = random_case(
            rng, data_format=data_format, padding=pick(rng, ("same", "causal", (3, 4)))
        )
        x, kernel, bias = case.floats()
        k = int(rng.integers(case.kernel_size))
        mark = np.zeros_like(kernel)
        mark[k] = 1
        hit = chains.plain(np.ones_like(x), mark, None, **case.geometry) > 0
        clean = convolve(case, isa, x, kernel, bias)
        kernel[k] = pick(rng, (np.nan, np.inf, -np.inf))
        y = convolve(case, isa, x, kernel, bias)
        assert not np.isfinite(y[hit]).any(), f"{case} {isa=} {k=}"
        assert_bits(case, np.where(hit, 0, y), np.where(hit, 0, clean), f"{isa=} {k=}")


@every_isa
@both_dtypes
def test_subnormals_are_kept(dtype, isa):
    tiny = SMALLEST_SUBNORMAL[dtype]
    case = Case(40, 40, 3, dtype=dtype, bias=False)
    x = np.full((1, 40, 40), 5 * tiny, dtype)
    kernel = np.full((3, 40, 1), 1.0, dtype)
    np.testing.assert_array_equal(
        convolve(case, isa, x, kernel, None), np.full((1, 38, 40), 15 * tiny)
    )
    root = {"float32": 2.0**-70, "float64": 2.0**-530}[dtype]
    got = convolve(case, isa, np.full_like(x, root), np.full_like(kernel, root), None)
    np.testing.assert_array_equal(got, np.full((1, 38, 40), 3 * root * root))


@every_isa
@both_dtypes
def test_signs_of_zeros(dtype, isa):
    """Sums begin with the bias, +0 if there is none; -0 comes out only if all terms are -0."""
    case = Case(9, 5, 3, dtype=dtype)
    x, one = np.full((1, 9, 5), -0.0, dtype), np.ones((3, 5, 1), dtype)
    assert not np.signbit(convolve(case, isa, x, one, None)).any()
    assert np.signbit(convolve(case, isa, x, one, np.full(5, -0.0, dtype))).all()
    assert not np.signbit(convolve(case, isa, x, -one, np.full(5, -0.0, dtype))).any()


def test_every_output_is_written():
    """Canaries never come back, whatever the sizes: `y` needs no zeros in it before."""
    rng = np.random.default_rng(47)
    for isa, _ in product(ISAS, range(scaled(60))):
        case = random_case(rng)
        x, kernel, bias = case.integers()
        y = Guarded(plan_of(case).out_shape, case.dtype)
        plan_of(case, isa).forward(case.to_layout(x), kernel, bias, y.array, LINEAR, 3)
        assert not (y.array.view(f"u{y.array.itemsize}") == CANARY[case.dtype]).any(), (
            f"{case} {isa=}"
        )


def test_names_of_isas():
    assert "scalar" in ISAS and len(set(ISAS)) == len(ISAS)
    for isa in ISAS:
        assert plan_of(Case(5, 2, 3), isa).isa == isa
    for wrong in ("mmx", "", "AVX2", "avx2 "):
        with pytest.raises(ValueError, match="instruction set"):
            plan_of(Case(5, 2, 3), wrong or "?")


@pytest.mark.parametrize("isa", ISAS)
def test_environment_forces_an_isa(isa):
    text = "assert dwconv.show_config('dict')['isa'] == os.environ['DWCONV_ISA'] and is_right()"
    run_child(text, DWCONV_ISA=isa)


def test_plans_reject_other_arrays():
    case = Case(10, 4, 3, 2, 2)
    plan = plan_of(case)
    x, kernel, bias = case.floats()
    y = np.full(plan.out_shape, 7, np.float32)
    wrong = [
        (x[:1], kernel, bias, y),
        (x[:, :9], kernel, bias, y),
        (x, kernel[:2], bias, y),
        (x, kernel, bias[:7], y),
        (x, kernel, bias, y[:, :7]),
        (x, kernel, bias, y[..., :7]),
        (x.transpose(0, 2, 1), kernel, bias, y),
        (np.repeat(x, 2, axis=2)[:, :, ::2], kernel, bias, y),
        (x.astype(np.float64), kernel, bias, y),
        (x, kernel.astype(np.float64), bias, y),
        (x, kernel, bias, y.astype(np.float64)),
        (None, kernel, bias, y),
        (x, None, bias, y),
        (x, kernel, bias, None),
        (x[0], kernel, bias, y),
    ]
    for arrays in wrong:
        with pytest.raises((ValueError, TypeError)):
            plan.forward(*arrays, LINEAR, 1)
    for activation in (
        (99, 0.0, 0.0),
        (CLIP, 1.0, 0.0),
        (CLIP, np.nan, 1.0),
        (LEAKY_RELU, np.nan, 0.0),
    ):
        with pytest.raises(ValueError, match="activation"):
            plan.forward(x, kernel, bias, y, activation, 1)
    assert (y == 7).all()
    plan.forward(x, kernel, bias, y, LINEAR, 1)
    assert_bits(case, y, model(plan.isa)(x, kernel, bias, **case.geometry))


def test_input_may_be_read_only_and_output_not():
    case = Case(10, 4, 3)
    plan = plan_of(case)
    x, kernel, bias = map(guarded_copy, case.floats())
    y = np.zeros(plan.out_shape, np.float32)
    plan.forward(x, kernel, bias, y, LINEAR, 1)
    kept = y.copy()
    y.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        plan.forward(x, kernel, bias, y, LINEAR, 1)
    np.testing.assert_array_equal(y, kept)
