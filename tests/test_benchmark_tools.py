# SPDX-License-Identifier: BSD-3-Clause
"""The small tools beside the benchmarks."""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # benchmarks/ is not installed; at the end, so that dwconv is not found

from benchmarks import (  # noqa: E402
    cliffs,
    data,
    details,
    fused,
    limits,
    memory,
    native,
    overhead,
    streaming,
    targets,
)
from benchmarks.probes import probes  # noqa: E402
from benchmarks.public_cases import PUBLIC_CASES  # noqa: E402


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


def test_memory():
    cases = [case for case in PUBLIC_CASES if case.name in ("conformer_s_cl", "train_mamba_cl")]
    try:
        entries = memory.measure(cases, [1, 2])
    except native.NoCompiler as error:
        pytest.skip(str(error))
    assert [(e["case"], e["threads"]) for e in entries] == [("conformer_s_cl", n) for n in (1, 2)]
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
