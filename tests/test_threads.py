# SPDX-License-Identifier: BSD-3-Clause
"""Where the number of threads comes from, how many there really are, and that Python runs on
meanwhile."""

import builtins
import contextvars
import io
import os
import sys
import threading
import time

import dwconv
import numpy as np
import pytest
from child import run_child
from dwconv import _core, depthwise_conv1d, threads

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc or sets affinity")
needs_openmp = pytest.mark.skipif(not _core.has_openmp(), reason="built without OpenMP")

SHOW = "print(dwconv.get_num_threads())"


def threads_with(text=SHOW, **environment):
    return run_child(text, prelude="import os, dwconv\n", **environment).strip()


class TestPriority:
    def test_set_over_environment(self, default_threads, monkeypatch):
        monkeypatch.setenv("DWCONV_NUM_THREADS", "3")
        assert dwconv.get_num_threads() == 3
        dwconv.set_num_threads(5)
        assert dwconv.get_num_threads() == 5

    def test_context_over_set(self, default_threads):
        dwconv.set_num_threads(5)
        with dwconv.num_threads(2):
            assert dwconv.get_num_threads() == 2
            with dwconv.num_threads(7):
                assert dwconv.get_num_threads() == 7
            assert dwconv.get_num_threads() == 2
            dwconv.set_num_threads(6)
            assert dwconv.get_num_threads() == 2
        assert dwconv.get_num_threads() == 6

    def test_context_ends_with_an_exception(self, default_threads):
        before = dwconv.get_num_threads()
        with pytest.raises(KeyError), dwconv.num_threads(before + 3):
            raise KeyError
        assert dwconv.get_num_threads() == before

    def test_context_can_be_used_again(self, default_threads):
        before = dwconv.get_num_threads()
        manager = dwconv.num_threads(before + 1)
        for _ in range(2):
            with manager, manager:
                assert dwconv.get_num_threads() == before + 1
            assert dwconv.get_num_threads() == before

    def test_context_is_of_this_thread_only(self, default_threads):
        seen = []
        with dwconv.num_threads(9):
            other = threading.Thread(target=lambda: seen.append(dwconv.get_num_threads()))
            other.start()
            other.join()
            assert contextvars.copy_context().run(dwconv.get_num_threads) == 9
        assert seen == [dwconv.get_num_threads()]

    def test_set_is_for_all_threads(self, default_threads):
        seen = []
        other = threading.Thread(target=dwconv.set_num_threads, args=(11,))
        other.start()
        other.join()
        seen.append(dwconv.get_num_threads())
        assert seen == [11]

    def test_environment(self):
        assert threads_with(DWCONV_NUM_THREADS="3", OMP_NUM_THREADS="5") == "3"
        assert threads_with(OMP_NUM_THREADS="5") == "5"
        assert threads_with(OMP_NUM_THREADS="4,2,1") == "4"
        assert threads_with(DWCONV_NUM_THREADS=" 6 ") == "6"
        assert threads_with(DWCONV_NUM_THREADS="", OMP_NUM_THREADS="2") == "2"

    def test_default_is_the_usable_cpus(self):
        assert int(threads_with()) == threads.usable_cpus()

    def test_argument(self, default_threads):
        """It is the only one that is looked at, even if another is wrong."""
        run_child("assert is_right(num_threads=2)", DWCONV_NUM_THREADS="garbage")

    @linux_only
    @needs_openmp
    @pytest.mark.parametrize("setting", ["argument", "context", "set", "environment"])
    def test_one_thread_means_one_thread(self, setting):
        text = {
            "argument": "assert is_right(1)",
            "context": "with dwconv.num_threads(1): assert is_right(None)",
            "set": "dwconv.set_num_threads(1); assert is_right(None)",
            "environment": "assert is_right(None)",
        }[setting]
        count = "\nimport os; tasks = len(os.listdir('/proc/self/task'))\n"
        environment = {"DWCONV_NUM_THREADS": "1"} if setting == "environment" else {}
        # NumPy's BLAS may have threads of its own: only new ones count.
        text = f"{count}before = tasks\n{text}{count}assert tasks == before, (before, tasks)"
        run_child(text, **environment)


