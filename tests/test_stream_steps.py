# SPDX-License-Identifier: BSD-3-Clause
"""Streams that take one step after the other, so many that their histories become rings."""

from dataclasses import replace

import numpy as np
import pytest
from dwconv import _core
from stream_cases import StreamCase, same_bits

RINGS = [
    StreamCase(16, 4), StreamCase(67, 3, batch=2, activation="silu"), StreamCase(130, 31, activation="relu"),
    StreamCase(40, 5, dilation_rate=3, batch=3), StreamCase(32, 2, padding=(0, -3)), StreamCase(200, 12, dtype="float64"),
    StreamCase(48, 4, data_format="channels_first", activation="silu"), StreamCase(33, 9, strides=2), StreamCase(20, 1),
]  # fmt: skip


@pytest.mark.parametrize("case", RINGS, ids=str)
@pytest.mark.parametrize("isa", _core.isa_names())
def test_steps_for_so_long_that_the_history_becomes_a_ring(case, isa):
    """More steps in a row than a tile has room for, with something else between them."""
    case = replace(case, isa=isa)
    rng = np.random.default_rng(3)
    x = case.chunk(rng, 900)
    expected = np.concatenate([case.one_call(x[b : b + 1]) for b in range(case.batch)])
    stream, outputs, at = case.stream(), [], 0
    for steps, chunk in ((150, 1), (97, 5), (3, 2), (201, 40), (99, 0), (80, 1), (64, 100)):
        for _ in range(steps):
            given = stream.step(np.ascontiguousarray(x.take(at, case.time_axis)))
            at += 1
            if given is not None:
                outputs.append(np.expand_dims(given, case.time_axis).copy())
        if steps == 99:
            other = case.stream()
            other.state = stream.state
            stream = other
        outputs.append(stream.push(x.take(range(at, at + chunk), case.time_axis)))
        at += chunk
    assert 800 < at < 900
    outputs.append(stream.push(x.take(range(at, 900), case.time_axis)))
    outputs.append(stream.flush())
    assert same_bits(np.concatenate(outputs, case.time_axis), expected), case
