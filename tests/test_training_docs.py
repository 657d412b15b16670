# SPDX-License-Identifier: BSD-3-Clause
"""docs/training.md tells the truth: its code runs and its links lead to files."""

import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "training.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_python_block_runs_alone(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[index], f"training.md block {index}", "exec"), {})
    assert not list(tmp_path.iterdir())


def test_links_lead_to_files():
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", TEXT)
    assert targets and all((DOCUMENT.parent / target).exists() for target in targets)
