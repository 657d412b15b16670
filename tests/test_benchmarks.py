# SPDX-License-Identifier: BSD-3-Clause
"""The benchmarks: their arithmetic, their references, their reports, and a quick run."""

import ctypes
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
    cliffs,
    data,
    details,
    environments,
    fused,
    limits,
    memory,
    native,
    overhead,
    results,
    roofline,
    streaming,
    table,
    targets,
    worker,
)
from benchmarks.cases import Case, select  # noqa: E402
from benchmarks.probes import probes  # noqa: E402
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


# --- reports


def measurement(case, threads, seconds, **more):
    variants = [
        {"peer": peer, "variant": variant, "seconds": times, "error": 1e-7, "contiguous": True}
        for (peer, variant), times in seconds.items()
    ]
    record = {"case": case.to_json(), "threads": threads, "variants": variants}
    return record | {"failed": [], "left_out": []} | more


@pytest.fixture
def stored():
    one = Case("one_cl", 1, 1000, 64, 31, padding="valid", use_bias=False)
    two = Case("two_cf", 1, 1000, 64, 31, activation="silu", data_format="channels_first")
    series = [Case(f"k{k}", 1, 100, 16, k, group="K") for k in (3, 5)]
    machine = {"fma": {"float32": 100.0, "float64": 50.0}, "copy": [[1 << 10, 400.0]]}
    return {
        "machine": {
            "cpu": "A CPU",
            "cores": 2,
            "system": "Linux",
            "python": "3",
            "date": "2026-01-02",
        },
        "rounds": 3,
        "seed": 0,
        "limits": {"1": machine, "2": machine},
        "peers": {"dwconv": {"dwconv": "0.1"}, "torch": {"torch": "2.13"}},
        "absent": {"jax": "ModuleNotFoundError: No module named 'jax'"},
        "measurements": [
            measurement(
                one,
                1,
                {
                    ("dwconv", "layer"): [1e-4, 2e-4, 1e-4],
                    ("dwconv", "out="): [3e-4, 3e-4, 3e-4],
                    ("torch", "conv1d"): [9e-4, None, None],
                    ("torch", "conv2d"): [3e-4, 8e-4, 5e-4],
                },
                left_out=[{"peer": "openvino", "reason": "inference only"}],
            ),
            measurement(one, 2, {("dwconv", "layer"): [5e-5] * 3, ("torch", "conv2d"): [2e-4] * 3}),
            measurement(two, 1, {("dwconv", "out="): [1e-4] * 3, ("torch", "conv2d"): [2e-4] * 3}),
            *(measurement(case, 1, {("dwconv", "layer"): [1e-5] * 3}) for case in series),
        ],
    }


def test_rows(stored):
    one, faster, two, *_ = results.rows(stored)
    assert (one.dwconv.variant, one.best_peer.variant) == ("layer", "conv2d")
    assert one.speedup == pytest.approx(4)  # of 3, 4 and 5, round by round
    assert one.fraction(one.dwconv) == pytest.approx(one.case.flops / 100e9 / 1e-4)
    assert faster.speedup == pytest.approx(4)
    assert (one.fused, two.fused) == (False, True)
    assert one.speedup_at_limit == pytest.approx(5e-4 / one.bound.seconds)
    assert results.geometric_mean([1, 4]) == pytest.approx(2)


def lines_of(result):
    return {(line.target, line.threads): line for line in targets.lines(result)}


def test_targets_of_cases(stored):
    forward = "forward: times faster than the best peer, geometric mean"
    each = "forward, without FFT cases: times faster than the best peer, each case"
    found = lines_of(stored)
    assert found[forward, 1].measured.startswith("2.83 (exactly at the limit: ")
    assert (found[forward, 1].met, found[forward, 2].met) == (False, True)
    assert found[each, 1] == (each, "≥ 1.8", 1, "least 2.00 (two_cf)", True)
    fraction = found["forward: fraction of the limit, median", 1]
    assert (fraction.measured, fraction.met) == ("0.38", False)  # the fused case is apart
    assert "0.39" in found["forward: fraction of the limit, median with a fused activation †", 1][3]
    threads = "cases bound by multiply-adds: times faster than one thread, each case > 1 Mflop"
    assert found[threads, 2] == (threads, "≥ 1.85", 2, "least 2.00 (one_cl)", True)

    for variant in stored["measurements"][2]["variants"]:
        if variant["peer"] == "torch":
            variant["seconds"] = [1.5e-4] * 3
    line = lines_of(stored)[each, 1]
    assert not line.met
    assert line.measured == "least 1.50 (two_cf); 1 of 2 below: two_cf 1.50"

    for record in stored["measurements"]:
        record["case"]["name"] = targets.FFT_CASES[0]
    found = lines_of(stored)
    assert "FFT cases: times faster than the best peer, each case" in {name for name, _ in found}
    assert not any("fraction" in name or "without FFT" in name for name, _ in found)