class TestEnvironment:
    @pytest.mark.parametrize(
        "garbage", ["0", "-1", "two", "1.5", "3x", "1e3", "\u0663", "+2", "0x4", "2,1"]
    )
    def test_garbage_in_ours_is_an_error_at_first_use(self, garbage):
        run_child(
            f"""
            for use in (dwconv.get_num_threads, lambda: is_right(None)):
                try:
                    use()
                except ValueError as error:
                    assert "DWCONV_NUM_THREADS" in str(error) and {garbage!r} in str(error), error
                    assert "positive integer" in str(error), error
                else:
                    raise SystemExit("accepted")
            """,
            DWCONV_NUM_THREADS=garbage,
        )

    def test_digits_without_end(self):
        """More than Python converts to an integer."""
        run_child("assert is_right(None)", OMP_NUM_THREADS="9" * 5000)
        run_child(
            """
            try:
                assert is_right(None)
            except ValueError as error:
                assert "DWCONV_NUM_THREADS" in str(error), error
            """,
            DWCONV_NUM_THREADS="9" * 5000,
        )

    def test_a_number_that_was_set_makes_garbage_harmless(self):
        run_child(
            "dwconv.set_num_threads(2); assert dwconv.get_num_threads() == 2 and is_right(None)",
            DWCONV_NUM_THREADS="garbage",
        )
        run_child(
            "with dwconv.num_threads(2): assert dwconv.get_num_threads() == 2 and is_right(None)",
            DWCONV_NUM_THREADS="garbage",
        )

    @pytest.mark.parametrize(
        "value",
        ["0", "-4", "", "two", "1.5", ",", "1,x", "1000000", "99999999999", "9" * 30, "\u0663"],
    )
    @pytest.mark.parametrize("threads", [None, 4])
    def test_garbage_in_openmp_variables_is_harmless(self, value, threads):
        """libgomp itself has died of some of these."""
        run_child(f"assert is_right({threads})", OMP_NUM_THREADS=value)

    @pytest.mark.parametrize(
        "environment",
        [
            {"DWCONV_NUM_THREADS": "99999999999"},
            {"OMP_THREAD_LIMIT": "1"},
            {"OMP_THREAD_LIMIT": "2"},
            {"OMP_THREAD_LIMIT": "garbage"},
            {"OMP_DYNAMIC": "true"},
            {"OMP_SCHEDULE": "garbage,7"},
            {"OMP_PROC_BIND": "true", "OMP_PLACES": "{0}"},
            {"OMP_WAIT_POLICY": "active"},
            {"OMP_MAX_ACTIVE_LEVELS": "0"},
            {"OMP_CANCELLATION": "true", "OMP_DISPLAY_ENV": "true"},
            {"GOMP_CPU_AFFINITY": "0"},
            {"GOMP_SPINCOUNT": "garbage"},
        ],
        ids=str,
    )
    def test_other_variables(self, environment):
        run_child("assert is_right(4) and is_right(None)", **environment)

    @pytest.mark.parametrize(
        "isa",
        ["garbage", "AVX2", "avx512avx512", "neon" if "avx2" in _core.isa_names() else "avx2"],
    )
    def test_an_isa_this_machine_lacks(self, isa):
        """Right results, or an exception that names the variable and its value."""
        run_child(
            f"""
            try:
                assert is_right(4)
            except ValueError as error:
                assert "DWCONV_ISA" in str(error) and {isa!r} in str(error), error
            dwconv.show_config()
            """,
            DWCONV_ISA=isa,
        )


