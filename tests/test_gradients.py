# SPDX-License-Identifier: BSD-3-Clause
"""depthwise_conv1d_backward: recorded results of Keras, exact integers, finite differences, the
adjoint identity, arrays of any kind, and what it does not accept."""

import itertools
import json
import os
from pathlib import Path

import dwconv
import numpy as np
import pytest
import reference
from cases import DTYPES, LAYOUTS, Case, assert_same, random_case, scaled
from dwconv import depthwise_conv1d, depthwise_conv1d_backward

FOLDER = Path(__file__).parent / "data" / "keras"
TOLERANCE = {"float32": 5e-6, "float64": 1e-10}
OPTIONS = ("strides", "padding", "dilation_rate", "data_format")
NAMES = ("dx", "dkernel", "dbias")


def keras_cases():
    cases = json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))["cases"]
    return [case for case in cases if case["config"]["activation"] in (None, "linear")]


@pytest.fixture(scope="module")
def stored():
    with np.load(FOLDER / "cases.npz") as arrays:
        return dict(arrays)


def test_all_keras_cases_are_there():
    assert len(keras_cases()) == 174
    assert sum(case["kind"] == "grid" for case in keras_cases()) == 121


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", keras_cases(), ids=lambda case: case["id"])
def test_keras(stored, case, dtype):
    x, kernel, dy = (stored[f"{case['id']}/{name}"].astype(dtype) for name in ("x", "kernel", "dy"))
    options = {name: case["config"][name] for name in OPTIONS}
    needs = (True, True, case["config"]["use_bias"])
    got = depthwise_conv1d_backward(x, kernel, dy, needs=needs, **options)
    for name, array, needed in zip(NAMES, got, needs, strict=True):
        assert (array is None) != needed
        if not needed:
            continue
        key = f"{case['id']}/{name}"
        want = stored[f"{key}64" if dtype == "float64" and f"{key}64" in stored else f"{key}32"]
        line = f"case {case['id']}: {case['input_shape']}, {case['config']}, {dtype}, {name}"
        assert (array.dtype, array.shape) == (dtype, want.shape), line
        if case["kind"] == "grid":
            assert np.array_equal(array, want), line
        else:
            error = np.max(np.abs(array - want)) / max(1, np.max(np.abs(want)))
            assert error <= TOLERANCE[dtype], f"{line}: error {error:.2e}"


def integers(case):
    """x, kernel and dy in the layout of the case, so small that every sum is exact in any order."""
    rng = np.random.default_rng(case.seed)
    x, kernel, _ = (rng.integers(-9, 10, shape).astype(case.dtype) for shape in case.shapes())
    outputs = (case.batch, case.geometry["out_steps"], case.channels * case.multiplier)
    return case.to_layout(x), kernel, case.to_layout(rng.integers(-9, 10, outputs).astype(x.dtype))


def assert_exact(case, note=""):
    x, kernel, dy = integers(case)
    got = depthwise_conv1d_backward(x, kernel, dy, **case.options)
    for g, w, name in zip(
        got, reference.gradients(x, kernel, dy, **case.options), NAMES, strict=True
    ):
        assert_same(case, g, w.astype(case.dtype), f"{name} {note}")


def test_exact_on_integers():
    rng = np.random.default_rng(11)
    for _ in range(scaled(400)):
        case = random_case(rng)
        if case.work < 200_000:
            assert_exact(case)


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_few_long_sequences_with_any_strides(dtype, data_format):
    """Phases of a stride do not lie side by side in dx, whatever way their sequences invite."""
    rng = np.random.default_rng([79, *data_format.encode(), *dtype.encode()])
    for channels, strides, dilation in itertools.product((1, 3, 8, 12), (1, 2, 3, 4), (1, 2, 7)):
        options = {"channels": channels, "strides": strides, "dilation_rate": dilation, "kernel_size": 17}
        assert_exact(random_case(rng, data_format=data_format, dtype=dtype, steps=700, batch=1, **options))


@pytest.mark.parametrize("multiplier", [15, 16, 17, 31, 32, 33, 64, 65, 100])
@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_multipliers(dtype, data_format, multiplier):
    for strides in (1, 3):
        assert_exact(
            Case(40, 3, 5, multiplier=multiplier, strides=strides, padding="same", dtype=dtype,
                 data_format=data_format)
        )  # fmt: skip


@pytest.mark.parametrize("data_format", LAYOUTS)
def test_steps_without_taps_get_zeros(data_format):
    """Strides beyond the kernel, and strides and dilation with a common divisor."""
    for strides, dilation in ((5, 1), (4, 2), (6, 9), (1000, 1), (1, 1000)):
        assert_exact(
            Case(23, 17, 2, batch=2, strides=strides, dilation_rate=dilation, padding="same",
                 data_format=data_format)
        )  # fmt: skip


