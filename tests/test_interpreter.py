# SPDX-License-Identifier: BSD-3-Clause
"""What belongs to the interpreter: its options, its end, signals, output and environment, one process for each."""

import sys

import pytest
from child import PRELUDE, run_child
from test_faults import fault, posix_only


@pytest.mark.parametrize(
    "arguments",
    [
        ("-OO",),
        ("-W", "error", "-X", "dev"),
        ("-I",),
        ("-X", "faulthandler"),
        ("-X", "int_max_str_digits=640"),
        ("-bb", "-W", "error"),
        ("-S", "-E"),
    ],
    ids=" ".join,
)
def test_interpreter_options(arguments):
    path = f"sys.path[:0] = {[entry for entry in sys.path if entry]!r}\n"
    checks = """
for wrong in ({"strides": 0}, {"padding": "foo"}, {"padding": (-5000, 0)}):
    try:
        depthwise_conv1d(x, w, **wrong)
    except ValueError:
        pass
    else:
        print("accepted", wrong)
print(is_right(4))
"""
    output = run_child(checks, prelude="import sys\n" + path + PRELUDE, arguments=arguments)
    assert output.strip() == "True"


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("daemon", [True, False])
def test_interpreter_ends_during_a_call(threads, daemon):
    """Python exits normally and with the status of the main thread."""
    run_child(
        f"""
        import threading, time
        def work():
            while {daemon}:
                depthwise_conv1d(big, w, num_threads={threads})
            depthwise_conv1d(big, w, num_threads={threads})
        big = np.repeat(x, 40, axis=0)
        started = [threading.Thread(target=work, daemon={daemon}) for _ in range(3)]
        for thread in started:
            thread.start()
        time.sleep(0.05)
        sys.exit(7)
        """,
        status=7,
        timeout=30,
    )


def test_exit_handlers_may_convolve():
    assert run_child("import atexit; atexit.register(lambda: print(is_right(4)))").strip() == "True"


@posix_only
def test_signals_during_calls():
    """A handler that convolves itself, called between two bytecodes of a program that convolves."""
    fault(
        """
import signal
inside = []
def handler(number, frame):
    inside.append(is_right(3))
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
outside = []
while len(outside) < 100 or not inside:
    outside.append(is_right(4))
signal.setitimer(signal.ITIMER_REAL, 0)
print(all(outside), all(inside))
""",
        "True True",
    )


@posix_only
def test_signal_handlers_are_untouched():
    fault(
        """
import signal
numbers = [n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP)]
text = f"numbers = {[int(n) for n in numbers]}\\nimport signal\\n"
text += "before = [signal.getsignal(n) for n in numbers]\\nimport dwconv, numpy as np\\n"
text += "dwconv.depthwise_conv1d(np.ones((1, 9, 2)), np.ones((3, 2, 1)))\\n"
text += "print(before == [signal.getsignal(n) for n in numbers])"
import subprocess
print(subprocess.run([sys.executable, "-P", "-c", text], capture_output=True, text=True).stdout.strip())
""",
        "True",
    )


def test_nothing_is_printed_and_the_environment_is_kept():
    output = run_child(
        """
        import locale
        def state():
            switch = sys.getswitchinterval()
            return dict(os.environ), os.getcwd(), locale.setlocale(locale.LC_ALL), switch
        before = state()
        assert is_right(4) and is_right(None)
        assert state() == before
        """
    )
    assert output == ""
