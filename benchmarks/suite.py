# SPDX-License-Identifier: BSD-3-Clause
"""Runs the cases with every thread count, and measures the machine before and after."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import details, limits, machine, native
from benchmarks.cases import Case
from benchmarks.measure import measure_case
from benchmarks.peers import PEERS
from benchmarks.process import WorkerError, WorkerProcess
from benchmarks.progress import Progress


def run_suite(
    cases: list[Case],
    peers: list[str],
    thread_counts: list[int],
    rounds: int,
    logs: Path,
    target: Path | None = None,
    seed: int = 0,
    with_details: bool = False,
) -> dict:
    """Measures, and returns what `benchmarks.results` understands.

    Parameters
    ----------
    cases : list of Case
    peers : list of str
        Keys of `benchmarks.peers.PEERS`; one that cannot be started is reported and left out.
    thread_counts : list of int
    rounds : int
    logs : pathlib.Path
        Folder for what the libraries print.
    target : pathlib.Path, optional
        Where the result is written after each case, so that a stopped run is not lost.
    seed : int
        Of the arrays and of the order of the peers.
    with_details : bool
        Run `benchmarks.details` too.
    """
    result = {
        "machine": machine.describe(),
        "rounds": rounds,
        "seed": seed,
        "limits": {},
        "peers": {},
        "absent": {},
        "measurements": [],
        "details": {},
    }
    try:
        limited = limits.Machine()
    except native.NoCompiler as error:
        limited = None
        print(f"the limits of this machine are not measured: {error}", file=sys.stderr)

    def measure_limits(counts):
        for threads in counts if limited is not None else ():
            again = limited.measure(threads)
            key = str(threads)
            result["limits"][key] = limits.merge(result["limits"].get(key), again)

    with Progress(len(cases) * len(thread_counts)) as progress:
        for threads in thread_counts:
            measure_limits([threads])
            team = _Team(peers, threads, logs, result)
            try:
                for number, case in enumerate(cases):
                    progress.step(f"{case.name}, {threads} thread{'s' if threads > 1 else ''}")
                    record = measure_case(case, team.of(case), rounds, seed + number)
                    result["measurements"].append({"threads": threads, **record})
                    if target is not None:
                        write_json(result, target)
            finally:
                team.close()
        measure_limits(thread_counts)
    if with_details:
        dwconv = os.environ.get("DWCONV_BENCH_DWCONV", "")
        result["details"] = details.run(result["limits"].get("1"), dwconv)
    if target is not None:
        write_json(result, target)
    return result


def write_json(result: dict, path: Path) -> None:
    """Writes the file in one go: a reader finds the old one or the new one."""
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(draft, path)


class _Team:
    """The workers of one thread count. Those that die are started again for the next case."""

    def __init__(self, peers: list[str], threads: int, logs: Path, result: dict) -> None:
        self._threads, self._logs, self._result = threads, logs, result
        self._workers: dict[str, WorkerProcess] = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._start, peers))

    def of(self, case: Case) -> list[WorkerProcess]:
        """The workers that take part in a case, all of them running."""
        for peer, worker in list(self._workers.items()):
            if not worker.alive:
                self._workers.pop(peer).close()
                self._start(peer)
        everyone = case.group in ("public", "streaming")
        return [w for peer, w in self._workers.items() if everyone or PEERS[peer].in_scaling]

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()

    def _start(self, peer: str) -> None:
        log = self._logs / f"{peer}-{self._threads}.log"
        try:
            worker = WorkerProcess(peer, self._threads, log)
        except WorkerError as error:
            self._result["absent"][peer] = str(error)
        else:
            self._workers[peer] = worker
            self._result["peers"][peer] = worker.versions
