# SPDX-License-Identifier: BSD-3-Clause
"""How many threads a call may use.

The first of these that is given counts: the argument ``num_threads`` of a call, :func:`num_threads` (a context
manager) or :func:`set_num_threads`, the environment variables ``DWCONV_NUM_THREADS`` and ``OMP_NUM_THREADS``, and
otherwise the CPUs this process may use.  It is an upper limit: small calls use fewer.  Results do not depend on it.
"""

from __future__ import annotations

import os
from contextvars import ContextVar

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]

_MOST_THREADS = 1 << 20  # no machine has more; the core uses fewer still

_scoped: ContextVar[int] = ContextVar("dwconv_num_threads", default=0)
_process = 0  # set_num_threads
_default = 0  # environment or CPUs, found at first use


def checked_thread_count(n: object, name: str = "num_threads") -> int:
    """`n` as a positive int; TypeError or ValueError naming it otherwise."""
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"`{name}` must be a positive integer, received {name}={n!r}")
    n = n.__index__()
    if n < 1:
        raise ValueError(f"`{name}` must be a positive integer, received {name}={n}")
    return min(n, _MOST_THREADS)


def set_num_threads(n: int) -> None:
    """Sets the largest number of threads a call may use, for the whole process.

    Parameters
    ----------
    n : int
        At least 1.
    """
    global _process
    _process = checked_thread_count(n, "n")


def get_num_threads() -> int:
    """The largest number of threads a call made here and now may use.

    Raises
    ------
    ValueError
        If it comes from ``DWCONV_NUM_THREADS`` and that is not a positive integer.
    """
    global _default
    n = _scoped.get() or _process or _default
    if not n:
        n = _default = _from_environment() or usable_cpus()
    return n


class num_threads:
    """Context manager: at most `n` threads for calls made inside, in this thread or task only.

    Parameters
    ----------
    n : int
        At least 1.

    Examples
    --------
    >>> import dwconv
    >>> with dwconv.num_threads(1):
    ...     dwconv.get_num_threads()
    1
    """

    def __init__(self, n: int) -> None:
        self._n = checked_thread_count(n, "n")
        self._tokens: list = []

    def __enter__(self) -> None:
        self._tokens.append(_scoped.set(self._n))

    def __exit__(self, *exception: object) -> None:
        _scoped.reset(self._tokens.pop())


def _from_environment() -> int:
    """The number the environment asks for, 0 if it does not.  Only our own variable is worth an exception."""
    text = os.environ.get("DWCONV_NUM_THREADS", "").strip()
    if text:
        n = _number(text)
        if not n:
            raise ValueError(f"DWCONV_NUM_THREADS must be a positive integer, received DWCONV_NUM_THREADS={text[:40]!r}")
        return n
    return _number(os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip())


def _number(text: str) -> int:
    """Digits as an int, however many there are; 0 for anything else."""
    if not (text.isascii() and text.isdigit()):
        return 0
    return min(int(text.lstrip("0")[:9] or 0), _MOST_THREADS)


def usable_cpus() -> int:
    """CPUs this process may use: its affinity, and the quota of its control group rounded up."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        cpus = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cpus, -int(-quota // 1))) if quota else cpus


def _cgroup_quota() -> float:
    """CPUs the control group grants (Linux, version 2 or 1); 0 if there is no limit or no way to know."""
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
            return 0.0 if quota == "max" else float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    try:
        values = []
        for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"):
            with open(f"/sys/fs/cgroup/cpu/{name}", encoding="ascii") as file:
                values.append(int(file.read()))
        return values[0] / values[1] if values[0] > 0 and values[1] > 0 else 0.0
    except (OSError, ValueError):
        return 0.0
