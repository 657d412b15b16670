# SPDX-License-Identifier: BSD-3-Clause
"""``python -m dwconv`` is the command ``dwconv``."""

import sys

from dwconv.cli import main

if __name__ == "__main__":
    sys.exit(main())
