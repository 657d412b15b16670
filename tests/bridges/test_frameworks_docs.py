# SPDX-License-Identifier: BSD-3-Clause
"""The code in docs/frameworks.md and in the docstrings runs."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).resolve().parents[2] / "docs/frameworks.md").read_text(encoding="utf-8")
BLOCKS = dict(zip(("torch", "jax"), re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), strict=True))


@pytest.mark.parametrize("framework", BLOCKS)
def test_block_and_docstrings(framework):
    pytest.importorskip(framework, reason=f"{framework} is not installed: pip install 'dwconv[bridges]'")
    exec(compile(BLOCKS[framework], f"docs/frameworks.md, {framework}", "exec"), {})
    result = doctest.testmod(importlib.import_module(f"dwconv.{framework}"))
    assert result.attempted and not result.failed
