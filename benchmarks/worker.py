# SPDX-License-Identifier: BSD-3-Clause
"""The process that measures one library at one thread count.

It reads commands and writes replies, one line of JSON each. Libraries never share a process: their
thread pools, allocators and waiting loops would disturb each other.
"""

import gc
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import data
from benchmarks.cases import Case
from benchmarks.peers import NotSupported
from benchmarks.python_path import prefer_installed

# Calls after the first one that tell how long a call takes, by the seconds of the first, which may
# have compiled something.
_MORE_CALLS = ((0.3, 3), (60.0, 1), (float("inf"), 0))


class Worker:
    """Holds an adapter of `benchmarks.peers` and the calls it has prepared.

    Its methods are the commands; what they return is the reply.
    """

    def __init__(self, peer: str, threads: int) -> None:
        self.adapter = importlib.import_module(f"benchmarks.peers.{peer}")
        self.threads = threads
        self.versions = self.adapter.start(threads)
        self.calls: dict[str, Callable] = {}

    def prepare(self, case: dict, folder: str) -> dict:
        """Prepares, runs and checks every variant for a case whose arrays lie in `folder`."""
        self.drop()
        case = Case.from_json(case)
        arrays = data.Arrays(*(self._array(folder, name) for name in data.Arrays._fields))
        files = sorted(Path(folder).glob("result*.npy"))
        expected = tuple(np.load(file, mmap_mode="r") for file in files)
        try:
            names = self.adapter.variants(case)
        except NotSupported as reason:
            return {"variants": [], "left_out": str(reason)}
        return {"variants": [self._prepare(case, name, arrays, expected) for name in names]}

    def _prepare(self, case: Case, name: str, arrays: data.Arrays, expected: tuple) -> dict:
        reply = {"variant": name}
        try:
            call = self.adapter.prepare(case, name, arrays, self.threads)
            start = time.perf_counter()
            results = call()
            seconds = time.perf_counter() - start
            results = results if isinstance(results, tuple) else (results,)
            reply |= check(case, results, expected)
            if "failed" not in reply:
                del results
                for _ in range(next(n for limit, n in _MORE_CALLS if seconds < limit)):
                    start = time.perf_counter()
                    call()
                    seconds = min(seconds, time.perf_counter() - start)
                self.calls[name] = call
                reply["seconds"] = seconds
        except Exception as error:  # whatever a library throws belongs into the report
            traceback.print_exc()
            reply["failed"] = _text(error)
        return reply

    def time(self, variant: str, calls: int, warm_up: int) -> dict:
        """Seconds per call, and the share of that time that our threads waited for a CPU."""
        call = self.calls[variant]
        for _ in range(warm_up):
            call()
        gc.disable()
        waited, start = _waiting(), time.perf_counter()
        for _ in range(calls):
            call()
        seconds = time.perf_counter() - start
        waited = _waiting() - waited
        gc.enable()
        return {"seconds": seconds / calls, "waiting": waited / seconds}

    def drop(self) -> dict:
        """Frees what belongs to the last case."""
        self.calls.clear()
        if hasattr(self.adapter, "drop"):
            self.adapter.drop()
        gc.collect()
        return {}

    @staticmethod
    def _array(folder: str, name: str) -> np.ndarray | None:
        path = Path(folder, f"{name}.npy")
        """As a user has it: with the alignment that NumPy gives its arrays."""
        return np.load(path) if path.exists() else None


def check(case: Case, results: tuple, expected: tuple) -> dict:
    """Error of the results, and whether y is contiguous; "failed" says what is wrong."""
    for result in results:
        if result is None:
            continue
        if not isinstance(result, np.ndarray) or result.dtype != case.dtype:
            kind = getattr(result, "dtype", type(result).__name__)
            return {"failed": f"returned {kind} instead of {case.dtype} arrays"}
    error = data.relative_error(results, expected)
    if not error <= data.TOLERANCE[case.dtype]:
        return {"failed": f"wrong result: largest error / rms = {error:.3g}"}
    return {"error": error, "contiguous": results[0].flags.c_contiguous}


def _waiting() -> float:
    """Seconds that our threads have been ready to run while others had the CPUs; Linux only."""
    nanoseconds = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        try:
            nanoseconds += int(path.read_text().split()[1])
        except (OSError, IndexError):  # a thread that has ended meanwhile
            continue
    return nanoseconds * 1e-9


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def main() -> None:
    """Obeys commands until there are no more."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the libraries print goes to the log
    cpus = os.environ.get("DWCONV_BENCH_CPUS")
    if cpus:
        os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    prefer_installed(os.environ.get("DWCONV_BENCH_DWCONV"))
    worker = None
    for line in sys.stdin:
        message = json.loads(line)
        command = message.pop("command")
        try:
            if command == "start":
                worker = Worker(**message)
                reply = {"versions": worker.versions}
            else:
                reply = getattr(worker, command)(**message)
        except Exception as error:  # the other side decides what to do without this peer
            traceback.print_exc()
            reply = {"error": _text(error)}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
