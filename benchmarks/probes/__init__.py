# SPDX-License-Identifier: BSD-3-Clause
"""Small loops that show what bounds a depthwise convolution where it cannot reach the limit."""
