# SPDX-License-Identifier: BSD-3-Clause
"""examples/train_motion.py learns, draws its picture, and says clearly what is missing.

The data come from a wheel, which DWCONV_WHEELS may name a folder for; without that and without a
package index the test of the training is skipped.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "train_motion.py"


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("train_motion", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(example, tmp_path_factory):
    folder = Path(os.environ.get("DWCONV_WHEELS") or tmp_path_factory.mktemp("wheels"))
    try:
        example.fetch(folder)
    except OSError as error:
        pytest.skip(f"the wheel with the data cannot be had: {error}")
    return folder


def test_it_learns(folder, tmp_path):
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    picture = tmp_path / "motion.png"
    done = run("--data", folder, "--epochs", 20, "-o", picture)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    line = r"split ([\d.]+)%, largest filter ([\d.]+), all kernels ([\d.]+)"
    found = re.findall(line, done.stdout)
    (accuracy, largest, size), (plain_accuracy, plain_largest, plain_size) = [
        map(float, numbers) for numbers in found
    ]
    assert accuracy >= 90 and plain_accuracy >= 90, done.stdout
    assert largest <= 1 < plain_largest and size < plain_size, done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000


def test_data(example, folder):
    wheel = example.fetch(folder)
    for part in ("TRAIN", "TEST"):
        x, labels = example.read(wheel, part)
        assert x.shape == (40, 100, 6) and x.dtype == "float32"
        assert [list(labels).count(i) for i in range(4)] == [10] * 4


def test_another_wheel_is_refused(example, tmp_path):
    (tmp_path / example.WHEEL).write_bytes(b"something else")
    done = run("--data", tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch(r"train_motion\.py: .* must have the SHA-256 \w+\. .*\n", done.stderr)


def test_without_a_package_index(tmp_path):
    done = run("--data", tmp_path / "new", PIP_NO_INDEX="1")
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch(r"train_motion\.py: could not fetch aeon.*\n", done.stderr), done.stderr
