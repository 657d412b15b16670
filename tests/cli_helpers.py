# SPDX-License-Identifier: BSD-3-Clause
"""Running the command in this process and in its own, and checking how it fails."""

import os
import subprocess
import sys

from dwconv.cli import main


def run_command(*arguments, **options) -> subprocess.CompletedProcess:
    """``python -m dwconv ARGUMENTS`` in its own process, with text output captured."""
    options = {"capture_output": True, "text": True, "timeout": 120} | options
    return subprocess.run(command_line(*arguments), **options)


def command_line(*arguments) -> list[str]:
    return [sys.executable, "-P", "-m", "dwconv", *map(str, arguments)]


def assert_fails(capsys, arguments, *words, status=2) -> str:
    """Run in this process; demand the status and one error line that holds all `words`."""
    returned = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    line = f"dwconv {' '.join(map(str, arguments))}: {returned=} {err=}"
    assert returned == status, line
    assert out == "", line
    assert err.startswith("dwconv: error: ") and err.endswith("\n") and err.count("\n") == 1, line
    for word in words:
        assert str(word) in err, line
    return err


def files_in(folder) -> list[str]:
    """Everything in a folder, hidden files included."""
    return sorted(os.listdir(folder))
