# SPDX-License-Identifier: BSD-3-Clause
"""Running Python text in a process of its own, for everything that might end or hang one."""

import os
import subprocess
import sys
import textwrap

CLEAN = ("DWCONV_NUM_THREADS", "OMP_NUM_THREADS", "OMP_STACKSIZE", "OMP_THREAD_LIMIT")

# What most texts begin with: a convolution large enough for several threads, with its right result.
PRELUDE = """
import os, sys
import numpy as np
import dwconv
from dwconv import depthwise_conv1d
rng = np.random.default_rng(7)
x = rng.integers(-9, 10, (2, 3000, 64)).astype(np.float32)
w = rng.integers(-9, 10, (9, 64, 1)).astype(np.float32)
right = sum(x[:, k:k + 2992].astype(float) * w[k, :, 0] for k in range(9)).astype(np.float32)
def is_right(num_threads=8):
    return np.array_equal(depthwise_conv1d(x, w, num_threads=num_threads), right)
"""


def run_child(text, *, prelude=PRELUDE, arguments=(), timeout=60, status=0, **environment):
    """Standard output of ``python -c prelude+text``; fails if the exit status is not `status`.

    `environment` is added to that of this process, less the variables about threads; None removes
    one.
    """
    env = {name: value for name, value in os.environ.items() if name not in CLEAN}
    env.update({name: value for name, value in environment.items() if value is not None})
    for name in [name for name, value in environment.items() if value is None]:
        env.pop(name, None)
    command = [sys.executable, "-P", *arguments, "-c", prelude + textwrap.dedent(text)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == status, (
        f"exit status {done.returncode} with {str(environment)[:200]} {arguments}:\n"
        f"{textwrap.dedent(text)}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    )
    return done.stdout
