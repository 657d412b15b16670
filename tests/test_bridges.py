# SPDX-License-Identifier: BSD-3-Clause
"""The bridges to frameworks without the frameworks; with them, they are tested by ``pytest tests/bridges``."""

import pytest
from child import run_child


@pytest.mark.parametrize("framework, name", [("torch", "PyTorch"), ("jax", "JAX")])
def test_a_missing_framework_is_named(framework, name):
    printed = run_child(
        f"""
        import sys, dwconv
        sys.modules[{framework!r}] = None  # as if it were not installed
        try:
            import dwconv.{framework}
        except ImportError as error:
            print(error)
        """,
        prelude="",
    )
    assert name in printed and f"pip install 'dwconv[{framework}]'" in printed


def test_dwconv_imports_no_framework():
    printed = run_child(
        """
        import sys, dwconv
        for name in dwconv.__all__:
            getattr(dwconv, name)
        print({"torch", "jax"} & set(sys.modules))
        """,
        prelude="",
    )
    assert printed.strip() == "set()"
