# SPDX-License-Identifier: BSD-3-Clause
"""What depthwise_conv1d does not accept: the type of the exception, and a message with the name of
the argument, the rule and the value.  After each, the function works on as before."""

import dwconv
import numpy as np
import pytest
from dwconv import depthwise_conv1d

X = np.random.default_rng(0).standard_normal((2, 9, 4)).astype(np.float32)
KERNEL = np.random.default_rng(1).standard_normal((3, 4, 2)).astype(np.float32)
BIAS = np.random.default_rng(2).standard_normal(8).astype(np.float32)
KEPT = [a.copy() for a in (X, KERNEL, BIAS)]
RIGHT = depthwise_conv1d(X, KERNEL, BIAS)

# Twice: a call like an earlier one takes a shorter way, which must check no less.
TWICE = range(2)


def rejects(error, words, *arguments, **options):
    """The call raises `error`, exactly; the message holds all words; nothing has changed."""
    for _ in TWICE:
        depthwise_conv1d(X, KERNEL, BIAS)
        with pytest.raises(error) as caught:
            depthwise_conv1d(*arguments, **options)
        assert type(caught.value) is error or error is MemoryError, type(caught.value)
        message = str(caught.value)
        for word in words:
            assert str(word) in message, f"{word!r} is not in {message!r}"
    for array, kept in zip((X, KERNEL, BIAS), KEPT, strict=True):
        np.testing.assert_array_equal(array, kept)
    np.testing.assert_array_equal(depthwise_conv1d(X, KERNEL, BIAS), RIGHT)


STEP_NAMES = pytest.mark.parametrize("name", ["strides", "dilation_rate"])


@STEP_NAMES
@pytest.mark.parametrize("value", [0, -1, -(2**63), np.int64(0), np.int32(-5)])
def test_steps_must_be_positive(name, value):
    rejects(
        ValueError, [f"`{name}`", "positive", f"{name}={int(value)}"], X, KERNEL, **{name: value}
    )


@STEP_NAMES
@pytest.mark.parametrize(
    "value",
    [
        1.0,
        1.5,
        "1",
        None,
        float("nan"),
        True,
        False,
        np.True_,
        np.float32(1),
        np.array([2]),
        {},
        1j,
    ],
)
def test_steps_must_be_integers(name, value):
    rejects(TypeError, [f"`{name}`", "integer", f"{name}={value!r}"], X, KERNEL, **{name: value})


@STEP_NAMES
@pytest.mark.parametrize("value", [(), (1, 2), [1, 1], (1, 1, 1)])
def test_steps_are_one_number(name, value):
    rejects(ValueError, [f"`{name}`", f"{name}={value!r}"], X, KERNEL, **{name: value})


@STEP_NAMES
@pytest.mark.parametrize(
    "value", [(1,), [1], (np.int64(1),), np.int8(1), np.uint64(1), np.array(1)]
)
def test_steps_in_other_forms(name, value):
    for _ in TWICE:
        np.testing.assert_array_equal(depthwise_conv1d(X, KERNEL, BIAS, **{name: value}), RIGHT)


@STEP_NAMES
@pytest.mark.parametrize("value", [2**63, 2**64 + 1, 10**30])
def test_steps_have_63_bits(name, value):
    rejects(ValueError, [f"`{name}`", "too large", f"{name}={value}"], X, KERNEL, **{name: value})


@pytest.mark.parametrize("padding", ["valid", "same", "causal", (3, 4)])
@pytest.mark.parametrize("value", [2**62, 2**63 - 1])
def test_effective_kernel_has_63_bits(value, padding):
    rejects(
        ValueError,
        ["`dilation_rate`", "too large", f"dilation_rate={value}", "kernel_size=3"],
        X, KERNEL, dilation_rate=value, padding=padding,
    )  # fmt: skip


@pytest.mark.parametrize("padding", ["same", "causal"])
@pytest.mark.parametrize("value", [2**60, 2**61, 2**62 - 2])
def test_dilations_beyond_what_the_core_can_add(value, padding):
    """Right, or an error that names the argument."""
    try:
        y = depthwise_conv1d(X, KERNEL[:2], BIAS, dilation_rate=value, padding=padding)
    except ValueError as error:
        message = str(error)
        assert (
            "`dilation_rate`" in message
            and "too large" in message
            and f"dilation_rate={value}" in message
        )
    else:
        # The other tap, or both, lie far outside the input.
        seen = KERNEL[1] if padding == "causal" else np.zeros_like(KERNEL[1])
        np.testing.assert_allclose(
            y, X.repeat(2, axis=2) * seen.ravel() + BIAS, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    "value", ["foo", "Valid", "", "SAME", "full", None, 5, 1.5, b"valid", np.array([1, 1]), {}]
)
def test_padding_unknown(value):
    words = ["`padding`", "valid", "same", "causal", "left, right", f"padding={value!r}"]
    rejects(ValueError, words, X, KERNEL, padding=value)


