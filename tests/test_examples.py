# SPDX-License-Identifier: BSD-3-Clause
"""Every example runs, in its own process, with warnings as errors and without output on stderr.

Those that fetch something are run by tests of their own.
"""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
NEED_MORE = {"fsmn_vad_stream.py", "train_motion.py"}


def test_every_example_is_listed():
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert SCRIPTS and all(f"`{script.name}`" in listed for script in SCRIPTS)


@pytest.mark.parametrize(
    "script",
    [script for script in SCRIPTS if script.name not in NEED_MORE],
    ids=lambda script: script.name,
)
def test_example(script, tmp_path):
    done = subprocess.run([sys.executable, "-W", "error", str(script)], cwd=tmp_path,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and done.stdout.strip(), script.name
    assert not list(tmp_path.iterdir()), f"{script.name} left files behind"
