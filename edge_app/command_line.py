"""What both command lines do alike: exit status, one-line errors, quiet video libraries."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from edge_app.errors import UserError


def set_up_libraries() -> None:
    """Settle what libraries read from the environment, where it says nothing; must run before they are imported.

    OpenCV and FFmpeg do not write to standard error. NumPy multiplies small matrices in one thread: a second one of
    OpenBLAS would spin for its next part with the whole processor that inferences need.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def run_command_line(group: click.Group, program: str) -> NoReturn:
    """Run a click group with the product's exit status.

    0 done, 2 wrong use or bad input (one line on standard error), 1 failed. A bug keeps its traceback.
    """
    try:
        result = group.main(prog_name=program, standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except click.ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # click 8.1, the last for Python 3.9, does not have it
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        context = getattr(error, "ctx", None)
        hint = f" (see '{context.command_path} --help')" if context else ""
        click.echo(f"error: {_one_line(error.format_message())}{hint}", err=True)
        sys.exit(2)
    except UserError as error:
        click.echo(f"error: {_one_line(str(error))}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output went away (``| head``); Python must not complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _one_line(text: str) -> str:
    return " ".join(text.split())
