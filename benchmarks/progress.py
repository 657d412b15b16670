# SPDX-License-Identifier: BSD-3-Clause
"""Progress on stderr: a bar on a terminal, a line for each step elsewhere."""

import shutil
import sys
import time

_WIDTH = 24


class Progress:
    """Context manager; call `step` before each of `total` steps.

    Parameters
    ----------
    total : int
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._begun = 0
        self._start = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            self._overwrite("")

    def step(self, text: str) -> None:
        """Shows what is about to be done, and the time left by the steps so far."""
        done, self._begun = self._begun, self._begun + 1
        seconds = time.monotonic() - self._start
        if not self._terminal:
            print(f"{self._begun:4d}/{self._total} {seconds:6.0f} s  {text}", file=sys.stderr)
            return
        left = f"{seconds / done * (self._total - done) / 60:.0f} min left, " if done else ""
        filled = _WIDTH * done // self._total
        bar = "#" * filled + "." * (_WIDTH - filled)
        self._overwrite(f"[{bar}] {self._begun}/{self._total}, {left}{text}")

    @staticmethod
    def _overwrite(line: str) -> None:
        columns = shutil.get_terminal_size().columns
        print(f"\r\x1b[K{line[: columns - 1]}", end="", file=sys.stderr, flush=True)