class TestUsableCpus:
    @linux_only
    def test_affinity(self):
        cpu = min(os.sched_getaffinity(0))
        text = f"""
            import os
            os.sched_setaffinity(0, {{{cpu}}})
            assert dwconv.get_num_threads() == 1 and is_right(None) and is_right(8)
            assert os.sched_getaffinity(0) == {{{cpu}}}
        """
        run_child(text)

    @pytest.fixture
    def control_group(self, monkeypatch):
        """Pretends to a machine of 16 CPUs and the given files of the control group."""
        files = {}

        def fake_open(path, *arguments, **options):
            if str(path).startswith("/sys/fs/cgroup/"):
                if path not in files:
                    raise FileNotFoundError(path)
                return io.StringIO(files[path])
            return builtins_open(path, *arguments, **options)

        builtins_open = builtins.open
        monkeypatch.setattr(builtins, "open", fake_open)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
        return files

    @pytest.mark.parametrize(
        ("text", "cpus"),
        [
            ("max 100000\n", 16),
            ("100000 100000\n", 1),
            ("150000 100000\n", 2),
            ("50000 100000\n", 1),
            ("1 100000\n", 1),
            ("400000 100000\n", 4),
            ("9999999 100000\n", 16),
            ("100000 0\n", 16),
            ("", 16),
            ("garbage\n", 16),
            ("1 2 3\n", 16),
        ],
    )
    def test_quota_version_2(self, control_group, text, cpus):
        control_group["/sys/fs/cgroup/cpu.max"] = text
        assert threads.usable_cpus() == cpus

    @pytest.mark.parametrize(
        ("quota", "period", "cpus"),
        [
            ("-1", "100000", 16),
            ("250000", "100000", 3),
            ("100", "0", 16),
            ("x", "100000", 16),
            ("50000", None, 16),
        ],
    )
    def test_quota_version_1(self, control_group, quota, period, cpus):
        control_group["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = quota
        if period is not None:
            control_group["/sys/fs/cgroup/cpu/cpu.cfs_period_us"] = period
        assert threads.usable_cpus() == cpus

    def test_without_affinity(self, control_group, monkeypatch):
        monkeypatch.delattr(os, "sched_getaffinity")
        monkeypatch.setattr(os, "cpu_count", lambda: None)
        assert threads.usable_cpus() == 1
        monkeypatch.setattr(os, "cpu_count", lambda: 6)
        assert threads.usable_cpus() == 6


@linux_only
@needs_openmp
def test_number_of_system_threads():
    """Several threads are used when asked for; sixteen callers at once share one team."""
    run_child(
        """
        import threading
        tasks = lambda: len(os.listdir("/proc/self/task"))
        before = tasks()
        assert is_right(4)
        assert before < tasks() <= before + 3, (before, tasks())
        barrier, most, wrong = threading.Barrier(16), [], []
        def work():
            barrier.wait()
            for _ in range(6):
                if not is_right(4):
                    wrong.append(1)
                most.append(tasks())
        callers = [threading.Thread(target=work) for _ in range(16)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert not wrong
        assert max(most) <= before + 16 * 4, (before, max(most))
        """
    )


@linux_only
@needs_openmp
def test_other_threads_do_work():
    """Processor time of the threads besides the caller, from field 14 of /proc/self/task/*/stat."""
    run_child(
        """
        import time
        def ticks():
            total = 0
            for task in set(os.listdir("/proc/self/task")) - known:
                with open(f"/proc/self/task/{task}/stat") as file:
                    total += int(file.read().rpartition(")")[2].split()[11])
            return total
        known = set(os.listdir("/proc/self/task"))
        x = np.repeat(x, 8, axis=0)
        end = time.monotonic() + 20
        while ticks() < 5 and time.monotonic() < end:
            depthwise_conv1d(x, w, num_threads=3)
        assert ticks() >= 5, ticks()
        """
    )


def test_other_threads_run_during_a_call():
    """One long call of more than 0.2 s; a thread that only wakes up and sleeps again counts how
    often it can."""
    x, kernel = np.ones((1, 40000, 64), np.float32), np.ones((31, 64, 1), np.float32)
    depthwise_conv1d(x, kernel, num_threads=1)
    begin = time.perf_counter()
    depthwise_conv1d(x, kernel, num_threads=1)
    repeats = int(min(60, 0.25 / (time.perf_counter() - begin) + 1))
    x = np.broadcast_to(x, (repeats, *x.shape[1:])).copy()
    out = np.empty((repeats, 40000 - 30, 64), np.float32)

    wakeups, stop, started = [], threading.Event(), threading.Event()

    def count():
        started.set()
        while not stop.is_set():
            wakeups.append(time.perf_counter())
            time.sleep(0.002)

    counter = threading.Thread(target=count)
    counter.start()
    started.wait()
    begin = time.perf_counter()
    depthwise_conv1d(x, kernel, out=out, num_threads=1)
    end = time.perf_counter()
    stop.set()
    counter.join()
    # The interpreter would switch once at the beginning and once at the end if the call held its
    # lock.
    inside = [t for t in wakeups if begin + 0.2 * (end - begin) < t < begin + 0.8 * (end - begin)]
    assert len(inside) >= 5, f"{len(inside)} wakeups in the middle of {end - begin:.3f} s"


def test_names():
    assert threads.__all__ == ["get_num_threads", "num_threads", "set_num_threads"]
    for name in threads.__all__:
        assert getattr(dwconv, name) is getattr(threads, name)
