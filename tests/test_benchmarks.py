# SPDX-License-Identifier: BSD-3-Clause
"""The benchmarks: their arithmetic, their references, a quick run, and the command."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dwconv
from dwconv.padding import resolve_padding

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # benchmarks/ is not installed; at the end, so that dwconv is not found

from benchmarks import (  # noqa: E402
    cli,
    data,
    details,
    environments,
    limits,
    memory,
    native,
    roofline,
    worker,
)
from benchmarks.cases import Case, select  # noqa: E402
from benchmarks.public_cases import PUBLIC_CASES  # noqa: E402
from benchmarks.scaling_cases import SCALING_CASES  # noqa: E402
from benchmarks.streaming_cases import STREAMING_CASES  # noqa: E402


def random_cases(count, **fixed):
    rng = random.Random(7)
    cases = []
    for _ in range(count):
        fields = {
            "batch": rng.randint(1, 2),
            "steps": rng.randint(30, 50),
            "channels": rng.randint(1, 4),
            "kernel_size": rng.randint(1, 8),
            "depth_multiplier": rng.randint(1, 3),
            "strides": rng.randint(1, 4),
            "dilation_rate": rng.randint(1, 4),
            "padding": rng.choice(["same", "valid"]),
            "data_format": rng.choice(["channels_last", "channels_first"]),
            "dtype": rng.choice(["float32", "float64"]),
            "activation": rng.choice(["linear", "relu", "silu"]),
            "use_bias": rng.random() < 0.5,
        }
        cases.append(Case("random", **(fields | fixed)))
    return cases


# --- cases


@pytest.mark.parametrize("case", random_cases(60), ids=lambda case: case.shape_text)
def test_case_arithmetic(case):
    sizes = case.steps, case.kernel_size, case.strides, case.dilation_rate
    *pads, out_steps = resolve_padding(case.padding, *sizes)
    assert (case.out_steps, case.pads) == (out_steps, tuple(pads))
    taps = sum(
        0 <= t * case.strides + k * case.dilation_rate - pads[0] < case.steps
        for t in range(out_steps)
        for k in range(case.kernel_size)
    )
    assert case.multiply_adds == taps * case.batch * case.channels * case.depth_multiplier
    assert Case.from_json(json.loads(json.dumps(case.to_json()))) == case


def test_bytes_and_flops_of_a_known_case():
    case = Case("known", 2, 10, 3, 4, depth_multiplier=2, padding="valid", dtype="float64")
    assert case.min_bytes == 8 * (2 * 10 * 3 + 2 * 7 * 6 + 4 * 6)
    assert case.flops == 2 * (2 * 7 * 6 * 4)
    training = Case(**(case.to_json() | {"training": True}))
    assert training.min_bytes == 2 * case.min_bytes
    assert training.flops == 3 * case.flops
    assert training.shape_text == "B2 T10 C3 K4 M2 valid CL f64 fwd+bwd"


def test_case_lists():
    cases = PUBLIC_CASES + SCALING_CASES + STREAMING_CASES
    assert len({case.name for case in cases}) == len(cases) > 60
    assert all(case.source for case in PUBLIC_CASES)
    assert min(case.out_steps for case in cases) > 0
    assert {case.name for case in select(cases, ["wenet", "k501"])} == {
        "wenet_k15_cl",
        "ecg_fir_k501_cf",
    }


# --- references


@pytest.mark.parametrize("case", random_cases(20), ids=lambda case: case.shape_text)
def test_reference_agrees_with_dwconv(case):
    arrays = data.make_arrays(case, seed=3)
    result = dwconv.depthwise_conv1d(
        arrays.x,
        arrays.kernel,
        arrays.bias,
        strides=case.strides,
        padding=case.padding,
        dilation_rate=case.dilation_rate,
        data_format=case.data_format,
        activation=case.activation,
    )
    expected = data.reference(case, arrays)
    assert "failed" not in worker.check(case, (result,), expected)
    result[0, 0, 0] += 1
    assert "wrong result" in worker.check(case, (result,), expected)["failed"]
    assert "returned" in worker.check(case, (result.astype(np.float16),), expected)["failed"]


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_reference_of_long_kernels(padding):
    case = Case("long", 2, 300, 3, 70, dilation_rate=2, padding=padding, dtype="float64")
    arrays = data.make_arrays(case, seed=3)
    result = dwconv.depthwise_conv1d(
        arrays.x, arrays.kernel, arrays.bias, padding=padding, dilation_rate=2
    )
    assert data.relative_error((result,), data.reference(case, arrays)) < 1e-13


@pytest.mark.parametrize(
    "case",
    random_cases(8, training=True, dtype="float64", use_bias=True, activation="silu"),
    ids=lambda case: case.shape_text,
)
def test_reference_gradients_by_finite_differences(case):
    arrays = data.make_arrays(case, seed=3)
    _, *gradients = data.reference(case, arrays)
    rng = np.random.default_rng(3)
    for name, gradient in zip(("x", "kernel", "bias"), gradients, strict=True):
        direction = rng.standard_normal(gradient.shape)
        array = getattr(arrays, name)

        def loss(step, name=name, array=array, direction=direction):
            moved = arrays._replace(**{name: array + step * direction})
            return np.vdot(data.reference(case, moved)[0], arrays.dy)

        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        assert np.vdot(gradient, direction) == pytest.approx(slope, rel=1e-6, abs=1e-6)


# --- limits


def test_bound_takes_the_later_limit():
    machine = {"fma": {"float32": 100.0, "float64": 50.0}, "copy": [[1000, 200.0], [10**9, 10.0]]}
    compute = Case("compute", 1, 1000, 64, 500, padding="valid")
    seconds, limit = roofline.bound(machine, compute)
    assert limit == "fma"
    assert seconds == pytest.approx(compute.flops / 100e9)
    memory = Case("memory", 1, 1_000_000, 125, 1, padding="valid")  # about 1e9 bytes
    seconds, limit = roofline.bound(machine, memory)
    assert limit == "memory"
    assert seconds == pytest.approx(memory.min_bytes / 10e9)


def test_copy_bandwidth_between_and_beyond_points():
    points = [[1 << 10, 80.0], [1 << 12, 90.0], [1 << 14, 10.0]]  # the first was disturbed
    assert roofline.copy_bandwidth(points, 100) == 90
    assert roofline.copy_bandwidth(points, 1 << 12) == pytest.approx(90)
    assert roofline.copy_bandwidth(points, 1 << 13) == pytest.approx(30)  # geometric mean
    assert roofline.copy_bandwidth(points, 1 << 20) == 10


def test_merge_keeps_the_better():
    first = {"fma": {"float32": 1.0}, "copy": [[8, 5.0], [16, 2.0]]}
    again = {"fma": {"float32": 2.0}, "copy": [[8, 4.0], [16, 3.0]]}
    assert limits.merge(None, first) == first
    assert limits.merge(first, again) == {"fma": {"float32": 2.0}, "copy": [[8, 5.0], [16, 3.0]]}


# --- the command


TINY = ["--quick", "--only", "dscnn,matchboxnet", "--threads", "1", "--rounds", "1"]


def test_quick_run(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *TINY, "-o", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for name in ("dscnn_kws_cl", "matchboxnet_k29d2_cf"):
        assert f"| {name} |" in done.stdout
    stored = json.loads((tmp_path / "results.json").read_text())
    assert [len(record["variants"]) for record in stored["measurements"]] == [2, 2]
    assert stored["peers"] == {"dwconv": {"dwconv": dwconv.__version__}}


@pytest.fixture
def no_compiler(monkeypatch):
    """Benchmarks of another dwconv, quicker without the limits of the machine."""

    def machine():
        raise native.NoCompiler("none here")

    monkeypatch.setattr(limits, "Machine", machine)
    monkeypatch.setenv("DWCONV_BENCH_DWCONV", "")  # restored afterwards; the command sets it


FAKE = """
import numpy as np
__version__ = "0"
def set_num_threads(n): pass
def depthwise_conv1d(x, kernel, bias, *, out=None, **options):
    out = np.empty_like(x) if out is None else out
    out[...] = 0
    return out
