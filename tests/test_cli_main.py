# SPDX-License-Identifier: BSD-3-Clause
"""The command as a process: exit status, one line per error, nothing left behind."""

import os
import re
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
from cli_helpers import assert_fails, command_line, files_in, run_command

import dwconv
from dwconv.cli import main
from dwconv.cli.operation import Operation

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals, pipes or terminals")


@pytest.fixture
def folder(tmp_path):
    """A folder with a signal of 3 channels, a layer for it, and an OUT that must survive."""
    np.save(tmp_path / "in.npy", np.ones((1000, 3), np.float32))
    np.savez(tmp_path / "layer.npz", kernel=np.ones((5, 3, 1), np.float32))
    (tmp_path / "out.npy").write_bytes(b"precious")
    return tmp_path


def arguments(folder, *options, layer="layer.npz", name_in="in.npy", name_out="out.npy"):
    return ["apply", "--weights", str(folder / layer), *options, str(folder / name_in),
            str(folder / name_out)]


def assert_untouched(folder):
    assert (folder / "out.npy").read_bytes() == b"precious"
    assert not [name for name in files_in(folder) if name.endswith(".tmp")]


def test_info_and_version(capsys):
    assert main(["info"]) == 0
    assert dwconv.__version__ in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dwconv {dwconv.__version__}\n"
    done = run_command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"dwconv {dwconv.__version__}\n", "")


