# SPDX-License-Identifier: BSD-3-Clause
"""``dwconv info``: how this installation was built and what it uses here."""

import argparse


def add_parser(commands) -> None:
    """Add the subcommand to the ``dwconv`` parser."""
    parser = commands.add_parser("info", help="print version, compiler, ISA, threads and NumPy",
                                 description="Print how dwconv was built and what it uses here.")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print ``dwconv.show_config()``."""
    import dwconv

    dwconv.show_config()
