# SPDX-License-Identifier: BSD-3-Clause
"""A progress bar on stderr that exists only on a terminal."""

import shutil
import sys
import time

_REDRAW_SECONDS = 0.1


class ProgressBar:
    """Context manager that shows how much of `total` is done; it erases itself at the end.

    Parameters
    ----------
    total : int
        Amount of work, in the unit of `advance`.
    unit : str
        What is counted, such as ``"steps"``.
    enabled : bool
        False shows nothing. Without a terminal on stderr nothing is shown either.
    """

    def __init__(self, total: int, unit: str, enabled: bool = True):
        self._total = total
        self._unit = unit
        self._enabled = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._done = 0
        self._started = time.monotonic()
        self._drawn = 0.0

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_) -> None:
        if self._enabled and self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def advance(self, amount: int) -> None:
        """Count `amount` more as done and redraw, at most ten times a second."""
        self._done += amount
        now = time.monotonic()
        if self._enabled and now - self._drawn >= _REDRAW_SECONDS:
            self._drawn = now
            print("\r" + self._line(now - self._started), end="\x1b[K", file=sys.stderr, flush=True)

    def _line(self, seconds: float) -> str:
        share = self._done / self._total
        rate = self._done / seconds if seconds > 0 else 0.0
        left = (self._total - self._done) / rate if rate else 0.0
        text = f" {share:4.0%}  {rate / 1e6:.2f} M {self._unit}/s  {left:.0f} s left"
        columns = shutil.get_terminal_size().columns
        width = min(40, columns - len(text) - 3)
        if width < 4:
            return text[: columns - 1]
        filled = int(share * width)
        return f"[{'#' * filled}{'.' * (width - filled)}]{text}"
