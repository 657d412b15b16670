# SPDX-License-Identifier: BSD-3-Clause
"""Builds the one extension module, ``dwconv._core``.  Everything else is said in pyproject.toml."""

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

# The same flags for every file: which instructions a kernel uses is decided inside the sources.
UNIX_FLAGS = [
    "-std=c11",
    "-O3",
    "-g0",
    "-pthread",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-fstack-protector-strong",
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=2",
]
MSVC_FLAGS = ["/std:c11", "/experimental:c11atomics", "/O2", "/fp:precise"]
LINUX_LINK_FLAGS = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]

OPENMP_PROGRAM = """
#include <omp.h>
int main(void)
{
    int count = 0;
#pragma omp parallel num_threads(2) reduction(+ : count)
    count += omp_get_num_threads() > 0;
    return count == 0;
}
"""


class BuildCore(build_ext):
    """build_ext that knows the compiler's dialect and whether it has OpenMP."""

    def finalize_options(self):
        super().finalize_options()
        self.cython_c_in_temp = True  # generated C belongs in build/, not beside the sources

    def build_extensions(self):
        msvc = self.compiler.compiler_type == "msvc"
        compile_args = list(MSVC_FLAGS if msvc else UNIX_FLAGS)
        link_args = [] if msvc else ["-pthread", "-lm"]
        if sys.platform == "linux":
            link_args += LINUX_LINK_FLAGS
        openmp = "/openmp" if msvc else "-fopenmp"
        if self.links_with([openmp], [] if msvc else [openmp]):
            compile_args.append(openmp)
            link_args += [] if msvc else [openmp]
        else:
            self.warn("this compiler has no OpenMP: dwconv is built serial (one thread)")
        for extension in self.extensions:
            extension.extra_compile_args = compile_args
            extension.extra_link_args = link_args
        if not msvc:  # whose first call prepares the later ones
            self.compile_in_parallel()
        super().build_extensions()

    def compile_in_parallel(self):
        """Has as many files compiled at a time as there are CPUs; the kernels take half a minute each."""
        compile_some = self.compiler.compile
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

        def compile_all(sources, *arguments, **options):
            with ThreadPoolExecutor(cpus) as pool:
                objects = pool.map(lambda source: compile_some([source], *arguments, **options), sources)
                return [path for paths in objects for path in paths]

        self.compiler.compile = compile_all

    def links_with(self, compile_args, link_args):
        """Whether an OpenMP program compiles and links with these arguments."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(OPENMP_PROGRAM, encoding="ascii")
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=compile_args
                )
                self.compiler.link_executable(
                    objects, "probe", output_dir=folder, extra_postargs=link_args
                )
            except (CompileError, LinkError):
                return False
        return True


setup(
    ext_modules=[
        Extension(
            "dwconv._core",
            ["dwconv/_core.pyx", *sorted(glob("src_c/*.c") + glob("src_c/isa/*.c"))],
            include_dirs=["src_c/include"],
            depends=sorted(glob("src_c/**/*.h", recursive=True) + glob("dwconv/*.px[di]")),
        )
    ],
    cmdclass={"build_ext": BuildCore},
)
