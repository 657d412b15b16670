# SPDX-License-Identifier: BSD-3-Clause
"""What bounds the cases that stay below the limit, each shown by a loop that does nothing else.

    python -m benchmarks.probes

One thread; a figure is the best of many short rounds. docs/performance.md refers to the numbers.
"""

import argparse
import os
import sys

from benchmarks import native
from benchmarks.probes.probes import PROBES, said
from benchmarks.python_path import prefer_installed


def main() -> int:
    """Prints a sentence and a line of results for each probe; returns an exit status."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.probes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dwconv", default=os.environ.get("DWCONV_BENCH_DWCONV", ""))
    prefer_installed(parser.parse_args().dwconv)
    status = 0
    for number, probe in enumerate(PROBES, 1):
        print(f"{number}. {said(probe)}")
        try:
            print(f"   {probe()}", flush=True)
        except native.NoCompiler as error:
            print(f"   not measured: {error}", flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
