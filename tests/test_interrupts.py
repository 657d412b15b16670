# SPDX-License-Identifier: BSD-3-Clause
"""Signals during a long call: handlers run, and what they raise ends the call."""

import signal
import sys
import threading
import time

import dwconv
import numpy as np
import pytest
from dwconv import _core

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an interval timer")


class Alarm(Exception):
    pass


def ring(signum, frame):
    raise Alarm


class alarm_after:
    """A block during which a signal arrives, for which `handler` is called."""

    def __init__(self, seconds, handler=ring):
        self.seconds, self.handler = seconds, handler

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self.handler)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *error):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


# Each would run for seconds on one thread of any CPU.
def one_channel():
    dwconv.depthwise_conv1d(
        np.ones((1, 3_000_000, 1), np.float32), np.ones((100_000, 1, 1), np.float32), method="direct"
    )


def many_taps():
    dwconv.depthwise_conv1d(
        np.ones((1, 60_000, 64), np.float32), np.ones((30_000, 64, 1), np.float32), padding="same", method="direct"
    )


def channels_first():
    dwconv.depthwise_conv1d(
        np.ones((1, 64, 60_000), np.float32), np.ones((30_000, 64, 1), np.float32), padding="same", method="direct",
        data_format="channels_first",
    )


def gradients():
    x = np.ones((1, 60_000, 64), np.float32)
    dwconv.depthwise_conv1d_backward(x, np.ones((30_000, 64, 1), np.float32), x, padding="same")


LONG_CALLS = {
    "one channel": one_channel, "channels_last": many_taps, "channels_first": channels_first, "gradients": gradients,
}


class TestDuringLongCalls:
    @pytest.mark.parametrize("threads", [1, 2])
    @pytest.mark.parametrize("name", LONG_CALLS)
    def test_exception_of_a_handler_ends_the_call(self, name, threads):
        with dwconv.num_threads(threads), pytest.raises(Alarm):
            with alarm_after(0.3):
                begin = time.perf_counter()
                try:
                    LONG_CALLS[name]()
                finally:
                    took = time.perf_counter() - begin
        assert took < 1.3, f"{name}, {threads} threads: {took:.2f} s"

    def test_ctrl_c(self):
        # by another signal, because SIGINT itself is ignored where tests run in the background
        with pytest.raises(KeyboardInterrupt), alarm_after(0.2, signal.default_int_handler):
            many_taps()

    def test_handler_may_call_and_the_call_goes_on(self):
        x = np.arange(600, dtype=np.float32).reshape(1, 200, 3) % 7
        kernel = np.ones((5, 3, 1), np.float32)
        expected = dwconv.depthwise_conv1d(x, kernel)
        heard = []

        def listen(signum, frame):
            heard.append(dwconv.depthwise_conv1d(x, kernel))

        long, taps = np.ones((1, 24_000, 64), np.float32), np.ones((2_000, 64, 1), np.float32)
        with dwconv.num_threads(2), alarm_after(0.01, listen):
            y = dwconv.depthwise_conv1d(long, taps, method="direct")
        assert (y == 2_000).all()
        assert len(heard) == 1 and (heard[0] == expected).all()

    def test_another_thread_is_not_disturbed(self):
        """Handlers run in the main thread, which is free meanwhile."""
        long, taps = np.ones((1, 24_000, 64), np.float32), np.ones((2_000, 64, 1), np.float32)
        results = []
        thread = threading.Thread(
            target=lambda: results.append(dwconv.depthwise_conv1d(long, taps, method="direct"))
        )
        with pytest.raises(Alarm), alarm_after(0.02):
            thread.start()
            time.sleep(5)
        thread.join()
        assert (results[0] == 2_000).all()

    def test_the_next_call_is_right(self):
        kernel = np.ones((30_000, 64, 1), np.float32)
        x = np.ones((1, 60_000, 64), np.float32)
        y = np.empty_like(x)
        with pytest.raises(Alarm), alarm_after(0.1):
            dwconv.depthwise_conv1d(x, kernel, padding="same", method="direct", out=y)
        short = dwconv.depthwise_conv1d(x[:, :30], kernel[:3], method="direct")
        assert (short == 3).all()


def test_results_do_not_depend_on_how_long_calls_are_cut():
    """Whether or not a task would take long, outputs are the same chains."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((1, 700_000, 12), dtype=np.float32)
    kernel = rng.standard_normal((130, 12, 1), dtype=np.float32)
    whole = dwconv.depthwise_conv1d(x, kernel, method="direct")
    part = dwconv.depthwise_conv1d(x[:, 349_000:351_000], kernel, method="direct")
    assert (whole[:, 349_000 : 349_000 + part.shape[1]] == part).all()