@pytest.mark.parametrize("value", [(), (1,), (1, 2, 3), [1]])
def test_padding_of_wrong_length(value):
    rejects(
        ValueError, ["`padding`", "(left, right)", f"padding={value!r}"], X, KERNEL, padding=value
    )


@pytest.mark.parametrize(
    "value", [(1.0, 2), ("a", 1), (None, 0), (True, 1), (0, False), (1, float("nan"))]
)
def test_padding_must_hold_integers(value):
    rejects(TypeError, ["`padding`", "integers", f"padding={value!r}"], X, KERNEL, padding=value)


@pytest.mark.parametrize("value", [(2**63, 0), (0, -(2**63)), (2**60, 0), (10**30, -(10**30))])
def test_padding_too_large(value):
    rejects(ValueError, ["`padding`", "too large", f"padding={value!r}"], X, KERNEL, padding=value)


@pytest.mark.parametrize("value", [[1, 1], (np.int64(1), np.uint8(1)), (1, 1)])
def test_padding_in_other_forms(value):
    expected = depthwise_conv1d(X, KERNEL, BIAS, padding="same")
    for _ in TWICE:
        np.testing.assert_array_equal(depthwise_conv1d(X, KERNEL, BIAS, padding=value), expected)


@pytest.mark.parametrize(
    "value", ["foo", "", None, 1, b"channels_last", ["channels_last"], "CHANNELS_LAST"]
)
def test_data_format_unknown(value):
    words = ["`data_format`", "channels_last", "channels_first", f"data_format={value!r}"]
    rejects(ValueError, words, X, KERNEL, data_format=value)


@pytest.mark.parametrize("value", ["foo", "Relu", "", 1, [], {}])
def test_activation_unknown(value):
    rejects(
        ValueError, ["activation", str(value), "relu", "hard_silu"], X, KERNEL, activation=value
    )


def test_error_of_an_activation_is_that_of_the_caller():
    class Mine(Exception):
        pass

    def fail(z):
        raise Mine("no")

    rejects(Mine, ["no"], X, KERNEL, activation=fail)
    out = np.full_like(RIGHT, 7)
    rejects(Mine, ["no"], X, KERNEL, BIAS, activation=fail, out=out)
    assert (out == 7).all()


def test_unknown_keyword():
    rejects(TypeError, ["dilation"], X, KERNEL, dilation=2)
    rejects(TypeError, ["stride"], X, KERNEL, stride=2)
    rejects(TypeError, ["positional"], X, KERNEL, BIAS, 1)
    rejects(TypeError, ["kernel"], X)


@pytest.mark.parametrize("value", [0, -1, np.int64(-3)])
def test_num_threads_must_be_positive(value):
    rejects(
        ValueError,
        ["`num_threads`", "positive", f"num_threads={value}"],
        X,
        KERNEL,
        num_threads=value,
    )


@pytest.mark.parametrize("value", [1.0, "2", True, [1], float("inf")])
def test_num_threads_must_be_an_integer(value):
    rejects(
        TypeError,
        ["`num_threads`", "integer", f"num_threads={value!r}"],
        X,
        KERNEL,
        num_threads=value,
    )


@pytest.mark.parametrize("value", [1, np.int64(3), 2**31, 2**70])
def test_num_threads_may_be_large(value):
    for _ in TWICE:
        np.testing.assert_array_equal(depthwise_conv1d(X, KERNEL, BIAS, num_threads=value), RIGHT)


@pytest.mark.parametrize("shape", [(), (9,), (9, 4), (1, 2, 9, 4), (0,)])
def test_input_rank(shape):
    x = np.ones(shape, np.float32)
    rejects(ValueError, ["`input`", "3 dimensions", x.shape], x, KERNEL)


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (3, 4, 2, 1)])
def test_kernel_rank(shape):
    kernel = np.ones(shape, np.float32)
    rejects(ValueError, ["`kernel`", "3 dimensions", kernel.shape], X, kernel)


@pytest.mark.parametrize("shape", [(0, 4, 2), (3, 4, 0)])
def test_kernel_without_taps_or_filters(shape):
    rejects(ValueError, ["`kernel`", "positive", shape], X, np.ones(shape, np.float32))


@pytest.mark.parametrize("shape", [(), (4,), (7,), (9,), (8, 1), (1, 8), (0,)])
def test_bias_shape(shape):
    bias = np.ones(shape, np.float32)
    rejects(ValueError, ["`bias`", "(8,)", f"bias.shape={shape}"], X, KERNEL, bias)


@pytest.mark.parametrize(
    ("shape", "data_format", "received"),
    [
        ((2, 9, 5), "channels_last", 5),
        ((2, 9, 1), "channels_last", 1),
        ((2, 9, 0), "channels_last", 0),
        ((2, 9, 4), "channels_first", 9),
    ],
)
def test_channels_differ(shape, data_format, received):
    words = ["channel", "expected 4", f"received {received}", shape]
    rejects(ValueError, words, np.ones(shape, np.float32), KERNEL, data_format=data_format)


