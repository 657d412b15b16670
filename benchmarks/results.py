# SPDX-License-Identifier: BSD-3-Clause
"""What measurements mean: medians, ratios within rounds, fractions of the limit."""

import math
import statistics
from dataclasses import dataclass

from benchmarks.cases import Case
from benchmarks.peers import DWCONV
from benchmarks.roofline import Bound, bound


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one variant; None for rounds in which it was not timed."""

    peer: str
    variant: str
    rounds: tuple[float | None, ...]
    contiguous: bool

    @property
    def median(self) -> float:
        return statistics.median(t for t in self.rounds if t is not None)

    @property
    def label(self) -> str:
        """Peer and variant; a star marks a result that is a strided view."""
        return f"{self.peer}:{self.variant}{'' if self.contiguous else '*'}"


def ratio(slower: Timing, faster: Timing) -> float:
    """Median of the ratios of times within the rounds that both have."""
    pairs = zip(slower.rounds, faster.rounds, strict=True)
    return statistics.median(a / b for a, b in pairs if a is not None and b is not None)


@dataclass(frozen=True)
class Row:
    """A case at one thread count: the best variant of each peer, fastest first."""

    case: Case
    threads: int
    best: dict[str, Timing]
    bound: Bound | None

    @property
    def dwconv(self) -> Timing | None:
        return self.best.get(DWCONV)

    @property
    def best_peer(self) -> Timing | None:
        """The fastest of the others."""
        return next((t for peer, t in self.best.items() if peer != DWCONV), None)

    @property
    def speedup(self) -> float | None:
        """How many times faster than the best peer dwconv is."""
        if self.dwconv is None or self.best_peer is None:
            return None
        return ratio(self.best_peer, self.dwconv)

    @property
    def speedup_at_limit(self) -> float | None:
        """What the speed-up would be if dwconv ran exactly at the limit of the direct form."""
        if self.best_peer is None or self.bound is None:
            return None
        return self.best_peer.median / self.bound.seconds

    @property
    def fused(self) -> bool:
        """Whether there is an activation, which the limit does not count as work."""
        return self.case.activation != "linear"

    def fraction(self, timing: Timing | None) -> float | None:
        """Share of the machine's limit that a variant reaches."""
        return None if timing is None or self.bound is None else self.bound.seconds / timing.median

    def gflops(self, timing: Timing) -> float:
        return self.case.flops / timing.median / 1e9


def rows(result: dict) -> list[Row]:
    """The rows of a result, in the order in which they were measured."""
    return [_row(result, record) for record in result["measurements"]]


def _row(result: dict, record: dict) -> Row:
    case, threads = Case.from_json(record["case"]), record["threads"]
    timings = [
        Timing(v["peer"], v["variant"], tuple(v["seconds"]), v["contiguous"])
        for v in record["variants"]
    ]
    best: dict[str, Timing] = {}
    for timing in sorted(timings, key=lambda t: t.median):
        best.setdefault(timing.peer, timing)
    limits = result["limits"].get(str(threads))
    return Row(case, threads, best, None if limits is None else bound(limits, case))


def geometric_mean(values: list[float]) -> float:
    """Of positive numbers, at least one."""
    return math.exp(statistics.fmean(map(math.log, values)))


def wrong(result: dict) -> list[str]:
    """What dwconv failed at; empty if all its results were right."""
    if DWCONV in result["absent"]:
        return [f"dwconv cannot be measured: {result['absent'][DWCONV]}"]
    return [
        f"{record['case']['name']} {failure['variant']}: {failure['reason']}"
        for record in result["measurements"]
        for failure in record["failed"]
        if failure["peer"] == DWCONV
    ]
