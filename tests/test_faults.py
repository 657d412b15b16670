# SPDX-License-Identifier: BSD-3-Clause
"""Hostile surroundings, one process for each: the right result or a Python exception, never an
exit, a crash or a hang."""

import sys

import pytest
from child import CLEAN, run_child
from dwconv import _core

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")

RIGHT_OR_MEMORY_ERROR = """
def try_it(threads):
    try:
        return "right" if is_right(threads) else "wrong"
    except MemoryError:
        return "MemoryError"
"""


def fault(text, expected="", **options):
    assert run_child(RIGHT_OR_MEMORY_ERROR + text, **options).strip() == expected


# Not even one more thread may be made.  Root is not held to RLIMIT_NPROC, so it becomes nobody
# first.
NO_THREADS = """
import resource, threading
def allow_no_threads():
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    try:
        threading.Thread(target=print).start()
    except RuntimeError:
        return
    print("skip")
    sys.exit()
"""


def without_threads(text):
    output = run_child(RIGHT_OR_MEMORY_ERROR + NO_THREADS + text).strip()
    if output.startswith("skip"):
        pytest.skip("this system grants threads in spite of RLIMIT_NPROC")
    assert output == "right"


@linux_only
class TestNoThreads:
    def test_from_the_beginning(self):
        without_threads("allow_no_threads(); print(try_it(8))")

    def test_after_a_team_was_made(self):
        """More threads are wanted than the team has."""
        without_threads(
            "assert is_right(2); allow_no_threads(); assert is_right(2); print(try_it(8))"
        )

    def test_in_another_caller(self):
        """OpenMP keeps a team for each calling thread; the second caller cannot have one."""
        without_threads(
            """
go, results = threading.Event(), []
def work():
    go.wait()
    results.append(try_it(4))
other = threading.Thread(target=work)
other.start()
assert is_right(4)
allow_no_threads()
go.set()
other.join()
print(*results)
"""
        )

    def test_in_a_fork(self):
        without_threads(
            """
assert is_right(4)
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    allow_no_threads()
    os.write(writer, try_it(4).encode())
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
os.close(writer)
print(os.read(reader, 100).decode())
"""
        )


@linux_only
class TestAddressSpace:
    """RLIMIT_AS just above what is in use; a thread takes 8 MiB of it for its stack."""

    LIMIT = """
import resource
def limit(megabytes):
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20,) * 2)
"""

    @pytest.mark.parametrize("megabytes", [0, 1, 2, 5, 12, 20, 33, 50, 80])
    @pytest.mark.parametrize("stack", [None, "16M", "garbage"])
    def test_little_is_left(self, megabytes, stack):
        text = "print({try_it(8) for _ in range(3)} <= {'right', 'MemoryError'})"
        fault(f"{self.LIMIT}\nlimit({megabytes})\n{text}", "True", OMP_STACKSIZE=stack)

    @pytest.mark.parametrize("megabytes", [5, 20, 40])
    def test_little_is_left_for_other_callers(self, megabytes):
        fault(
            f"""{self.LIMIT}
import threading
go, results = threading.Event(), []
def work():
    go.wait()
    results.append(try_it(4))
others = [threading.Thread(target=work) for _ in range(3)]
for other in others:
    other.start()
assert is_right(4)
limit({megabytes})
go.set()
for other in others:
    other.join()
print(set(results) <= {{"right", "MemoryError"}}, len(results))
""",
            "True 3",
        )

    def test_no_room_for_the_result(self):
        """MemoryError names shape and bytes; afterwards everything works as before."""
        fault(
            f"""{self.LIMIT}
big = np.broadcast_to(x[:1, :1], (1, 1, 64))
limit(100)
for _ in range(3):
    try:
        depthwise_conv1d(big, w, padding=(1000007, 0))
        print("accepted")
    except MemoryError as error:
        assert "(1, 1000000, 64)" in str(error) and "256000000 bytes" in str(error), error
print(try_it(1))
""",
            "right",
        )

    def test_no_room_for_copies(self):
        fault(
            f"""{self.LIMIT}
big = np.broadcast_to(np.float32(1), (100, 20000, 64))
limit(100)
for _ in range(3):
    try:
        depthwise_conv1d(big, w)
        print("accepted")
    except MemoryError:
        pass
print(try_it(1))
""",
            "right",
        )


@posix_only
def test_no_descriptors():
    fault(
        """
import resource
while True:
    try:
        os.dup(0)
    except OSError:
        break
resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
print(try_it(4), dwconv.get_num_threads() >= 1)
""",
        "right True",
    )


@posix_only
def test_closed_standard_streams():
    """The verdict comes through the exit status, for there is nowhere to print it."""
    run_child(
        """
        for number in range(3):
            os.close(number)
        os._exit(42 if is_right(4) and is_right(None) else 1)
        """,
        status=42,
    )
    run_child(
        "sys.stdout = sys.stderr = sys.stdin = None; os._exit(42 if is_right(4) else 1)", status=42
    )


@pytest.mark.parametrize(
    "value", ["garbage", "", "0", "1", "-5", "4K", "256K", "99999999999G", "16E"]
)
def test_stack_size(value):
    """Workers need next to no stack, so that even the smallest is enough."""
    fault("print(try_it(8))", "right", OMP_STACKSIZE=value)


