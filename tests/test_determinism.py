# SPDX-License-Identifier: BSD-3-Clause
"""The same bits: for every thread count, cut, memory order and address, in every thread and
process, whatever the state of the floating-point unit; and nobody else's state is changed."""

import hashlib
import itertools
import multiprocessing
import platform
import subprocess
import sys
import threading
import warnings
from dataclasses import replace

import dwconv
import numpy as np
import pytest
from cases import LAYOUTS, Case, assert_bits, random_case, scaled
from child import run_child
from dwconv import depthwise_conv1d

both_layouts = pytest.mark.parametrize("data_format", LAYOUTS)
needs_fork = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs fork")

# Large enough for several threads, each in another way through the core.
LARGE = (
    Case(3000, 64, 9, 2, padding="same"),
    Case(3000, 64, 9, 2, 3, padding="same", dilation_rate=3),
    Case(4000, 33, 3, 2, padding="causal", data_format="channels_first"),
    Case(4000, 33, 31, 2, padding="same", dilation_rate=2, data_format="channels_first"),
    Case(60000, 2, 33, padding="same"),
    Case(60000, 2, 5, strides=2, padding=(3, 7)),
    Case(200000, 1, 7, padding="causal"),
    Case(24, 5000, 17, 3, padding="same"),
    Case(9000, 17, 130, padding="same", strides=3, dtype="float64"),
    Case(300, 600, 7, 4, 2, 1, "same", 5, "channels_first", "float64"),
)


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_thread_counts(case):
    x, kernel, bias = case.floats(4)
    one = case.run(x, kernel, bias, activation="relu6", num_threads=1)
    for threads in (2, 3, 7, 16):
        got = case.run(x, kernel, bias, activation="relu6", num_threads=threads)
        assert_bits(case, got, one, f"{threads=}")


def test_thread_counts_of_many_shapes():
    rng = np.random.default_rng(51)
    for _ in range(scaled(60)):
        case = random_case(rng, batch=int(rng.integers(1, 5)))
        x, kernel, bias = case.floats(4)
        one = case.run(x, kernel, bias, num_threads=1)
        assert_bits(case, case.run(x, kernel, bias, num_threads=5), one)
        assert_bits(case, case.run(x, kernel, bias, num_threads=5), one)


def test_layouts_agree():
    rng = np.random.default_rng(53)
    for case in itertools.chain(LARGE, (random_case(rng) for _ in range(scaled(150)))):
        x, kernel, bias = case.floats(4)
        first = replace(case, data_format="channels_first").run(x, kernel, bias)
        assert_bits(case, first, replace(case, data_format="channels_last").run(x, kernel, bias))


def test_batch_cuts():
    rng = np.random.default_rng(57)
    for _ in range(scaled(80)):
        case = random_case(rng, batch=4)
        x, kernel, bias = case.floats(4)
        whole = case.run(x, kernel, bias)
        for b in range(4):
            assert_bits(case, case.run(x[b : b + 1], kernel, bias), whole[b : b + 1], f"{b=}")


def test_channel_cuts():
    rng = np.random.default_rng(59)
    for _ in range(scaled(80)):
        case = random_case(rng)
        x, kernel, bias = case.floats(4)
        whole = case.run(x, kernel, bias)
        lo = int(rng.integers(case.channels))
        hi = int(rng.integers(lo, case.channels)) + 1
        outputs = slice(lo * case.multiplier, hi * case.multiplier)
        part = case.run(x[:, :, lo:hi], kernel[:, lo:hi], None if bias is None else bias[outputs])
        assert_bits(case, part, whole[:, :, outputs], f"channels {lo}:{hi}")


def test_time_cuts():
    """Outputs [lo, hi) computed alone, from just the input they see and with the padding that is
    left of it."""
    rng = np.random.default_rng(61)
    for _ in range(scaled(120)):
        case = random_case(rng)
        x, kernel, bias = case.floats(4)
        whole = case.run(x, kernel, bias)
        lo = int(rng.integers(whole.shape[1]))
        hi = int(rng.integers(lo, whole.shape[1])) + 1
        span = (case.kernel_size - 1) * case.dilation_rate + 1
        first = lo * case.strides - case.geometry["left"]
        last = (hi - 1) * case.strides - case.geometry["left"] + span
        begin, end = (min(max(edge, 0), case.steps) for edge in (first, last))
        part = replace(case, padding=(begin - first, last - end))
        assert_bits(
            case, part.run(x[:, begin:end], kernel, bias), whole[:, lo:hi], f"steps {lo}:{hi}"
        )


