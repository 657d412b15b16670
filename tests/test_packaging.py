# SPDX-License-Identifier: BSD-3-Clause
"""What is built and shipped: sdist, a wheel made from it, the header, versions, symbols, import time.

One wheel is built, from the sdist of the tree these tests lie in, with the build requirements of the
``[test]`` extra instead of an isolated environment.
"""

import email
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import dwconv
import pytest
from dwconv import _core

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = (
    "CHANGELOG.md CONTRIBUTING.md LICENSE MANIFEST.in README.md SECURITY.md pyproject.toml setup.py "
    "benchmarks docs dwconv examples src_c tests"
).split()
BUILT = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "*.o", "*.egg-info", "build", ".venvs")
IMPORT_BUDGET_MS = 10

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into ELF files")


def call_backend(hook, source, target):
    """Calls a PEP 517 hook in `source`; path of what it wrote to `target`."""
    program = f"from setuptools import build_meta; build_meta.{hook}({str(target)!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=source, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (result,) = target.iterdir()
    return result


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    tree, target = folder / "tree", folder / "out"
    tree.mkdir()
    target.mkdir()
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=BUILT)
        else:
            shutil.copy(source, tree)
    return call_backend("build_sdist", tree, target)


@pytest.fixture(scope="session")
def unpacked(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    return tree


@pytest.fixture(scope="session")
def wheel(unpacked, tmp_path_factory):
    return call_backend("build_wheel", unpacked, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """The wheel's files, importable with this folder on the path."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    run(sys.executable, "-m", "compileall", "-q", folder)  # as installers do
    return folder


@pytest.fixture(scope="session")
def extension(installed):
    (path,) = (installed / "dwconv").glob("_core.*.so")
    return path


def names_of(archive):
    with zipfile.ZipFile(archive) as opened:
        return opened.namelist()


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_installed(installed, program):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return run(sys.executable, "-c", program, env=environment, cwd=installed)


def relative_files(folder, *patterns):
    return {
        path.relative_to(ROOT).as_posix()
        for pattern in patterns
        for path in (ROOT / folder).rglob(pattern)
        if not {"__pycache__", "build"} & set(path.parts)
    }


def test_sdist_holds_all_sources_and_nothing_generated(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = relative_files("src_c", "*.c", "*.h", "*.md", "CMakeLists.txt", "*.in")
    wanted |= relative_files("tests", "*.py", "*.c", "*.h", "*.cpp", "CMakeLists.txt", "*.npz", "*.json")
    wanted |= relative_files("dwconv", "*.py", "*.pyx", "*.pxd", "*.pyi", "py.typed")
    wanted |= relative_files("docs", "*.md") | relative_files("examples", "*.py")
    wanted |= {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "setup.py"}
    assert not wanted - names
    generated = {n for n in names if n.endswith((".so", ".o", ".pyc")) or re.match(r"dwconv/.*\.c$", n)}
    assert not generated


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(names_of(wheel))
    info = f"dwconv-{dwconv.__version__}.dist-info/"
    assert {name for name in names if not name.startswith(("dwconv/", info))} == set()
    package = {name for name in names if name.startswith("dwconv/")}
    extension = {name for name in package if re.fullmatch(r"dwconv/_core\..*(so|pyd)", name)}
    assert len(extension) == 1
    expected = relative_files("dwconv", "*.py", "*.pxd", "*.pyi", "py.typed") | {"dwconv/include/dwconv.h"}
    assert package - extension == expected


def test_types_are_shipped(wheel):
    names = names_of(wheel)
    assert "dwconv/py.typed" in names
    assert "dwconv/_core.pyi" in names


def test_metadata(installed):
    (path,) = installed.glob("*.dist-info/METADATA")
    metadata = email.message_from_string(path.read_text(encoding="utf-8"))
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Version"] == dwconv.__version__
    assert not [text for text in metadata.get_all("Classifier") if text.startswith("License")]
    required = [text for text in metadata.get_all("Requires-Dist") if "extra ==" not in text]
    assert required == ["numpy>=1.26"]
    entry_points = (path.parent / "entry_points.txt").read_text(encoding="utf-8")
    assert "dwconv = dwconv.cli:main" in entry_points


def test_versions_agree():
    header = Path(dwconv.get_include(), "dwconv.h").read_text(encoding="utf-8")
    numbers = [
        re.search(rf"#define DWCONV_VERSION_{part} (\d+)", header)[1]
        for part in ("MAJOR", "MINOR", "PATCH")
    ]
    text = re.search(r'#define DWCONV_VERSION_STRING "(.*)"', header)[1]
    versions = {
        "header numbers": ".".join(numbers),
        "header text": text,
        "core": _core.core_version(),
        "metadata": importlib.metadata.version("dwconv"),
        "package": dwconv.__version__,
    }
    assert len(set(versions.values())) == 1, versions


def test_get_include_has_the_header():
    header = Path(dwconv.get_include(), "dwconv.h")
    assert header.read_bytes() == (ROOT / "src_c/include/dwconv.h").read_bytes()


def test_wheel_works_on_its_own(installed):
    program = """
import numpy as np, dwconv
y = dwconv.depthwise_conv1d(np.ones((1, 9, 3)), np.ones((3, 3, 2)), padding="same")
print(dwconv.__file__, dwconv.get_include(), y.sum())
"""
    file, include, total = run_installed(installed, program).split()
    assert Path(file).parent == installed / "dwconv"
    assert Path(include) == installed / "dwconv" / "include"
    assert float(total) == 6 * (7 * 3 + 2 * 2)


@linux_only
def test_extension_exports_its_init_function_only(extension):
    exported = [line.split()[-1] for line in run("nm", "-D", "--defined-only", extension).splitlines()]
    assert exported == ["PyInit__core"]


@linux_only
def test_extension_does_not_use_the_numpy_c_api(extension):
    contents = extension.read_bytes()
    for trace in (b"_ARRAY_API", b"multiarray", b"PyArray_", b"import_array"):
        assert trace not in contents


@linux_only
def test_extension_is_hardened(extension):
    headers = run("readelf", "-dlW", extension)
    assert "GNU_RELRO" in headers
    assert "BIND_NOW" in headers
    (stack,) = (line for line in headers.splitlines() if "GNU_STACK" in line)
    assert " RW " in stack


@linux_only
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names registers of x86-64")
def test_shared_code_needs_only_the_baseline_cpu(wheel, unpacked):
    """Wider registers and fused multiply-adds appear only in the files of those instruction sets."""
    objects = {path.relative_to(unpacked).as_posix(): path for path in unpacked.rglob("*.o")}
    shared = {name: path for name, path in objects.items() if not re.search(r"kernels_avx", name)}
    assert len(objects) - len(shared) == 2 and len(shared) > 8, sorted(objects)
    beyond = re.compile(r"%[yz]mm|\bvfn?m(add|sub)|\bv\w+ .*%xmm")
    for name, path in shared.items():
        found = beyond.search(run("objdump", "-d", "--no-show-raw-insn", path))
        assert found is None, f"{name}: {found[0]}"


def test_cython_code_can_call_the_core_with_nothing_to_link(installed, tmp_path):
    (tmp_path / "user.pyx").write_text(
        "# cython: language_level=3\n"
        "from dwconv cimport _core\n"
        "from dwconv.c_dwconv cimport dwconv_exec, dwconv_plan, dwconv_problem\n"
        "def moving_sum(double[::1] x, double[::1] w, double[::1] y):\n"
        "    cdef dwconv_problem p\n"
        "    cdef dwconv_plan plan\n"
        "    cdef dwconv_exec e\n"
        "    cdef char workspace[1 << 16]\n"
        "    p.batch = p.channels = p.depth_multiplier = p.stride = p.dilation = p.dtype = 1\n"
        "    p.in_steps, p.out_steps, p.kernel_size = x.shape[0], y.shape[0], w.shape[0]\n"
        "    p.pad_left = p.layout = 0\n"
        "    p.x_batch_stride = p.x_row_stride = p.y_batch_stride = p.y_row_stride = 0\n"
        "    e.max_threads, e.workspace, e.workspace_bytes, e.runner, e.stop = 1, workspace, 1 << 16, NULL, NULL\n"
        "    if _core.plan_init(&plan, &p, NULL) != 0: return 'plan'\n"
        "    return _core.forward(&plan, &x[0], &w[0], NULL, NULL, &y[0], &e)\n"
    )
    (tmp_path / "setup.py").write_text(
        "import dwconv\n"
        "from setuptools import Extension, setup\n"
        "from Cython.Build import cythonize\n"
        "setup(name='user', ext_modules=cythonize(\n"
        "    [Extension('user', ['user.pyx'], include_dirs=[dwconv.get_include()])]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    run(sys.executable, "setup.py", "-q", "build_ext", "--inplace", cwd=tmp_path, env=environment)
    program = """
import numpy as np, user
y = np.zeros(6)
print(user.moving_sum(np.arange(8.0), np.ones(3), y), *y)
"""
    environment["PYTHONPATH"] = os.pathsep.join([str(installed), str(tmp_path)])
    printed = run(sys.executable, "-c", program, env=environment, cwd=tmp_path)
    assert printed.split() == ["0", "3.0", "6.0", "9.0", "12.0", "15.0", "18.0"]


def test_import_is_light(installed):
    """The budget is for what dwconv adds to NumPy; the least of several processes is the one undisturbed."""
    program = """
import time, numpy
start = time.perf_counter()
import dwconv
print(1e3 * (time.perf_counter() - start))
"""
    times = [float(run_installed(installed, program)) for _ in range(10)]
    assert min(times) <= IMPORT_BUDGET_MS, times


def test_import_loads_no_other_package(installed):
    program = """
import sys, numpy
before = set(sys.modules)
import dwconv
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""
    loaded = set(run_installed(installed, program).split())
    own = {name for name in loaded if name == "dwconv" or "cython" in name}
    assert loaded - own <= {"__future__"}


def test_no_flag_may_change_results_or_the_baseline():
    forbidden = re.compile(r"fast-math|-Ofast|unsafe-math|-march=|-mavx|-mfma|-ffinite|-freciprocal|/fp:fast")
    for name in ("setup.py", "pyproject.toml", "src_c/CMakeLists.txt", "tests/c/CMakeLists.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not forbidden.search(text), name
    for name in ("setup.py", "src_c/CMakeLists.txt"):
        assert "-ffp-contract=off" in (ROOT / name).read_text(encoding="utf-8")


def test_core_rules_that_a_text_search_can_check():
    for path in (ROOT / "src_c").rglob("*.[ch]"):
        text = path.read_text(encoding="utf-8")
        assert path.name == "parallel.c" or not re.search(r"#pragma omp|<omp\.h>", text), path
        assert not re.search(r"\b(abort|exit|assert|printf|alloca|setjmp) ?\(", text), path
        assert not re.search(r"no_sanitize|Python\.h|GCC optimize", text), path
        assert "SPDX-License-Identifier: BSD-3-Clause" in text.splitlines()[0], path
