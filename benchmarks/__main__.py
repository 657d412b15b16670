# SPDX-License-Identifier: BSD-3-Clause
"""Lets ``python -m benchmarks`` run the command line."""

import signal
import sys

from benchmarks.cli import main

if __name__ == "__main__":
    # Otherwise the worker processes, which are stopped most of the time, would stay behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main())
