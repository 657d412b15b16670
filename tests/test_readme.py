# SPDX-License-Identifier: BSD-3-Clause
"""README.md tells the truth: its code runs, its commands and files exist."""

import re
from pathlib import Path

import pytest

from dwconv.cli import main

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "examples/README.md", "docs/streaming.md",
             "docs/frameworks.md")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_are_four_python_examples():
    assert len(PYTHON_BLOCKS) == 4


@pytest.mark.parametrize("index", range(len(PYTHON_BLOCKS)))
def test_python_block_runs_alone(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(PYTHON_BLOCKS[index], f"README.md block {index}", "exec"), {})
    assert not list(tmp_path.iterdir())


def test_the_two_commands():
    assert "\npip install '.[demo]' && dwconv demo\n" in README
    assert "\npip install '.[test]' && pytest\n" in README


def test_described_commands_exist(capsys):
    described = set(re.findall(r"^\| `dwconv (\w+)", README, re.MULTILINE))
    assert described == {"demo", "apply", "info"}
    for command in described:
        assert main([command, "--help"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files(document):
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert not missing, f"{document}: {missing=}"


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_named_files_exist(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"`((?:dwconv|src_c|tests|examples|docs|benchmarks|\.ci)/[\w./-]*)`", text)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert named and not missing, f"{document}: {missing=}"
