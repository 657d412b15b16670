# SPDX-License-Identifier: BSD-3-Clause
"""Reports of the benchmarks: ratios, targets, tables and plots."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # benchmarks/ is not installed; at the end, so that dwconv is not found

from benchmarks import cli, results, table, targets  # noqa: E402
from benchmarks.cases import Case  # noqa: E402


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