def test_finite_differences():
    """Central differences along a random direction in float64; y is linear in each array."""
    rng = np.random.default_rng(13)
    count = int(os.environ.get("DWCONV_TEST_CASES", "2000"))
    worst = 0.0
    for _ in range(count):
        case = random_case(
            rng, dtype="float64", bias=True, batch=int(rng.integers(1, 4)),
            steps=int(rng.integers(1, 25)), channels=int(rng.integers(1, 20)),
            kernel_size=int(rng.integers(1, 10)), dilation_rate=int(rng.integers(1, 4)),
        )  # fmt: skip
        x, kernel, bias = case.floats()
        arrays = [case.to_layout(x), kernel, bias]
        options = {"method": "direct"} | case.options
        dy = rng.standard_normal(depthwise_conv1d(*arrays, **options).shape)
        got = depthwise_conv1d_backward(*arrays[:2], dy, **case.options)
        for n, gradient in enumerate(got):
            direction = rng.standard_normal(gradient.shape)
            ends = []
            for h in (0.5, -0.5):
                moved = [a + h * direction if i == n else a for i, a in enumerate(arrays)]
                ends.append(np.vdot(depthwise_conv1d(*moved, **options), dy))
            terms = gradient * direction
            error = abs(ends[0] - ends[1] - terms.sum()) / (np.linalg.norm(terms) or 1.0)
            assert error <= 1e-6, f"{case} {NAMES[n]}: relative error {error:.2e}"
            worst = max(worst, error)
    assert worst > 0, "not a single difference was rounded: nothing was compared"


def test_adjoint():
    """<A x, dy> = <x, A' dy>, and the same for the kernel."""
    rng = np.random.default_rng(17)
    for _ in range(scaled(200)):
        case = random_case(rng, dtype="float64", bias=False)
        x, kernel, _ = case.floats()
        x = case.to_layout(x)
        y = depthwise_conv1d(x, kernel, method="direct", **case.options)
        dy = rng.standard_normal(y.shape)
        dx, dkernel, _ = depthwise_conv1d_backward(x, kernel, dy, **case.options)
        magnitude = np.vdot(
            depthwise_conv1d(abs(x), abs(kernel), method="direct", **case.options), abs(dy)
        )
        for product in (np.vdot(x, dx), np.vdot(kernel, dkernel)):
            assert abs(product - np.vdot(y, dy)) <= 1e-12 * magnitude, case


X = np.random.default_rng(0).integers(-9, 10, (2, 9, 4)).astype(np.float32)
KERNEL = np.random.default_rng(1).integers(-9, 10, (3, 4, 2)).astype(np.float32)
DY = np.random.default_rng(2).integers(-9, 10, (2, 7, 8)).astype(np.float32)
RIGHT = depthwise_conv1d_backward(X, KERNEL, DY)


def assert_right(gradients, dtype="float32"):
    for got, right in zip(gradients, RIGHT, strict=True):
        assert got.dtype == dtype and got.flags.c_contiguous and type(got) is np.ndarray
        np.testing.assert_array_equal(got, right)


def spread(array):
    """The same numbers with gaps between all elements."""
    wide = np.full([3 * n for n in array.shape], np.nan, array.dtype)
    wide[::3, ::3, ::3] = array
    return wide[::3, ::3, ::3]


@pytest.mark.parametrize(
    "kind",
    [
        np.asfortranarray,
        spread,
        lambda a: a[::-1].copy()[::-1],
        lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: np.pad(a, ((0, 0), (1, 2), (3, 0)))[:, 1:-2, 3:],
        lambda a: np.frombuffer(b"!" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
        lambda a: np.broadcast_to(a[np.newaxis], (1, *a.shape))[0],
        lambda a: a.view(type("Sub", (np.ndarray,), {})),
        lambda a: np.ma.array(a),
    ],
)
def test_arrays_of_any_kind(kind):
    for _ in range(2):
        assert_right(depthwise_conv1d_backward(kind(X), kind(KERNEL), kind(DY)))


def test_read_only_arrays_and_dtypes():
    frozen = [a.copy() for a in (X, KERNEL, DY)]
    for array in frozen:
        array.flags.writeable = False
    assert_right(depthwise_conv1d_backward(*frozen))
    for i in range(3):
        mixed = [a.astype("float64") if i == n else a for n, a in enumerate((X, KERNEL, DY))]
        assert_right(depthwise_conv1d_backward(*mixed), "float64")


def test_needs():
    for n in range(8):
        needs = tuple(bool(n >> i & 1) for i in range(3))
        got = depthwise_conv1d_backward(X, KERNEL, DY, needs=needs)
        for gradient, need, right in zip(got, needs, RIGHT, strict=True):
            assert (gradient is not None) == need
            assert gradient is None or np.array_equal(gradient, right)


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (2, 5, 0), (0, 0, 0)])
def test_axes_of_no_elements(shape, data_format):
    x, kernel = np.ones(shape, np.float32), np.ones((3, shape[2], 2), np.float32)
    x = x if data_format == "channels_last" else x.transpose(0, 2, 1).copy()
    options = {"padding": "same", "data_format": data_format}
    dy = depthwise_conv1d(x, kernel, **options)
    dx, dkernel, dbias = depthwise_conv1d_backward(x, kernel, dy, **options)
    assert (dx.shape, dkernel.shape, dbias.shape) == (x.shape, kernel.shape, (2 * shape[2],))
    assert not dkernel.any() and not dbias.any()


