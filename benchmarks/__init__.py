# SPDX-License-Identifier: BSD-3-Clause
"""Benchmarks of dwconv against other libraries and against the machine; see README.md here."""