@both_layouts
def test_addresses(data_format):
    """Every offset from a cache line, for each array."""
    rng = np.random.default_rng(67)
    for case in (random_case(rng, data_format=data_format) for _ in range(scaled(8))):
        x, kernel, bias = case.floats(4)
        expected = case.run(x, kernel, bias)
        for offset in range(0, 64, np.dtype(case.dtype).itemsize):
            moved = [at_offset(case.to_layout(x), offset), at_offset(kernel, 60 - offset)]
            moved.append(None if bias is None else at_offset(bias, offset))
            got = dwconv.depthwise_conv1d(*moved, **case.options)
            assert_bits(case, case.to_last(got), expected, f"{offset=}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_addresses_of_gradients(dtype):
    """The same, where rows are whole vectors: those are cut where lines of the cache are."""
    rng, item = np.random.default_rng(71), np.dtype(dtype).itemsize
    for case in (
        Case(150, 16, 17, 2, padding="same"),
        Case(150, 48, 3, 2, padding="causal"),
        Case(700, 64, 31, 2, padding="same"),  # two chunks of time, and dx on the way
        Case(300, 80, 70, padding=(-5, 40)),
        Case(90, 32, 9, dilation_rate=3, padding=(2, 40)),
    ):
        case = replace(case, dtype=dtype)
        x, kernel, _ = case.floats(4)
        dy = rng.standard_normal(case.run(x, kernel, None).shape).astype(dtype)
        expected = dwconv.depthwise_conv1d_backward(x, kernel, dy, **case.options)
        for offset in range(0, 64, item):
            arrays = at_offset(x, offset), kernel, at_offset(dy, 64 - item - offset)
            options = {**case.options, "num_threads": 1 + offset // item % 3}
            got = dwconv.depthwise_conv1d_backward(*arrays, **options)
            for one, wanted in zip(got, expected, strict=True):
                assert_bits(case, one, wanted, f"{offset=}")


def at_offset(array, offset):
    """A copy that begins `offset` bytes after the start of a cache line."""
    memory = np.zeros(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset // array.itemsize * array.itemsize
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def test_two_callers_at_once():
    """Both inside the same loop of calls, with different shapes; the second finds the team busy."""
    jobs = []
    for case in LARGE[:2]:
        x, kernel, bias = case.floats()
        jobs.append((case, x, kernel, bias, case.run(x, kernel, bias, num_threads=1)))
    failures = []

    def work(case, x, kernel, bias, expected):
        try:
            for _ in range(20):
                assert_bits(case, case.run(x, kernel, bias, num_threads=4), expected)
        except BaseException as error:
            failures.append(error)

    callers = [threading.Thread(target=work, args=job) for job in jobs]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not failures, failures[0]


def test_many_threads():
    """Sixteen callers with all kinds of calls, large, small and wrong ones."""
    rng = np.random.default_rng(71)
    jobs = []
    for case in [*LARGE[:4], *(random_case(rng) for _ in range(20))]:
        x, kernel, bias = case.floats()
        jobs.append((case, x, kernel, bias, case.run(x, kernel, bias, num_threads=1)))
    failures, barrier = [], threading.Barrier(16)

    def work(seed):
        try:
            order = np.random.default_rng(seed)
            barrier.wait(30)
            for _ in range(scaled(25)):
                case, x, kernel, bias, expected = jobs[order.integers(len(jobs))]
                threads = int(order.integers(1, 6))
                assert_bits(
                    case, case.run(x, kernel, bias, num_threads=threads), expected, f"{threads=}"
                )
                with pytest.raises(ValueError):
                    depthwise_conv1d(x, kernel[:, :0], bias)
        except BaseException as error:
            failures.append(error)

    callers = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not failures, failures[0]


@needs_fork
def test_fork_after_use():
    """libgomp hangs in a child that was forked after a parallel region; alarm ends it with
    SIGALRM."""
    run_child(
        """
        import signal
        for _ in range(3):
            assert is_right(4)
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                grandchild = os.fork() if is_right(4) else 1
                if grandchild == 0:
                    os._exit(not is_right(4))
                os._exit(os.waitpid(grandchild, 0)[1] != 0)
            assert os.waitpid(child, 0)[1] == 0
        assert is_right(4)
        """,
        arguments=("-W", "ignore"),
    )


@needs_fork
def test_fork_during_use():
    """Forks while another thread is inside a call; the children compute, the calls go on."""
    run_child(
        """
        import signal, threading
        stop, wrong = threading.Event(), []
        def work():
            while not stop.is_set():
                if not is_right(4):
                    wrong.append(1)
        caller = threading.Thread(target=work)
        caller.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                os._exit(not is_right(4))
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        caller.join()
        assert not wrong
        """,
        arguments=("-W", "ignore"),
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, tmp_path):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    script = tmp_path / "work.py"
    script.write_text(
        """
import hashlib, sys
import numpy as np
import dwconv

def digest(seed):
    x = np.random.default_rng(seed).standard_normal((2, 3000, 64)).astype(np.float32)
    w = np.random.default_rng(1).standard_normal((9, 64, 1)).astype(np.float32)
    return hashlib.sha256(dwconv.depthwise_conv1d(x, w, num_threads=4)).hexdigest()

if __name__ == "__main__":
    import multiprocessing
    here = [digest(seed) for seed in range(4)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        there = pool.map_async(digest, range(4)).get(60)
    print(here == there)
"""
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), method],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


FP_STATE = """
import ctypes, ctypes.util, hashlib
libm = ctypes.CDLL(ctypes.util.find_library("m"))
def control():
    libm.fegetenv(ctypes.byref(state))
    return list(state)
state = (ctypes.c_uint32 * 8)()
rng = np.random.default_rng(5)
def draw(*shape):
    return np.ldexp(rng.standard_normal(shape), rng.integers(-80, -40, shape)).astype(np.float32)
xs = [draw(1, 2000, 40)]
xs.append(np.ascontiguousarray(xs[0].transpose(0, 2, 1)))
ws = draw(5, 40, 2)
outs = [np.empty((1, 1996, 80), np.float32), np.empty((1, 80, 1996), np.float32)]
def compute(threads):
    for x, out, layout in zip(xs, outs, ("channels_last", "channels_first")):
        depthwise_conv1d(x, ws, data_format=layout, out=out, num_threads=threads)
    return [hashlib.sha256(out).hexdigest() for out in outs]
right = compute(1)
assert min(np.abs(out[out != 0]).min() for out in outs) < 1e-38
"""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc",
    reason="knows how glibc lays out fenv_t on x86-64",
)
class TestFloatingPointState:
    """Word 7 of fenv_t is MXCSR: bit 15 flushes results to zero, bit 6 takes subnormals as zero."""

    @pytest.mark.parametrize("threads", [1, 3])
    @pytest.mark.parametrize("bits", [1 << 15, 1 << 6, 1 << 15 | 1 << 6, 1 << 13, 2 << 13, 3 << 13])
    def test_foreign_control_word(self, bits, threads):
        """Flush-to-zero, denormals-are-zero, other roundings: the same bits, and the caller keeps
        its setting."""
        run_child(
            FP_STATE
            + f"""
control()
state[7] |= {bits}
libm.fesetenv(ctypes.byref(state))
for _ in range(2):
    there = compute({threads})
    assert control()[7] & 0xffc0 == (0x1f80 | {bits}) & 0xffc0, hex(state[7])
assert there == right
"""
        )

    def test_flags(self):
        """Inexact, overflowing and invalid results raise no flag in the caller, and clear none."""
        run_child(
            FP_STATE
            + """
from dwconv._core import Plan
plan = Plan(batch=1, in_steps=2000, channels=40, depth_multiplier=2, kernel_size=5, stride=1,
            dilation=1, pad_left=0, out_steps=1996, channels_first=False, double_precision=False)
xs[0][0, 0, :3] = np.inf, 3e38, np.nan
ws[0, 1] = 3e38
for flags in (0, 0x3f, 0x04):
    for threads in (1, 3):
        control()
        state[7] = state[7] & ~0x3f | flags
        libm.fesetenv(ctypes.byref(state))
        plan.forward(xs[0], ws, None, outs[0], (0, 0.0, 0.0), threads)
        assert control()[7] & 0x3f == flags, hex(state[7])
"""
        )


def test_numpy_error_state_is_untouched():
    x = np.full((1, 50, 9), 3e38, np.float32)
    x[0, 3] = np.inf
    kernel = np.full((3, 9, 1), -5, np.float32)
    with np.errstate(all="raise"):
        before = np.geterr()
        for activation in (None, "relu", "hard_silu", "leaky_relu", "tanh", "silu"):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                depthwise_conv1d(x, kernel, activation=activation)
        assert np.geterr() == before


def test_random_state_is_untouched():
    before = np.random.get_state()[1].copy()
    depthwise_conv1d(np.ones((1, 9, 2)), np.ones((3, 2, 1)))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_many_repeats_give_one_digest():
    case = LARGE[1]
    x, kernel, bias = case.floats()
    results = (case.run(x, kernel, bias, num_threads=4) for _ in range(scaled(20)))
    assert len({hashlib.sha256(y).hexdigest() for y in results}) == 1


def test_new_values_in_the_same_arrays():
    """Nothing of an earlier call is remembered but the shapes."""
    case = Case(50, 9, 5, 2, 2)
    x, kernel, bias = case.floats()
    first = case.run(x, kernel, bias)
    kept = first.copy()
    x *= 2
    assert_bits(case, case.run(x, kernel, 2 * bias), 2 * kept)
    kernel *= 4
    assert_bits(case, case.run(x, kernel, 8 * bias), 8 * kept)
    assert_bits(case, first, kept)
