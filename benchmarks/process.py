# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark's end of a worker process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from benchmarks.environments import ROOT, python_of
from benchmarks.machine import usable_cpus
from benchmarks.peers import PEERS

_START_SECONDS = 180  # importing a large framework from a cold disk


class WorkerError(Exception):
    """The worker answered with an error, died, or did not answer in time."""


class WorkerProcess:
    """A running `benchmarks.worker`.

    Between calls the process is stopped, where the system can do that, so that a thread pool that
    waits by spinning takes no CPU from the worker that is being timed.

    Parameters
    ----------
    peer : str
        A key of `benchmarks.peers.PEERS`.
    threads : int
    log : pathlib.Path
        File for what the library prints.

    Raises
    ------
    WorkerError
        If the library cannot be imported or started.
    """

    def __init__(self, peer: str, threads: int, log: Path) -> None:
        self.peer = peer
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a") as stderr:
            self._process = subprocess.Popen(
                [python_of(PEERS[peer].environment), "-m", "benchmarks.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=_environment(peer, threads),
                cwd=ROOT,
                text=True,
            )
        try:
            reply = self.call("start", _START_SECONDS, peer=peer, threads=threads)
        except WorkerError:
            self.close()
            raise
        self.versions = reply["versions"]

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def call(self, command: str, timeout: float, **arguments: object) -> dict:
        """Sends a command and waits for the reply. After `timeout` seconds the process is ended.

        Raises
        ------
        WorkerError
        """
        timer = threading.Timer(timeout, self._process.kill)
        timer.start()
        try:
            self._signal("SIGCONT")
            message = json.dumps({"command": command, **arguments})
            print(message, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except OSError as error:
            raise WorkerError(f"{command}: {error}") from error
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if not line:
            status = self._process.wait()
            why = f"no answer in {timeout:.0f} s" if late else f"ended with status {status}"
            raise WorkerError(f"{command}: {why}")
        self._signal("SIGSTOP")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):  # a command that it no longer read
            self._process.stdin.close()
        self._process.stdout.close()

    def _signal(self, name: str) -> None:
        if hasattr(signal, name):
            self._process.send_signal(getattr(signal, name))


def _environment(peer: str, threads: int) -> dict[str, str]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "NUMBA_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    cpus = usable_cpus()
    if PEERS[peer].pinned and threads < len(cpus) and sys.platform == "linux":
        environment["DWCONV_BENCH_CPUS"] = ",".join(map(str, cpus[-threads:]))
    return environment
