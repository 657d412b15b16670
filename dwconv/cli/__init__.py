# SPDX-License-Identifier: BSD-3-Clause
"""The command ``dwconv``: demo, apply, info.

Exit status: 0 done, 2 bad input (one line ``dwconv: error: ...`` on stderr), 130 interrupted,
141 the reader of the output went away.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from dwconv._version import __version__
from dwconv.cli import apply, demo, info

BAD_INPUT = 2
INTERRUPTED = 128 + 2  # as a shell reports SIGINT
BROKEN_PIPE = 128 + 13  # as a shell reports SIGPIPE


class _Parser(argparse.ArgumentParser):
    """Reports a usage error as an exception, so that it is printed like every other error."""

    def error(self, message: str):
        raise ValueError(f"{message} (see '{self.prog} --help')")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default ``sys.argv[1:]``) and return the exit status."""
    try:
        try:
            _run(argv)
        finally:
            # Here rather than at interpreter exit, where a failure could no longer be reported.
            if sys.stdout is not None:
                sys.stdout.flush()
    except SystemExit as request:  # --help and --version
        return request.code or 0
    except KeyboardInterrupt:
        _report("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return BROKEN_PIPE
    except OSError as error:
        _discard_stdout()
        reason = error.strerror or str(error)
        _report(f"error: {error.filename}: {reason}" if error.filename else f"error: {reason}")
        return BAD_INPUT
    except (ValueError, TypeError, ImportError, MemoryError) as error:
        _report(f"error: {error}" if str(error) else f"error: {type(error).__name__}")
        return BAD_INPUT
    return 0


def _run(argv: Sequence[str] | None) -> None:
    parser = _Parser(prog="dwconv", description="Depthwise 1-D convolution for CPUs.")
    parser.add_argument("--version", action="version", version=f"dwconv {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (demo, apply, info):
        command.add_parser(commands)
    if hasattr(sys.stdout, "reconfigure"):
        # File names need not be printable in the terminal's encoding.
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = parser.parse_args(argv)
    arguments.run(arguments)


def _report(message: str) -> None:
    """One line on stderr, whatever line breaks the message or a file name in it has."""
    if sys.stderr is not None:
        try:
            print("dwconv:", " ".join(message.split()), file=sys.stderr)
        except OSError:
            pass  # nobody is left to tell


def _discard_stdout() -> None:
    """Let the interpreter's own flush at exit succeed after stdout has failed."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