def test_targets_of_details(stored):
    kernel = {"kernel": 1e-6, "function": 9e-6}
    pairs = [{"ratio": r, "slow": "T1", "fast": "K 2"} for r in (1.7, 1.1)]
    stored["details"] = {
        "overhead": [
            {"shape": "a", **kernel, "out=": 2e-6, "layer": 5e-6},
            {"shape": "b", **kernel, "out=": 2.5e-6, "layer": 2e-6},
        ],
        "streaming": [
            {"shape": "C8 K4 silu", "kernel": 1e-6, "out=": 2e-6, "step": 3e-6},
            {"shape": "C512 K31, 16 steps", "one call": 1.0, "chunks": 2.0, "throughput": 0.5},
            {"shape": "C1 K3, 9 steps", "one call": 1.0, "chunks": 2.0, "throughput": 0.5},
        ],
        "fused": [{"shape": "T1 float64", "linear": 1.0, "silu": 1.2, "cost": 0.2}],
        "memory": [
            {"case": "one", "threads": 1, "workspace_per_thread": 65536, "python": 1000},
            {"case": "two", "threads": 1, "workspace_per_thread": 10, "python": 5000},
        ],
        "cliffs": pairs,
        "probes": [{"shows": "What a loop does.", "result": "1 GB/s"}],
    }
    base = {line[:2] for line in targets.lines(stored | {"details": {}})}
    lines = [line for line in targets.lines(stored) if line[:2] not in base]
    assert [(line.measured, line.met) for line in lines] == [
        ("at most 1.50 µs (b)", True),
        ("at most 4.00 µs (a)", False),
        ("at most 1.00 µs (C8 K4 silu)", True),
        ("least 0.50 (C512 K31, 16 steps); 1 of 1 below: C512 K31, 16 steps 0.50", False),
        ("C1 K3, 9 steps: 0.50", None),
        ("median 20 %, at most 20 % (T1 float64)", True),
        ("64.0 KiB of workspace (one), 4.9 KiB of Python objects", False),
        ("at most 1.70 (T1, beside K 2); 1 of 2 pairs above", False),
    ]
    text = table.render(stored)
    assert f"{sum(line.met is True for line in targets.lines(stored))} of " in text
    assert "| ≤ 1.6 × | 1 | at most 1.70 (T1, beside K 2); 1 of 2 pairs above | **no** |" in text
    assert "1. What a loop does.\n   **1 GB/s**" in text
    stored["details"]["cliffs"] = stored["details"]["probes"] = {"failed": "no compiler"}
    assert "- probes, not measured: no compiler" in table.render(stored)
    assert "| cliffs |  | 1 | not measured: no compiler |  |" in table.render(stored)


def test_one_round_is_told(stored):
    assert "single round" not in table.render(stored)
    assert "single round" in table.render(stored | {"rounds": 1})


def test_table(stored):
    text = table.render(stored)
    assert "A CPU, 2 cores" in text
    line = next(line for line in text.splitlines() if line.startswith("| one_cl | B1 T1000"))
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == [
        *("one_cl", "B1 T1000 C64 K31 valid CL", "38.5 µs fma", "100 µs layer", "38", "0.38"),
        *("torch:conv2d", "500 µs", "**4.00**", "13"),
    ]
    assert "| 0.39 † |" in text  # the case with an activation
    assert "| 2.83 (exactly at the limit: 8." in text  # targets stand above the cases
    assert "| one_cl | fma | 2.00 |" in text  # two threads over one
    assert "jax, not measured" in text
    assert "openvino, left out: inference only (one_cl)" in text


def test_table_without_peers_or_limits(stored):
    stored["limits"] = {}
    for record in stored["measurements"]:
        record["variants"] = [v for v in record["variants"] if v["peer"] == "dwconv"]
    text = table.render(stored)
    assert "| one_cl | B1 T1000 C64 K31 valid CL |  | 100 µs layer | 38 |  |  |  |  |  |" in text