class DepthwiseConv1D:
    def __init__(self, *args, **kwargs): raise OSError("broken")
"""


def test_wrong_results_fail_the_run(tmp_path, no_compiler, capsys):
    (tmp_path / "dwconv.py").write_text(FAKE)
    assert cli.main([*TINY, "--dwconv", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert "limits of this machine are not measured: none here" in errors
    assert "dwconv failed: dscnn_kws_cl out=: wrong result" in errors
    assert "dwconv failed: dscnn_kws_cl layer: OSError: broken" in errors


def test_an_unusable_dwconv_fails_the_run(tmp_path, no_compiler, capsys):
    (tmp_path / "dwconv.py").write_text("raise ImportError('no core')")
    assert cli.main([*TINY, "--dwconv", str(tmp_path)]) == 1
    assert "dwconv cannot be measured: ImportError: no core" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "caffe"], "no peer is called caffe"),
        (["--threads", "0"], "must be a positive integer, received '0'"),
        (["setup", "caffe"], "no environment is called caffe"),
        (["report", "missing.json"], "cannot read missing.json"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_no_such_case(monkeypatch, capsys):
    monkeypatch.setenv("DWCONV_BENCH_DWCONV", "")
    assert cli.main(["--only", "nothing"]) == 2
    assert "no case has a name with nothing" in capsys.readouterr().err


def test_the_extra_lists_every_peer():
    for name in environments.ENVIRONMENTS:
        assert environments.requirements(name)
    assert "torch==2.13.0" in environments.requirements("torch")


def test_details_alone(monkeypatch, no_compiler, tmp_path, capsys):
    monkeypatch.setattr(details, "run", lambda limits, dwconv: {"fused": {"failed": "not today"}})
    arguments = ["--cases", "details", "--peers", "dwconv", "--threads", "1", "-o", str(tmp_path)]
    assert cli.main(arguments) == 0
    assert "not measured: not today" in capsys.readouterr().out
