# SPDX-License-Identifier: BSD-3-Clause
"""The version of dwconv: the only literal; pyproject.toml reads it, the C header is tested against it."""

__version__ = "0.1.0"
