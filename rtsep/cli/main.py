"""The command line: one file per command, errors as one line, exit codes.

0 is success, 1 a failure, 2 a wrong call, 130 Ctrl-C. Commands import what they need when they
run, so that `rtsep --help` answers at once.
"""

from __future__ import annotations

import os
import sys

import typer

from rtsep import __version__
from rtsep.cli import (
    bench,
    build,
    devices,
    doctor,
    eval_,
    import_,
    latency,
    midi,
    mix,
    models,
    presets,
    run,
    separate,
    train,
    tune,
    verify,
)
from rtsep.cli.run_preset import RunCommand
from rtsep.errors import Failure, WrongCall

app = typer.Typer(
    name="rtsep",
    help="Separates sound live: a mixture goes in, stems come out a few milliseconds later.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("run", cls=RunCommand)(run.command)
for name, module in {
    "devices": devices,
    "doctor": doctor,
    "latency": latency,
    "separate": separate,
    "models": models,
    "import": import_,
    "verify": verify,
    "build": build,
    "tune": tune,
    "bench": bench,
    "eval": eval_,
    "mix": mix,
    "train": train,
}.items():
    app.command(name)(module.command)
app.add_typer(presets.app, name="presets")
app.add_typer(midi.app, name="midi")


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and end."),
) -> None:
    if version:
        print(f"rtsep {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    try:
        code = app(standalone_mode=False)
    except Failure as failure:
        code = _say(failure, failure.exit_code)
    except typer.Abort:
        code = 130
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader of our output left: nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        # A wrong option or argument, as typer's parser reports it; anything else is a bug.
        if not hasattr(error, "format_message"):
            raise
        code = _say(error.format_message(), WrongCall.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _say(message: object, code: int) -> int:
    print(f"rtsep: {' '.join(str(message).split())}", file=sys.stderr)
    return code
