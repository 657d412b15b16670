# SPDX-License-Identifier: BSD-3-Clause
"""Runs the small tools for a result: what the targets ask beyond the times of whole cases.

A process of its own does it, so that the one that measures never imports dwconv.
"""

import contextlib
import json
import subprocess
import sys
import traceback

from benchmarks import cliffs, fused, memory, overhead, streaming
from benchmarks.environments import ROOT
from benchmarks.machine import usable_cpus
from benchmarks.probes.probes import PROBES, said
from benchmarks.public_cases import PUBLIC_CASES
from benchmarks.python_path import prefer_installed

NAMES = ("overhead", "streaming", "fused", "memory", "cliffs", "probes")
_ROUNDS = 15
_CLIFF_ROUNDS = 9
_SECONDS = 600


def run(limits: dict | None, dwconv: str, names: tuple[str, ...] = NAMES) -> dict:
    """What `measure` returns for each name, or ``{"failed": reason}``.

    Parameters
    ----------
    limits : dict or None
        Of one thread; without, what bounds a case is unknown and cliffs are not looked for.
    dwconv : str
        Folder of the dwconv to measure; empty for the installed one.
    names : tuple of str
        Of `NAMES`.
    """
    message = json.dumps({"limits": limits, "dwconv": dwconv, "names": names})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.details"],
            input=message,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            timeout=_SECONDS,
        )
        return json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        return {name: {"failed": f"{type(error).__name__}: {error}"} for name in names}


def measure(name: str, limits: dict | None) -> list[dict]:
    """Runs one of the tools; each returns a list of entries for JSON."""
    return _MEASURE[name](limits)


def _overhead(limits):
    return [
        {"shape": "T{} C{} K{}".format(*shape), **overhead.measure(shape, _ROUNDS)}
        for shape in overhead.SHAPES
    ]


def _streaming(limits):
    steps = [
        {"shape": f"C{channels} K{taps} silu", **streaming.measure_step(channels, taps, _ROUNDS)}
        for channels, taps in streaming.STEPS
    ]
    chunks = [
        {
            "shape": f"C{channels} K{taps}, {length} steps",
            **streaming.measure_chunks(channels, taps, length, _ROUNDS),
        }
        for channels, taps, length in streaming.CHUNKS
    ]
    return steps + chunks


def _cliffs(limits):
    if limits is None:
        raise ValueError("the limits of the machine are unknown")
    pairs = cliffs.find(limits, cliffs.all_series(), _CLIFF_ROUNDS)
    return [
        {"ratio": ratio, "slow": slow.shape_text, "fast": cliffs.change(slow, fast)}
        for ratio, slow, fast, _ in pairs
    ]


_MEASURE = {
    "overhead": _overhead,
    "streaming": _streaming,
    "fused": lambda limits: fused.measure(_ROUNDS),
    "memory": lambda limits: memory.measure(PUBLIC_CASES, sorted({1, len(usable_cpus())})),
    "cliffs": _cliffs,
    "probes": lambda limits: [{"shows": said(probe), "result": probe()} for probe in PROBES],
}


def main() -> None:
    """Reads the arguments of `run` as JSON and writes its result."""
    message = json.load(sys.stdin)
    prefer_installed(message["dwconv"])
    reply = {}
    with contextlib.redirect_stdout(sys.stderr):
        for name in message["names"]:
            try:
                reply[name] = measure(name, message["limits"])
            except Exception as error:  # the others are worth having without it
                traceback.print_exc()
                reply[name] = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
    json.dump(reply, sys.stdout)


if __name__ == "__main__":
    main()
