"""The command line: parse, call, print.

Results go to stdout, and so does the one JSON object of ``--json``; everything else that people read while
they wait goes to stderr. Exit codes: 0 done, 1 a stated failure (one line), 2 wrong usage.
"""

from __future__ import annotations

import sys

import typer

from glassnet.cli.app import app
from glassnet.errors import GlassnetError
from glassnet.progress import TerminalProgress, show_progress

# Importing a module adds its commands; this order is that of the list in --help.
# isort: off
from glassnet.cli import train
from glassnet.cli import evaluate
from glassnet.cli import runs
from glassnet.cli import explore
from glassnet.cli import predict
from glassnet.cli import export
from glassnet.cli import doctor
from glassnet.cli import models
from glassnet.cli import study
from glassnet.cli import training_studies
from glassnet.cli import check
from glassnet.cli import golden
from glassnet.cli import golden_check
from glassnet.cli import golden_layers
from glassnet.cli import bench
from glassnet.cli import cache
# isort: on

__all__ = [
    "app",
    "bench",
    "cache",
    "check",
    "doctor",
    "evaluate",
    "explore",
    "export",
    "golden",
    "golden_check",
    "golden_layers",
    "main",
    "models",
    "predict",
    "runs",
    "study",
    "train",
    "training_studies",
]


def main() -> None:
    """Run the ``glassnet`` command. ``--debug`` may be anywhere in it."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        with show_progress(TerminalProgress()):
            app(arguments)
    except (GlassnetError, OSError, MemoryError) as error:
        if debug:
            raise
        typer.echo(f"Error: {str(error) or type(error).__name__}", err=True)
        sys.exit(1)
