# SPDX-License-Identifier: BSD-3-Clause
"""Times all variants of all peers on one case, in turns.

In each round every variant is timed once, in a new order, so that what the machine does meanwhile
meets them alike. Ratios are later taken within rounds.
"""

import contextlib
import os
import random
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import data
from benchmarks.cases import Case
from benchmarks.process import WorkerError, WorkerProcess

_CHUNK = 0.02  # seconds of calls that are timed together
_WARM_UP = 0.003  # seconds of calls before, at least one,
_NEEDS_NONE = 0.2  # unless a call takes longer than this
_MOST_CALLS = 5000
_RETRIES = 3  # for a chunk that had to wait for a CPU more than this share of its time:
_MOST_WAITING = 0.03
# Times of the best variant, and rounds that a slower one gets: it decides nothing.
_SLOW, _SLOW_ROUNDS = 5, 3
_HOPELESS, _HOPELESS_ROUNDS = 25, 1
_LONG, _LONG_ROUNDS = 1.0, 3  # seconds per call, where a round is no small sample
# A call that is both hopeless and long is not repeated: the one that was checked counts.
_PREPARE_SECONDS = 240
_TIME_SECONDS = 300


def measure_case(case: Case, workers: list[WorkerProcess], rounds: int, seed: int) -> dict:
    """Checks and times a case.

    Returns
    -------
    dict
        ``"case"``; ``"variants"``: for each peer, variant, seconds per call by round (None where it
        was not timed), error, contiguous; ``"failed"`` and ``"left_out"``: peers, and why.
    """
    record = {"case": case.to_json(), "variants": [], "failed": [], "left_out": []}
    entries = []
    for worker, reply in zip(workers, _prepare(case, workers, seed), strict=True):
        if isinstance(reply, WorkerError):
            record["failed"].append({"peer": worker.peer, "variant": "", "reason": str(reply)})
            continue
        if "left_out" in reply:
            record["left_out"].append({"peer": worker.peer, "reason": reply["left_out"]})
        for variant in reply["variants"]:
            if "failed" in variant:
                failure = {"variant": variant["variant"], "reason": variant["failed"]}
                record["failed"].append({"peer": worker.peer, **failure})
            else:
                entries.append(_Entry(worker, variant, rounds))
    _time(entries, rounds, random.Random(seed))
    for worker in workers:
        with contextlib.suppress(WorkerError):  # it is started again for the next case
            worker.call("drop", _TIME_SECONDS)
    for entry in entries:
        if entry.failed:
            failure = {"variant": entry.variant, "reason": entry.failed}
            record["failed"].append({"peer": entry.worker.peer, **failure})
        else:
            record["variants"].append(entry.to_json())
    return record


class _Entry:
    """A prepared variant and its times so far."""

    def __init__(self, worker: WorkerProcess, reply: dict, rounds: int) -> None:
        self.worker = worker
        self.variant = reply["variant"]
        self.error, self.contiguous = reply["error"], reply["contiguous"]
        self.estimate = max(reply["seconds"], 1e-7)
        self.seconds: list[float | None] = [None] * rounds
        self.failed = ""

    def wanted(self, round_number: int, best: float) -> bool:
        """Whether this variant is still timed, now that the best takes `best` seconds."""
        slowness = self.estimate / best
        return not (
            self.failed
            or self.seconds[round_number] is not None
            or (slowness > _HOPELESS and round_number >= _HOPELESS_ROUNDS)
            or (slowness > _SLOW and round_number >= _SLOW_ROUNDS)
            or (self.estimate > _LONG and round_number >= _LONG_ROUNDS)
        )

    def time(self, round_number: int, retries: int) -> None:
        """Times a chunk, again while it is disturbed; the least disturbed one counts."""
        calls = min(_MOST_CALLS, max(1, int(_CHUNK / self.estimate)))
        warm_up = 0 if self.estimate > _NEEDS_NONE else max(1, int(_WARM_UP / self.estimate))
        least = None
        for _ in range(1 + retries):
            try:
                reply = self.worker.call(
                    "time",
                    _TIME_SECONDS,
                    variant=self.variant,
                    calls=calls,
                    warm_up=warm_up,
                )
            except WorkerError as error:
                self.failed = str(error)
                return
            if least is None or reply["waiting"] < least["waiting"]:
                least = reply
            if least["waiting"] < _MOST_WAITING:
                break
        self.seconds[round_number] = least["seconds"]
        self.estimate = min(self.estimate, max(least["seconds"], 1e-7))

    def to_json(self) -> dict:
        return {
            "peer": self.worker.peer,
            "variant": self.variant,
            "seconds": self.seconds,
            "error": self.error,
            "contiguous": self.contiguous,
        }


def _time(entries: list[_Entry], rounds: int, rng: random.Random) -> None:
    for round_number in range(rounds):
        rng.shuffle(entries)
        best = min((entry.estimate for entry in entries), default=0.0)
        for entry in entries:
            if round_number == 0 and entry.estimate > max(_LONG, _HOPELESS * best):
                entry.seconds[0] = entry.estimate
            if entry.wanted(round_number, best):
                retries = _RETRIES if entry.estimate < _SLOW * best else 0
                entry.time(round_number, retries)


def _prepare(case: Case, workers: list[WorkerProcess], seed: int) -> list[dict | WorkerError]:
    """The workers' replies. Preparing is not timed, so several do it at once."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        arrays = data.make_arrays(case, seed)
        for name, array in arrays._asdict().items():
            if array is not None:
                np.save(Path(folder, f"{name}.npy"), array)
        for i, array in enumerate(data.reference(case, arrays)):
            np.save(Path(folder, f"result{i}.npy"), array)

        def prepare(worker):
            try:
                return worker.call(
                    "prepare", _PREPARE_SECONDS, case=case.to_json(), folder=folder
                )
            except WorkerError as error:
                return error

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(prepare, workers))