def test_output_of_padding_alone():
    """The input has no steps, the output has: dkernel is zero, dbias is not."""
    x, kernel = np.ones((2, 0, 3)), np.ones((3, 3, 1))
    y = depthwise_conv1d(x, kernel, padding=(2, 3))
    dx, dkernel, dbias = depthwise_conv1d_backward(x, kernel, np.ones_like(y), padding=(2, 3))
    assert dx.shape == x.shape and not dkernel.any()
    np.testing.assert_array_equal(dbias, 2.0 * y.shape[1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("data_format", LAYOUTS)
def test_values_that_are_not_finite_reach_what_they_meet(data_format, value):
    """And nothing else: padding is absent, not zero times infinity."""
    case = Case(30, 3, 4, padding="same", data_format=data_format, dtype="float64")
    x, kernel, dy = integers(case)
    right = depthwise_conv1d_backward(x, kernel, dy, **case.options)
    bad = dy.copy()
    case.to_last(bad)[0, 0, 1] = value
    dx, dkernel, dbias = depthwise_conv1d_backward(x, kernel, bad, **case.options)
    changed = ~np.isfinite(case.to_last(dx)[0])
    assert np.argwhere(changed).tolist() == [[0, 1], [1, 1], [2, 1]]  # tap 0 would be at step -1
    assert np.argwhere(~np.isfinite(dkernel[..., 0])).tolist() == [[1, 1], [2, 1], [3, 1]]
    assert np.argwhere(~np.isfinite(dbias)).tolist() == [[1]]
    for got, want in zip((dx, dkernel, dbias), right, strict=True):
        assert np.array_equal(got[np.isfinite(got)], want[np.isfinite(got)])


def rejects(error, words, *arguments, **options):
    """The call raises `error`, exactly; the message holds all words; calls go on as before."""
    for _ in range(2):  # a call like an earlier one takes a shorter way, which must check no less
        depthwise_conv1d_backward(X, KERNEL, DY)
        with pytest.raises(error) as caught:
            depthwise_conv1d_backward(*arguments, **options)
        assert type(caught.value) is error
        for word in words:
            assert str(word) in str(caught.value), f"{word!r} is not in {caught.value}"
        assert_right(depthwise_conv1d_backward(X, KERNEL, DY))


@pytest.mark.parametrize("shape", [(2, 7, 4), (2, 6, 8), (2, 8, 8), (1, 7, 8), (2, 9, 4), (7, 8)])
def test_dy_must_have_the_shape_of_the_output(shape):
    rejects(ValueError, ["`dy`", (2, 7, 8), shape], X, KERNEL, np.ones(shape, np.float32))


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", "float16", "U3"])
def test_dtypes_that_are_not_computed_with(dtype):
    for i, name in enumerate(("`input`", "`kernel`", "`dy`")):
        arrays = [a.astype(dtype) if i == n else a for n, a in enumerate((X, KERNEL, DY))]
        rejects(TypeError, [name, "dtype", dtype.replace("U3", "<U3")], *arrays)


@pytest.mark.parametrize("value", [None, "dy", {}])
def test_what_is_no_array(value):
    for i, name in enumerate(("`input`", "`kernel`", "`dy`")):
        arrays = [value if i == n else a for n, a in enumerate((X, KERNEL, DY))]
        rejects(TypeError, [name, type(value).__name__], *arrays)


@pytest.mark.parametrize(
    ("error", "needs"),
    [(TypeError, True), (TypeError, None), (TypeError, "yes"), (TypeError, (1, 1, 1)),
     (TypeError, (True, True, None)), (ValueError, (True, True)), (ValueError, ())],
)  # fmt: skip
def test_needs_must_be_three_booleans(error, needs):
    rejects(error, ["`needs`", "three booleans", repr(needs)], X, KERNEL, DY, needs=needs)


@pytest.mark.parametrize(
    ("error", "options", "words"),
    [
        (ValueError, {"strides": 0}, ["`strides`", "positive", "strides=0"]),
        (TypeError, {"dilation_rate": 1.5}, ["`dilation_rate`", "integer", "1.5"]),
        (TypeError, {"strides": True}, ["`strides`", "integer", "True"]),
        (ValueError, {"padding": "full"}, ["`padding`", "full"]),
        (ValueError, {"padding": (-9, 0)}, ["output size"]),
        (ValueError, {"data_format": "NWC"}, ["`data_format`", "NWC"]),
        (ValueError, {"data_format": "channels_first"}, ["channels", "expected 4", "received 9"]),
        (ValueError, {"num_threads": 0}, ["`num_threads`", "positive"]),
        (ValueError, {"dilation_rate": 5}, ["output size", "dilation_rate=5"]),
        (ValueError, {"strides": 2}, ["`dy`", (2, 4, 8), (2, 7, 8)]),
    ],
)
def test_options(error, options, words):
    rejects(error, words, X, KERNEL, DY, **options)


def test_shapes_of_input_and_kernel():
    rejects(ValueError, ["`input`", "3 dimensions", (9, 4)], X[0], KERNEL, DY)
    rejects(ValueError, ["`kernel`", "3 dimensions", (3, 4)], X, KERNEL[..., 0], DY)
    rejects(ValueError, ["channels", "expected 3", "received 4"], X, KERNEL[:, :3], DY)
    rejects(ValueError, ["`kernel`", "positive", (0, 4, 2)], X, KERNEL[:0], DY)


def test_inputs_stay_as_they_are_and_results_are_new():
    arrays = [a.copy() for a in (X, KERNEL, DY)]
    first = depthwise_conv1d_backward(*arrays)
    second = depthwise_conv1d_backward(*arrays)
    for array, kept in zip(arrays, (X, KERNEL, DY), strict=True):
        np.testing.assert_array_equal(array, kept)
    for a, b in zip(first, second, strict=True):
        assert not any(np.shares_memory(a, other) for other in (b, *arrays))


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("activation", ["silu", "tanh", "relu", "gelu", "softmax", "linear"])
def test_activation(activation, data_format):
    case = Case(30, 5, 4, padding="same", data_format=data_format, dtype="float64", multiplier=2)
    x, kernel, dy = (a / 9 for a in integers(case))
    bias = np.linspace(-1, 1, 10)
    z = depthwise_conv1d(x, kernel, bias, method="direct", **case.options)
    dz = dwconv.activation_gradients.get(dwconv.activations.get(activation))(z, dy)
    right = depthwise_conv1d_backward(x, kernel, dz, **case.options)
    got = depthwise_conv1d_backward(
        x, kernel, dy, bias=bias, activation=activation, **case.options
    )
    for a, b in zip(got, right, strict=True):
        np.testing.assert_array_equal(a, b)


def test_out():
    for _ in range(2):
        out = tuple(np.full_like(right, np.nan) for right in RIGHT)
        got = depthwise_conv1d_backward(X, KERNEL, DY, out=out)
        assert all(a is b for a, b in zip(got, out, strict=True))
        assert_right(got)
        dkernel = np.full_like(KERNEL, np.nan)
        got = depthwise_conv1d_backward(X, KERNEL, DY, out=[None, dkernel, None])
        assert got[1] is dkernel
        assert_right(got)
    unused = np.ones_like(X)
    depthwise_conv1d_backward(X, KERNEL, DY, out=(unused, None, None), needs=(False, True, True))
    assert (unused == 1).all()


@pytest.mark.parametrize(
    ("error", "words", "out"),
    [
        (TypeError, ["`out`", "three arrays"], np.empty(3)),
        (TypeError, ["`out`", "three arrays"], None),
        (TypeError, ["`out`", "three arrays"], (None, None)),
        (TypeError, ["`out`", "list"], ([], None, None)),
        (ValueError, ["`out`", "dtype", "float64"], (X.astype("f8"), None, None)),
        (ValueError, ["`out`", "shape", (3, 4, 2)], (None, KERNEL[:2].copy(), None)),
        (ValueError, ["`out`", "contiguous"], (np.asfortranarray(X), None, None)),
        (ValueError, ["`out`", "overlap"], (X, None, None)),
        (ValueError, ["`out`", "writable"], (np.broadcast_to(np.float32(0), X.shape), None, None)),
    ],
)
def test_out_must_be_arrays_for_the_results(error, words, out):
    rejects(error, words, X, KERNEL, DY, out=out)


def test_it_is_exported_lazily():
    assert dwconv.depthwise_conv1d_backward is depthwise_conv1d_backward
    assert "depthwise_conv1d_backward" in dwconv.__all__
