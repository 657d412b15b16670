# SPDX-License-Identifier: BSD-3-Clause
"""Every recipe of docs/streaming.md runs, by itself, and leaves nothing behind."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "streaming.md"
RECIPES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_eight_recipes():
    assert len(RECIPES) == 8


@pytest.mark.parametrize("index", range(len(RECIPES)))
def test_recipe_runs_alone(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(RECIPES[index], f"docs/streaming.md recipe {index}", "exec"), {})
    assert not list(tmp_path.iterdir())


def test_links_inside_the_page():
    text = PAGE.read_text(encoding="utf-8")
    titles = [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")]
    anchors = {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert links and links <= anchors
