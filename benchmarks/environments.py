# SPDX-License-Identifier: BSD-3-Clause
"""Virtual environments of the peers, so that no resolver has to please all of them at once.

What is installed, and in which version, is said once: by the extra ``bench`` in pyproject.toml.
"""

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Name of the environment: the packages of the extra that go there, with what they depend on.
ENVIRONMENTS = {
    "torch": ("torch", "onnx", "onnxruntime", "scipy", "numba"),
    "openvino": ("openvino", "jax"),
    "tensorflow": ("tensorflow-cpu", "ai-edge-litert"),
}


def folder() -> Path:
    """Where the environments are: ``DWCONV_BENCH_VENVS``, or ``.venvs`` in this folder."""
    return Path(os.environ.get("DWCONV_BENCH_VENVS", ROOT / "benchmarks" / ".venvs"))


def python_of(environment: str | None) -> str:
    """The interpreter of an environment; this one for None, or if it has not been set up."""
    if environment is not None:
        path = _interpreter(folder() / environment)
        if path.exists():
            return str(path)
    return sys.executable


def requirements(environment: str) -> list[str]:
    """The lines of the extra ``bench`` that belong into an environment.

    Raises
    ------
    ValueError
        If the extra lacks one of the packages.
    """
    with open(ROOT / "pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    lines = {_package(line): line for line in extras.get("bench", [])}
    missing = [name for name in ENVIRONMENTS[environment] if name not in lines]
    if missing:
        raise ValueError(f"the extra `bench` of pyproject.toml lacks {', '.join(missing)}")
    return [lines[name] for name in ENVIRONMENTS[environment]]


def setup(names: list[str]) -> int:
    """Makes the environments, or completes them, and installs the peers; returns an exit status.

    A peer that cannot be installed is reported and leaves the others alone.
    """
    failed = []
    for name in names or ENVIRONMENTS:
        place = folder() / name
        print(f"{name}: {place}", flush=True)
        if not _interpreter(place).exists():
            venv.create(place, with_pip=True)
        for line in requirements(name):
            print(f"  {line}", flush=True)
            install = [str(_interpreter(place)), "-m", "pip", "install", "--quiet", line]
            if subprocess.run(install).returncode != 0:
                failed.append(line)
    if failed:
        print(f"not installed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _interpreter(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _package(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement).group().lower()
