# SPDX-License-Identifier: BSD-3-Clause
"""What a result says about where it comes from."""

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path


def usable_cpus() -> list[int]:
    """Numbers of the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def describe() -> dict:
    """CPU, cores, system, Python and date."""
    return {
        "cpu": _cpu_model(),
        "cores": len(usable_cpus()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def slug(machine: dict) -> str:
    """Date and machine as a file name."""
    words = re.sub(r"[^a-z0-9]+", "-", machine["cpu"].lower()).strip("-")
    return f"{machine['date']}-{words}-{machine['cores']}-cores"


def _cpu_model() -> str:
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
    if "model name" not in fields:
        return platform.machine()
    # Virtual machines often hide the name, not the numbers.
    numbers = f"family {fields.get('cpu family')}, model {fields.get('model')}"
    return f"{fields['model name']} ({numbers})"
