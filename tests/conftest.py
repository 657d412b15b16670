# SPDX-License-Identifier: BSD-3-Clause
"""What all tests share: the hypothesis profile, a line about the machine, and a clean slate of
threads.

Two environment variables: DWCONV_TEST_SCALE multiplies the number of random cases (default 1), and
DWCONV_TEST_TRACE names a file for the case that is being run, in case it ends the process.
"""

import dwconv
import pytest
from cases import scaled
from hypothesis import HealthCheck, settings

settings.register_profile(
    "dwconv",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=scaled(100),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("dwconv")


def pytest_report_header():
    facts = dwconv.show_config("dict")
    return "dwconv " + ", ".join(f"{name}={value}" for name, value in facts.items())


@pytest.fixture
def default_threads(monkeypatch):
    """Undoes what a test does to the thread count of the process."""
    from dwconv import threads

    for name in ("_process", "_default"):
        monkeypatch.setattr(threads, name, 0)
    for variable in ("DWCONV_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