@pytest.mark.parametrize(
    ("steps", "options"),
    [
        (2, {}),
        (0, {}),
        (4, {"dilation_rate": 2}),
        (9, {"padding": (-4, -3)}),
        (0, {"padding": (1, 1)}),
        (9, {"padding": (-30, 0)}),
        (9, {"dilation_rate": 2**40, "padding": (2**20, 2**20)}),
    ],
)
def test_no_output_step(steps, options):
    dilation = options.get("dilation_rate", 1)
    words = ["output size", f"steps={steps}", "kernel_size=3", f"dilation_rate={dilation}"]
    rejects(ValueError, words, np.ones((2, steps, 4), np.float32), KERNEL, **options)


def record(array):
    return array.view([("value", array.dtype)])


NUMBERS = [
    lambda a: a.astype(complex),
    lambda a: a.astype(np.complex64),
    lambda a: a.astype(str),
    lambda a: np.zeros(a.shape, "M8[s]"),
    lambda a: np.zeros(a.shape, "m8[ns]"),
    record,
    lambda a: a.astype(object),
    lambda a: np.full(a.shape, None),
    lambda a: a.astype(np.float16),
    lambda a: a.astype(np.longdouble) if np.dtype(np.longdouble).itemsize > 8 else a.astype(int),
    lambda a: a.astype(np.int64),
    lambda a: a.astype(np.int32),
    lambda a: a.astype(np.uint8),
    lambda a: a > 0,
    lambda a: np.zeros(a.shape, "V4"),
    lambda a: np.zeros(a.shape, "S4"),
]


@pytest.mark.parametrize("name", ["input", "kernel", "bias"])
@pytest.mark.parametrize("convert", NUMBERS)
def test_dtypes(convert, name):
    arrays = {"input": X, "kernel": KERNEL, "bias": BIAS}
    arrays[name] = convert(arrays[name])
    rejects(TypeError, [f"`{name}`", "dtype", arrays[name].dtype], *arrays.values())


@pytest.mark.parametrize("name", ["input", "kernel"])
@pytest.mark.parametrize("value", [None, "abc", b"abc", {}, {"x": 1}, {1, 2}])
def test_no_array_at_all(value, name):
    arrays = {"input": X, "kernel": KERNEL}
    arrays[name] = value
    rejects(TypeError, [f"`{name}`", type(value).__name__], *arrays.values())


@pytest.mark.parametrize("name", ["input", "kernel", "bias"])
def test_other_objects(name):
    arrays = {"input": X, "kernel": KERNEL, "bias": BIAS}
    for value in (object(), iter([1.0]), lambda: 0, int):
        arrays[name] = value
        rejects(TypeError, [f"`{name}`", "dtype", "object"], *arrays.values())


@pytest.mark.parametrize("name", ["input", "kernel", "bias"])
def test_ragged_lists(name):
    arrays = {"input": X, "kernel": KERNEL, "bias": BIAS}
    arrays[name] = [[[1.0], [2.0, 3.0]]]
    rejects(ValueError, [f"`{name}`", "ragged"], *arrays.values())


@pytest.mark.parametrize("name", ["input", "kernel", "bias"])
def test_masked_elements(name):
    arrays = {"input": X, "kernel": KERNEL, "bias": BIAS}
    mask = np.zeros(arrays[name].shape, bool)
    mask.flat[1] = True
    arrays[name] = np.ma.masked_array(arrays[name], mask)
    rejects(TypeError, [f"`{name}`", "mask"], *arrays.values())


@pytest.mark.parametrize("error", [RuntimeError, ValueError, TypeError, KeyError, MemoryError])
def test_array_protocol_that_raises(error):
    class Mine(error):
        pass

    class Array:
        def __array__(self, dtype=None, copy=None):
            raise Mine("of the caller")

    rejects(Mine, ["of the caller"], Array(), KERNEL)
    rejects(Mine, ["of the caller"], X, KERNEL, Array())


def test_forms_of_equal_value_are_told_apart_after_a_good_call():
    """1 == 1.0 == True, but only the first is an integer, also when a call with 1 is remembered."""
    depthwise_conv1d(X, KERNEL, BIAS, strides=1, dilation_rate=1)
    for wrong in (1.0, True):
        rejects(TypeError, ["`strides`", "integer"], X, KERNEL, BIAS, strides=wrong)
        rejects(TypeError, ["`dilation_rate`", "integer"], X, KERNEL, BIAS, dilation_rate=wrong)
        rejects(TypeError, ["`num_threads`", "integer"], X, KERNEL, BIAS, num_threads=wrong)
        rejects(TypeError, ["`padding`", "integers"], X, KERNEL, BIAS, padding=(wrong, 1))


def test_thread_functions():
    for value, error in (
        (0, ValueError),
        (-2, ValueError),
        (1.5, TypeError),
        ("2", TypeError),
        (True, TypeError),
    ):
        for function in (dwconv.set_num_threads, dwconv.num_threads):
            with pytest.raises(error, match=r"`n`.*positive integer.*n="):
                function(value)
    with pytest.raises(ValueError, match="mode='x'"):
        dwconv.show_config("x")