def test_report_writes_table_and_plots(stored, tmp_path, capsys):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(stored))
    assert cli.main(["report", str(path)]) == 0
    assert (tmp_path / "table.md").read_text() == table.render(stored)
    printed = capsys.readouterr().out.split()
    for name in ("table.md", "speedup.png", "roofline.png", "scaling.png", "threads.png"):
        assert str(tmp_path / name) in printed
        assert name == "table.md" or (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_wrong_results_are_told(stored):
    assert results.wrong(stored) == []
    failure = {"variant": "layer", "reason": "wrong result"}
    stored["measurements"][0]["failed"] = [{"peer": "torch", **failure}]
    assert results.wrong(stored) == []
    stored["measurements"][0]["failed"] += [{"peer": "dwconv", **failure}]
    assert results.wrong(stored) == ["one_cl layer: wrong result"]


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
def depthwise_conv1d(x, kernel, bias, *, out, **options):
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


# --- the small tools


def test_cliffs_compare_neighbours():
    series = cliffs.all_series()
    assert {len(cases) for cases in series} <= set(range(5, 60))
    machine = {"fma": {"float32": 1.0, "float64": 1.0}, "copy": [[1, 1e6]]}
    options = {"data_format": "channels_last", "dtype": "float32", "kernel_size": 9}
    cases = [cliffs.make_case(**options, channels=c) for c in (3, 4, 6)]  # 4 and 6 are apart
    ((ratio, slow, fast, seconds),) = cliffs.find(machine, [cases], rounds=1)
    assert ratio >= 1
    assert {slow.channels, fast.channels} == {3, 4}
    assert seconds > 0


def test_details(monkeypatch):
    """One that fails leaves the others alone; what they return is JSON that targets understands."""
    monkeypatch.setattr(details, "NAMES", ("overhead", "fused"))
    monkeypatch.setattr(details, "_ROUNDS", 1)
    monkeypatch.setattr(overhead, "SHAPES", ((8, 16, 3),))
    monkeypatch.setattr(fused, "_SIZES", ((8, 16),))
    for name in details.NAMES:
        try:
            entries = json.loads(json.dumps(details.measure(name, None)))
        except native.NoCompiler:
            continue
        assert targets._DETAILS[name](entries)
    with pytest.raises(ValueError, match="limits of the machine are unknown"):
        details.measure("cliffs", None)


def test_details_without_dwconv(tmp_path):
    (tmp_path / "dwconv.py").write_text("raise ImportError('no core')")
    found = details.run(None, str(tmp_path), ("fused", "cliffs"))
    assert found["fused"] == {"failed": "ImportError: no core"}
    assert found["cliffs"] == {"failed": "ValueError: the limits of the machine are unknown"}


def test_details_alone(monkeypatch, no_compiler, tmp_path, capsys):
    monkeypatch.setattr(details, "run", lambda limits, dwconv: {"fused": {"failed": "not today"}})
    arguments = ["--cases", "details", "--peers", "dwconv", "--threads", "1", "-o", str(tmp_path)]
    assert cli.main(arguments) == 0
    assert "not measured: not today" in capsys.readouterr().out


def test_memory():
    cases = [case for case in PUBLIC_CASES if case.name in ("dscnn_kws_cl", "train_mamba_cl")]
    try:
        entries = memory.measure(cases, [1, 2])
    except native.NoCompiler as error:
        pytest.skip(str(error))
    assert [(e["case"], e["threads"]) for e in entries] == [("dscnn_kws_cl", n) for n in (1, 2)]
    assert all(0 < e["workspace_per_thread"] <= 65536 and 0 < e["python"] < 4096 for e in entries)


@pytest.mark.parametrize("probe", probes.PROBES, ids=lambda probe: probe.__name__)
def test_probes(probe, monkeypatch):
    monkeypatch.setattr(probes, "_ROUNDS", 1)
    monkeypatch.setattr(probes, "_ROUND_SECONDS", 1e-5)
    monkeypatch.setattr(limits, "_ROUND_SECONDS", 1e-5)
    try:
        line = probe()
    except native.NoCompiler as error:
        pytest.skip(str(error))
    assert any(character.isdigit() for character in line)
    assert probe.__doc__


def test_loops_of_the_probes_do_what_they_say():
    try:
        rows = probes._function("rows.c", "copy_rows")
        pack = probes._function("rows.c", "pack_tiles")
        apply = probes._function("arithmetic.c", "apply")
    except native.NoCompiler as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    x = data.aligned_copy(rng.standard_normal((16, 64), np.float32))
    once, size = ctypes.c_long(1), ctypes.c_size_t

    def address(array):
        return ctypes.c_void_p(array.ctypes.data)

    for interleaved in (0, 1):
        y = data.aligned_copy(np.zeros_like(x))
        rows(address(y), address(x), size(16), size(256), interleaved, once)
        np.testing.assert_array_equal(y, x)
    lanes = probes._vector_bytes() // 4
    for transposed in (0, 1):
        y = data.aligned_copy(np.zeros((lanes, lanes), np.float32))  # room for the last tile only
        pack(address(y), size(y.nbytes), address(x), size(lanes), size(256), transposed, once)
        tile = x[:lanes, -lanes:]
        np.testing.assert_array_equal(y, tile.T if transposed else tile)
    y = data.aligned_copy(np.zeros_like(x))
    apply(address(y), address(x), size(1024 // lanes), 1, once)
    np.testing.assert_allclose(y, x / (1 + np.exp(-x)), rtol=1e-5, atol=1e-6)


def test_streaming():
    chunks = streaming.measure_chunks(16, 3, 4, rounds=1)
    assert set(chunks) == {"one call", "chunks", "throughput"} and min(chunks.values()) > 0
    try:
        seconds = streaming.measure_step(16, 3, rounds=1)
    except native.NoCompiler as error:
        pytest.skip(str(error))
    assert set(seconds) == {"kernel", "out=", "step"} and min(seconds.values()) > 0


def test_overhead():
    try:
        seconds = overhead.measure((8, 16, 3), rounds=1)
    except native.NoCompiler as error:
        pytest.skip(str(error))
    assert set(seconds) == {"kernel", "out=", "function", "layer"}
    assert min(seconds.values()) > 0