@pytest.mark.parametrize("command", [[], ["apply"], ["demo"], ["info"]], ids=str)
def test_help(command, capsys):
    assert main([*command, "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: dwconv")


@pytest.mark.parametrize("command, word", [
    ([], "command"),
    (["frobnicate"], "frobnicate"),
    (["info", "extra"], "extra"),
    (["apply"], "--weights"),
    (["apply", "--weights", "layer.npz"], "IN, OUT"),
    (["apply", "--weights", "layer.npz", "in.npy", "out.npy", "--block", "0"], "'0'"),
    (["apply", "--weights", "layer.npz", "in.npy", "out.npy", "--block", "1.5"], "'1.5'"),
    (["apply", "--weights", "layer.npz", "in.npy", "out.npy", "--threads", "-1"], "'-1'"),
    (["apply", "--weights", "layer.npz", "in.npy", "out.csv"], "out.csv"),
    (["apply", "--weights", "layer.npz", "in.csv", "out.npy"], "in.csv"),
    (["demo", "-o", "picture.gif"], "picture.gif"),
], ids=str)
def test_bad_command_lines(command, word, capsys):
    assert_fails(capsys, command, word)


def test_bad_files(folder, capsys):
    np.save(folder / "scalar.npy", np.float32(1))
    np.save(folder / "four.npy", np.ones((2, 2, 2, 2), np.float32))
    np.save(folder / "objects.npy", np.array([{}], object))
    np.save(folder / "text.npy", np.array(["a", "b"]))
    np.save(folder / "complex.npy", np.ones((50, 3), complex))
    np.save(folder / "bool.npy", np.ones((50, 3), bool))
    np.save(folder / "int32.npy", np.ones((50, 3), np.int32))
    np.save(folder / "wide.npy", np.ones((50, 4), np.float32))
    np.save(folder / "short.npy", np.ones((4, 3), np.float32))
    (folder / "cut.npy").write_bytes((folder / "in.npy").read_bytes()[:-100])
    (folder / "garbage.npy").write_bytes(b"garbage")
    (folder / "empty.npz").write_bytes(b"")
    np.savez(folder / "two.npz", a=np.ones(9), b=np.ones(9))
    (folder / "folder.npy").mkdir()
    cases = [
        ("missing.npy", "No such file"), ("folder.npy", ""), ("scalar.npy", "shape=()"),
        ("four.npy", "shape=(2, 2, 2, 2)"), ("objects.npy", ""), ("text.npy", "dtype=<U1"),
        ("complex.npy", "dtype=complex128"), ("bool.npy", "dtype=bool"),
        ("int32.npy", "dtype=int32"), ("wide.npy", "3 channels"), ("short.npy", ""),
        ("cut.npy", "cut.npy"), ("garbage.npy", "garbage.npy"), ("empty.npz", "empty.npz"),
        ("two.npz", "['a', 'b']"),
    ]
    for name, word in cases:
        assert_fails(capsys, arguments(folder, name_in=name), word)
        assert_untouched(folder)


def test_bad_layers(folder, capsys):
    np.savez(folder / "reflect.npz", kernel=np.ones((5, 3, 1)), padding="reflect")
    np.savez(folder / "odd.npz", kernel=np.ones((5, 3, 1), np.float32), activation="glu")
    (folder / "text.npz").write_text("kernel")
    for name, word in (("missing.npz", "No such file"), ("text.npz", "text.npz"),
                       ("reflect.npz", "reflect"), ("odd.npz", ""), ("in.npy", "in.npy")):
        assert_fails(capsys, arguments(folder, layer=name), word)
        assert_untouched(folder)


def test_bad_outputs(folder, capsys):
    (folder / "folder.npy").mkdir()
    assert_fails(capsys, arguments(folder, name_out="folder.npy"), folder / "folder.npy")
    missing = os.path.join("missing", "out.npy")
    assert_fails(capsys, arguments(folder, name_out=missing), "No such file", folder / missing)
    if os.name == "posix":
        os.mkfifo(folder / "fifo.npy")
        assert_fails(capsys, arguments(folder, name_out="fifo.npy"), "not a regular file")
        assert stat.S_ISFIFO((folder / "fifo.npy").stat().st_mode)
    assert_untouched(folder)


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everything")
def test_protected_outputs(folder, capsys):
    (folder / "out.npy").chmod(0o400)
    assert_fails(capsys, arguments(folder), "Permission denied")
    assert_untouched(folder)


@posix
def test_output_keeps_link_and_permissions(folder):
    (folder / "out.npy").chmod(0o640)
    (folder / "link.npy").symlink_to("out.npy")
    assert main(arguments(folder, "--quiet", name_out="link.npy")) == 0
    assert (folder / "link.npy").is_symlink()
    assert np.load(folder / "out.npy").shape == (996, 3)
    assert stat.S_IMODE((folder / "out.npy").stat().st_mode) == 0o640
    previous = os.umask(0o027)
    try:
        assert main(arguments(folder, "--quiet", name_out="new.npy")) == 0
    finally:
        os.umask(previous)
    assert stat.S_IMODE((folder / "new.npy").stat().st_mode) == 0o640


@pytest.mark.parametrize("error, status, line", [
    (KeyboardInterrupt(), 130, "dwconv: interrupted\n"),
    (MemoryError(), 2, "dwconv: error: MemoryError\n"),
    (MemoryError("shape=(9, 9),\nbytes=99"), 2, "dwconv: error: shape=(9, 9), bytes=99\n"),
    (OSError(28, "No space left on device"), 2, None),
], ids=repr)
def test_failure_in_a_later_block(folder, capsys, monkeypatch, error, status, line):
    original, calls = Operation.run, []

    def run(self, *others):
        calls.append(others)
        if len(calls) == 3:
            raise error
        return original(self, *others)

    monkeypatch.setattr(Operation, "run", run)
    assert main(arguments(folder, "--block", "10")) == status
    assert len(calls) == 3
    out, err = capsys.readouterr()
    expected = line or f"dwconv: error: {folder / 'out.npy'}: {os.strerror(28)}\n"
    assert (out, err) == ("", expected)
    assert_untouched(folder)


@posix
def test_interrupt_from_outside(folder):
    shape = (50_000_000, 3)
    np.lib.format.open_memmap(folder / "in.npy", "w+", np.float32, shape).flush()  # sparse
    # A background job of a shell ignores SIGINT, and so would its children.
    with subprocess.Popen(command_line(*arguments(folder, "--block", "50")), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
        out, err = interrupt_once_it_writes(process, folder)
    assert (process.returncode, out, err) == (130, "", "dwconv: interrupted\n")
    assert_untouched(folder)


def interrupt_once_it_writes(process, folder):
    try:
        while process.poll() is None and not any(n.endswith(".tmp") for n in files_in(folder)):
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=30)
    finally:
        process.kill()


@posix
def test_file_size_limit(folder):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = run_command(*arguments(folder), preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(r"dwconv: error: .*out\.npy: .*\n", done.stderr)
    assert_untouched(folder)


@posix
def test_reader_of_the_output_goes_away(folder):
    for command in (["info"], arguments(folder)):
        reading, writing = os.pipe()
        os.close(reading)
        done = run_command(*command, capture_output=False, stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, ""), command
    assert np.load(folder / "out.npy").shape == (996, 3)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_standard_output():
    with open("/dev/full", "w") as full:
        done = run_command("info", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == f"dwconv: error: {os.strerror(28)}\n"


@posix
@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_closed_standard_streams(folder, closed):
    for command in (["info"], arguments(folder)):
        script = "import os, sys\nfor fd in sys.argv[1].split(): os.close(int(fd))\n" \
                 "os.execv(sys.executable, [sys.executable, '-P', '-m', 'dwconv', *sys.argv[2:]])"
        done = subprocess.run([sys.executable, "-P", "-c", script, closed, *command],
                              capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b""), (command, closed)
    assert np.load(folder / "out.npy").shape == (996, 3)


def test_file_names_that_cannot_be_printed(folder):
    np.save(folder / "\u00e9\u4e2d.npy", np.ones((20, 3), np.float32))
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = run_command(*arguments(folder, name_in="\u00e9\u4e2d.npy", name_out="\u00e8.npy"),
                       env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    done = run_command(*arguments(folder, layer="\u00e9\nline.npz"), env=environment)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


@posix
def test_progress_bar_on_a_terminal_only(folder):
    import pty

    shape = (3_000_000, 3)
    np.lib.format.open_memmap(folder / "in.npy", "w+", np.float32, shape).flush()
    for options, shown in ((["--block", "2000"], True), (["--block", "2000", "--quiet"], False)):
        master, terminal = pty.openpty()
        process = subprocess.Popen(command_line(*arguments(folder, *options)),
                                   stdout=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        drawn = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # Linux reports the end of a terminal as an input/output error
                part = b""
            if not part:
                break
            drawn += part
        process.communicate(timeout=60)
        os.close(master)
        assert process.returncode == 0
        assert (b"% " in drawn and b"steps/s" in drawn) == shown, drawn
        assert drawn == b"" or drawn.endswith(b"\r\x1b[K"), drawn
    done = run_command(*arguments(folder))
    assert (done.returncode, done.stderr) == (0, "")
