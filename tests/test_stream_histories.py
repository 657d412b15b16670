# SPDX-License-Identifier: BSD-3-Clause
"""Random histories of streams: whatever happens to one, its outputs are those of one call, bit for bit."""

import copy
import pickle

import numpy as np
import pytest
from cases import scaled
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, precondition, rule
from stream_cases import isa_named, same_bits, stream_cases

STEPS = st.sampled_from((0, 1, 1, 2, 3, 5, 16, 40, 100))


class Histories(RuleBasedStateMachine):
    """A stream beside the inputs and outputs of its present sequences."""

    saved = Bundle("saved")

    @initialize(case=stream_cases(), seed=st.integers(0, 2**32))
    def begin(self, case, seed):
        self.case, self.rng = case, np.random.default_rng(seed)
        self.stream = case.stream()
        self.model = [Sequence() for _ in range(case.batch)]

    def record(self, y):
        """Takes the outputs of the last call apart."""
        axis, counts = self.case.time_axis, self.stream.new_steps
        assert y.shape[axis] == max(counts), self.case
        for item, count in enumerate(counts):
            mine = y[item : item + 1]
            before, after = np.split(mine, [y.shape[axis] - count], axis)
            assert not before.any(), self.case
            self.model[item].outputs.append(after.copy())

    def ended(self):
        return any(sequence.flushed for sequence in self.model)

    def check(self, item):
        """A finished sequence against one call."""
        sequence, axis = self.model[item], self.case.time_axis
        empty = self.case.chunk(self.rng, 0)[:1]
        x = np.concatenate([empty, *sequence.inputs], axis)
        got = np.concatenate(sequence.outputs, axis)
        assert same_bits(got, self.case.one_call(np.ascontiguousarray(x))), f"{self.case} {x.shape}"

    @precondition(lambda self: not self.ended())
    @rule(steps=STEPS)
    def push(self, steps):
        x = self.case.chunk(self.rng, steps)
        for item, sequence in enumerate(self.model):
            sequence.inputs.append(x[item : item + 1])
        self.record(self.stream.push(x))

    @precondition(lambda self: not self.ended() and self.stream.delay >= 0)
    @rule(out=st.booleans(), times=st.sampled_from((1, 1, 3, 20, 150)))
    def step(self, out, times):
        for _ in range(times):
            x = self.case.chunk(self.rng, 1)
            for item, sequence in enumerate(self.model):
                sequence.inputs.append(x[item : item + 1])
            channels = self.case.channels * self.case.multiplier
            y = np.empty((self.case.batch, channels), self.case.dtype) if out else None
            given = self.stream.step(np.ascontiguousarray(np.squeeze(x, self.case.time_axis)), y)
            if given is None:
                assert not self.stream.new_steps.any(), self.case
            else:
                assert given is y or not out
                self.record(np.expand_dims(given, self.case.time_axis))

    @precondition(lambda self: not self.ended())
    @rule()
    def flush(self):
        self.record(self.stream.flush())
        for item, sequence in enumerate(self.model):
            sequence.flushed = True
            self.check(item)

    @rule(item=st.integers(0, 2))
    def flush_one(self, item):
        if item >= self.case.batch or self.model[item].flushed:
            return
        y = self.stream.flush(item)
        assert y.shape[0] == 1 and y.shape[self.case.time_axis] == self.stream.new_steps[item]
        self.model[item].outputs.append(y)
        self.model[item].flushed = True
        self.check(item)

    @rule()
    def reset(self):
        self.stream.reset()
        self.model = [Sequence() for _ in self.model]

    @rule(item=st.integers(0, 2))
    def reset_one(self, item):
        if item < self.case.batch:
            self.stream.reset(item)
            self.model[item] = Sequence()

    @rule(target=saved, through=st.sampled_from(("state", "pickle", "copy", "deepcopy")))
    def save(self, through):
        with isa_named(self.case.isa):
            kept = {
                "state": lambda: pickle.dumps(self.stream.state),
                "pickle": lambda: pickle.dumps(self.stream),
                "copy": lambda: copy.copy(self.stream),
                "deepcopy": lambda: copy.deepcopy(self.stream),
            }[through]()
        return through, kept, [sequence.copy() for sequence in self.model]

    @rule(saved=saved)
    def restore(self, saved):
        through, kept, model = saved
        with isa_named(self.case.isa):
            if through == "state":
                self.stream.state = pickle.loads(kept)
            elif through == "pickle":
                self.stream = pickle.loads(kept)
            else:
                self.stream = copy.copy(kept)
        self.model = [sequence.copy() for sequence in model]

    @rule(what=st.integers(0, 5))
    def fail(self, what):
        case, before = self.case, pickle.dumps(self.stream.state)
        x = case.chunk(self.rng, 3)
        frame = np.zeros((case.batch, case.channels), case.dtype)
        state = self.stream.state
        bad = (
            lambda: self.stream.push(x[:, :, :-1] if case.time_axis == 1 else x[:, :-1]),
            lambda: self.stream.push(np.concatenate([x, x])),
            lambda: self.stream.push(x.astype("float32" if case.dtype == "float64" else "float64")),
            lambda: self.stream.step(frame[:, 1:]),
            lambda: self.stream.step(frame, np.empty((case.batch, case.channels * case.multiplier + 1), case.dtype))
            if self.stream.delay == 0 and case.strides == 1
            else self.stream.step(x),
            lambda: setattr(self.stream, "state", {**state, "version": 0}),
        )
        with pytest.raises(ValueError):
            bad[what]()
        if self.ended():
            with pytest.raises(ValueError, match="flush"):
                self.stream.push(x)
        assert pickle.dumps(self.stream.state) == before, case

    def teardown(self):
        if hasattr(self, "model"):
            for item, sequence in enumerate(self.model):
                if not sequence.flushed:
                    self.flush_one(item)


class Sequence:
    def __init__(self, inputs=(), outputs=(), flushed=False):
        self.inputs, self.outputs, self.flushed = list(inputs), list(outputs), flushed

    def copy(self):
        return Sequence(self.inputs, self.outputs, self.flushed)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=scaled(100), stateful_step_count=25, deadline=None)