@posix_only
def test_small_stacks_of_python_threads():
    fault(
        """
import threading
threading.stack_size(64 * 1024)
results = []
other = threading.Thread(target=lambda: results.append(try_it(4)))
other.start()
other.join()
print(*results)
""",
        "right",
    )


@linux_only
def test_one_cpu():
    fault(
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nprint(try_it(16), try_it(None))",
        "right right",
    )


@posix_only
@pytest.mark.parametrize("name", CLEAN)
def test_variables_that_are_not_text(name):
    fault(
        f"""
import subprocess
environment = {{**os.environb, b"{name}": b"\\xff\\xfe"}}
code = "import numpy as np, dwconv; "
code += "dwconv.depthwise_conv1d(np.ones((1, 9, 2)), np.ones((3, 2, 1)), num_threads=2)"
print(subprocess.run([sys.executable, "-P", "-c", code], env=environment).returncode)
""",
        "0",
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONMALLOC": "debug"},
        {"PYTHONMALLOC": "malloc"},
        {"MALLOC_PERTURB_": "165"},
        {"PYTHONMALLOC": "debug", "MALLOC_PERTURB_": "85"},
        {"MALLOC_ARENA_MAX": "1"},
        {"MALLOC_CHECK_": "3"},
        {"LC_ALL": "tr_TR.UTF-8", "LANG": "de_DE.UTF-8"},
        {"PYTHONHASHSEED": "0"},
    ],
    ids=str,
)
def test_memory_full_of_junk(environment):
    """Whatever is read before it was written would show."""
    fault(
        """
for shape in ((1, 40, 3), (2, 100, 33), (1, 3000, 1), (3, 9, 65)):
    for data_format in ("channels_last", "channels_first"):
        for multiplier in (1, 2):
            a = rng.integers(-9, 10, shape).astype(np.float32)
            k = rng.integers(-9, 10, (7, shape[2], multiplier)).astype(np.float32)
            padded = np.pad(a, ((0, 0), (3, 3), (0, 0)))[..., None]
            z = sum(padded[:, i:i + shape[1]] * k[i] for i in range(7)).reshape(*shape[:2], -1)
            given = a if data_format == "channels_last" else a.transpose(0, 2, 1)
            options = dict(padding="same", data_format=data_format, activation="leaky_relu")
            got = depthwise_conv1d(given, k, **options)
            got = got if data_format == "channels_last" else got.transpose(0, 2, 1)
            assert np.array_equal(got, np.where(z < 0, np.float32(0.2) * z, z)), shape
print(try_it(4))
""",
        "right",
        **environment,
    )


@linux_only
@pytest.mark.parametrize("kind", ["good", "bad"])
def test_memory_does_not_grow(kind):
    """Less than 1 MB more at its highest after 10,000 calls of many shapes, good or bad."""
    run_child(
        f"""
        import resource
        small = [np.ones((1, 20 + i, 1 + i % 7), np.float32) for i in range(40)]
        kernels = [np.ones((3, n, 1), np.float32) for n in range(1, 8)]
        def good(i):
            a = small[i % 40]
            k = kernels[a.shape[2] - 1]
            activation = (None, "relu", "tanh")[i % 3]
            depthwise_conv1d(a, k, padding=(i % 11, 1), strides=1 + i % 3, activation=activation)
            depthwise_conv1d(a[:, ::2], k, k[0, :, 0], padding="same", num_threads=1 + i % 4)
            if i % 50 == 0:
                depthwise_conv1d(x, w, num_threads=4)
        def bad(i):
            a = small[i % 40]
            k = kernels[a.shape[2] - 1]
            for wrong in (dict(strides=-i), dict(padding="x" * (i % 9)), dict(padding=(-i - 99, 0)),
                          dict(out=a), dict(padding=(2**59 + i, 0)), dict(dilation_rate=2**62 - i),
                          dict(activation=str(i)), dict(num_threads=0), dict(data_format=i)):
                try:
                    depthwise_conv1d(a, k, **wrong)
                except (ValueError, TypeError, MemoryError):
                    continue
                raise SystemExit(str(wrong))
            try:
                depthwise_conv1d(a, k[:, :0])
            except ValueError:
                pass
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for i in range(2000):
            {kind}(i)
        before = peak()
        for i in range({10000 if kind == "good" else 2000}):
            {kind}(i)
        assert peak() - before < 1000, peak() - before
        """,
        timeout=120,
    )


@pytest.mark.skipif(not _core.has_openmp(), reason="built without OpenMP")
def test_workspace_does_not_follow_the_thread_count():
    """64 KiB for each thread that may really run, not for each that was asked for."""
    run_child(
        """
        import resource
        a, k = np.ones((1, 64, 400000), np.float32), np.ones((9, 64, 1), np.float32)
        out = np.empty((1, 64, 400000 - 8), np.float32)
        depthwise_conv1d(a, k, data_format="channels_first", out=out, num_threads=1)
        if sys.platform == "linux":
            with open("/proc/self/statm") as file:
                used = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 40 * 2**20,) * 2)
        depthwise_conv1d(a, k, data_format="channels_first", out=out, num_threads=10**6)
        assert out.min() == out.max() == 9
        """
    )
