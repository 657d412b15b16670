# SPDX-License-Identifier: BSD-3-Clause
"""The command line: measure, set up the peers, render a stored result."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import environments, machine, results, suite, table
from benchmarks.cases import Case, select
from benchmarks.peers import DWCONV, PEERS
from benchmarks.public_cases import PUBLIC_CASES
from benchmarks.scaling_cases import SCALING_CASES
from benchmarks.streaming_cases import STREAMING_CASES

_RESULTS = Path(__file__).parent / "results"
_DETAILS = "details"  # no cases: the small tools
_CASES = {
    "public": PUBLIC_CASES,
    "scaling": SCALING_CASES,
    "streaming": STREAMING_CASES,
    _DETAILS: [],
}
_ROUNDS, _QUICK_ROUNDS = 7, 3


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["setup"]:
        return _setup(arguments[1:])
    if arguments[:1] == ["report"]:
        return _report(arguments[1:])
    return _run(arguments)


def _run(arguments: list[str]) -> int:
    options = _run_parser().parse_args(arguments)
    os.environ["DWCONV_BENCH_DWCONV"] = options.dwconv
    peers = [DWCONV] if options.quick else options.peers
    cases = _quick_cases() if options.quick else [c for name in options.cases for c in _CASES[name]]
    cases = select(cases, options.only)
    with_details = _DETAILS in options.cases and not (options.quick or options.only)
    if not cases and not with_details:
        print(f"no case has a name with {' or '.join(options.only)}", file=sys.stderr)
        return 2
    rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS)
    folder = options.output
    if folder is None and not options.quick:
        folder = _RESULTS / machine.slug(machine.describe())
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dwconv-benchmarks-") as logs:
        result = suite.run_suite(
            cases,
            peers,
            options.threads,
            rounds,
            Path(logs) if options.logs is None else options.logs,
            None if folder is None else folder / "results.json",
            options.seed,
            with_details,
        )
    print(table.render(result))
    if folder is not None:
        _write_report(result, folder)
    failures = results.wrong(result)
    for failure in failures:
        print(f"dwconv failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _setup(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks setup",
        description="Make the peers' virtual environments (about 4 GB) in $DWCONV_BENCH_VENVS, by "
        "default benchmarks/.venvs.",
    )
    names = list(environments.ENVIRONMENTS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(names)}; default all")
    chosen = parser.parse_args(arguments).names
    unknown = [name for name in chosen if name not in names]
    if unknown:
        parser.error(f"no environment is called {', '.join(unknown)}; there are {', '.join(names)}")
    return environments.setup(chosen)


def _report(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks report",
        description="Write table.md and the plots of a results.json beside it.",
    )
    parser.add_argument("file", type=Path)
    file = parser.parse_args(arguments).file
    try:
        result = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        parser.error(f"cannot read {file}: {error}")
    _write_report(result, file.parent)
    return 0


def _write_report(result: dict, folder: Path) -> None:
    (folder / "table.md").write_text(table.render(result))
    print(folder / "table.md")
    try:
        from benchmarks import plots
    except ImportError as error:
        print(f"no plots: {error}", file=sys.stderr)
        return
    for path in plots.save_all(result, folder):
        print(path)


def _quick_cases() -> list[Case]:
    return [case for case in PUBLIC_CASES if "heavy" not in case.tags]


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description="Measure dwconv against other libraries and the limits of the machine. "
        "Commands: setup, report; see their --help.",
    )
    cores = len(machine.usable_cpus())
    parser.add_argument(
        "--quick",
        action="store_true",
        help="dwconv alone, few rounds, prints the table and writes nothing unless -o is given; "
        "its figures are rough",
    )
    parser.add_argument(
        "--cases", type=_choices("case set", _CASES), default=list(_CASES), metavar="SET,...",
        help=f"{', '.join(_CASES)}; default all. details are the small tools (overhead, streaming, "
        "fused, memory, cliffs, probes), left out with --only and --quick",
    )
    parser.add_argument(
        "--only", type=_words, default=[], metavar="WORD,...",
        help="cases whose name contains one of the words, and no details",
    )
    parser.add_argument(
        "--peers", type=_choices("peer", PEERS), default=list(PEERS), metavar="PEER,...",
        help=f"default {','.join(PEERS)}",
    )
    parser.add_argument(
        "--threads", type=_counts, default=sorted({1, cores}), metavar="N,...",
        help="default 1 and all",
    )
    parser.add_argument(
        "--rounds", type=_positive, metavar="N",
        help=f"default {_ROUNDS}, quick {_QUICK_ROUNDS}",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--dwconv", default=os.environ.get("DWCONV_BENCH_DWCONV", ""), metavar="FOLDER",
        help="measure the dwconv in this folder, not the installed one ($DWCONV_BENCH_DWCONV)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER",
        help="for results.json, table.md and the plots; default benchmarks/results/DATE-MACHINE",
    )
    parser.add_argument(
        "--logs", type=Path, metavar="FOLDER", help="keep what the libraries print, in this folder"
    )
    return parser


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _choices(kind: str, names):
    def parse(text: str) -> list[str]:
        chosen = _words(text)
        unknown = [name for name in chosen if name not in names]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(
                f"no {kind} is called {', '.join(unknown) or repr(text)}; "
                f"there are {', '.join(names)}"
            )
        return chosen

    return parse


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, received {text!r}")
    return int(text)


def _counts(text: str) -> list[int]:
    return sorted({_positive(word) for word in text.split(",")})
