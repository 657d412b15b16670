# SPDX-License-Identifier: BSD-3-Clause
"""One layer in several threads and processes: first calls, and weights replaced during calls."""

import os
import threading

import numpy as np
import pytest
from child import run_child
from dwconv import DepthwiseConv1D
from layer_helpers import X, built_layer


def in_threads(count, work):
    """Run `work(i)` in `count` threads at the same time; raise what one of them raises."""
    barrier, errors = threading.Barrier(count), []

    def run(i):
        try:
            barrier.wait(10)
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def test_concurrent_first_calls_build_once():
    for _ in range(20):
        built = []

        def initializer(shape, dtype, built=built):
            built.append(shape)
            return np.ones(shape, dtype)

        layer = DepthwiseConv1D(3, depthwise_initializer=initializer)
        results = [None] * 6

        def work(i, layer=layer, results=results):
            results[i] = layer(X)

        in_threads(6, work)
        assert built == [(3, 3, 1)]
        assert all(np.array_equal(result, results[0]) for result in results)


def test_set_weights_is_seen_completely_or_not_at_all():
    layer = built_layer(kernel_size=1, use_bias=True)
    ones = np.ones((1, 50, 3), np.float32)
    layer.set_weights([np.zeros((1, 3, 1)), np.zeros(3)])

    def work(i):
        for n in range(300):
            if i < 2:
                value = float(2 * n + i)
                layer.set_weights([np.full((1, 3, 1), value), np.full(3, -value)])
            elif i == 2:
                kernel, bias = layer.get_weights()
                assert np.array_equal(kernel.ravel(), -bias)
            else:
                assert not layer(ones).any(), "the kernel of one set with the bias of another"

    in_threads(5, work)


def test_concurrent_assignments_are_not_lost():
    layer = built_layer()

    def work(i):
        for n in range(500):
            if i == 0:
                layer.kernel.assign(np.full((3, 3, 1), n))
            else:
                layer.bias.assign(np.full(3, n))

    in_threads(2, work)
    assert np.all(layer.kernel == 499) and np.all(layer.bias == 499)


def test_a_first_call_that_fails_keeps_weights_that_others_have_set():
    layer = DepthwiseConv1D(3, use_bias=False)

    def set_by_another_thread_then_fail(outputs):
        setter = threading.Thread(target=layer.set_weights, args=([np.full((3, 3, 1), 5)],))
        setter.start()
        setter.join(10)
        raise RuntimeError("too late")

    layer.activation = set_by_another_thread_then_fail
    with pytest.raises(RuntimeError, match="too late"):
        layer(X)
    assert layer.built and np.all(layer.kernel == 5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_another_thread_builds():
    run_child(
        """
        import os, threading, warnings
        import numpy as np
        from dwconv import DepthwiseConv1D
        inside, leave = threading.Event(), threading.Event()
        def slow(shape, dtype):
            inside.set()
            leave.wait(20)
            return np.ones(shape, dtype)
        x = np.ones((1, 4, 2), np.float32)
        layer = DepthwiseConv1D(3, depthwise_initializer=slow)
        builder = threading.Thread(target=layer, args=(x,))
        builder.start()
        inside.wait(20)
        warnings.simplefilter("ignore")  # Python 3.12 warns of forks with threads
        child = os.fork()
        if child == 0:
            layer = DepthwiseConv1D(3)
            layer(x)
            layer.set_weights(layer.get_weights())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        leave.set()
        builder.join()
        assert status == 0, status
        """,
        prelude="",
        timeout=60,
    )
