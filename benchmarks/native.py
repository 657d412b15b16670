# SPDX-License-Identifier: BSD-3-Clause
"""Compiles a C file of this folder for the machine at hand and loads it."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_FOLDER = Path(__file__).parent
# GCC and Clang on x86 know the first, Clang on Arm the second.
_FOR_THIS_CPU = (["-march=native"], ["-mcpu=native"], [])


class NoCompiler(Exception):
    """There is no C compiler, or it cannot compile the file."""


def load(source: str, include: str | None = None) -> ctypes.CDLL:
    """The shared library made from a C file.

    Parameters
    ----------
    source : str
        Name of a file in this folder.
    include : str, optional
        A folder of headers.

    Raises
    ------
    NoCompiler
        The compiler is the environment variable ``CC``, or ``cc``.
    """
    compiler = os.environ.get("CC", "cc").split()
    if shutil.which(compiler[0]) is None:
        raise NoCompiler(f"no C compiler: {compiler[0]} (the environment variable CC may name one)")
    command = [*compiler, "-std=gnu11", "-O3", "-ffp-contract=fast", "-shared", "-fPIC"]
    command += [] if include is None else [f"-I{include}"]
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder, "library.so"))
        for flags in _FOR_THIS_CPU:
            done = subprocess.run(
                [*command, *flags, str(_FOLDER / source), "-o", library],
                capture_output=True,
                text=True,
            )
            if done.returncode == 0:
                return ctypes.CDLL(library)
    raise NoCompiler(f"{compiler[0]} cannot compile {source}: {done.stderr.strip()[:300]}")
