"""What all commands share: the console, JSON for machines, errors and exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused (review or budget), 4 ledger does not verify.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from datasites.errors import BudgetError, LedgerError, LedgerWriteError, ReviewError
from datasites.wrong_settings import wrong_settings
from recsys.errors import ToyFedError
from recsys.federation import merge_names

__all__ = [
    "DatasiteHomeOption",
    "JsonOption",
    "MergeOption",
    "ShareOption",
    "StudyHomeOption",
    "console",
    "emit",
    "guarded",
    "stderr",
]

P = ParamSpec("P")
T = TypeVar("T")

console = Console()
stderr = Console(stderr=True)

ShareOption = Annotated[
    str, typer.Option(help="Where parties meet: a folder, s3://, sftp://, webdavs:// or gdrive://.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
MergeOption = Annotated[
    str,
    typer.Option(
        help=f"How merchants' updates become one: {', '.join(merge_names())}. "
        "`toyfed recipes` says what each does."
    ),
]
DatasiteHomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        "-H",
        envvar="TOYFED_DATASITE",
        help="The merchant's home folder.",
        show_default=True,
    ),
]
StudyHomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        "-H",
        envvar="TOYFED_STUDY",
        help="The data scientist's home folder.",
        show_default=True,
    ),
]


def emit(value: Any) -> None:
    """Print one JSON document on standard output."""
    typer.echo(json.dumps(value, indent=1, default=str))


def guarded(command: Callable[P, T]) -> Callable[P, T]:
    """Turn ToyFed's errors into one readable line and an exit code; others keep their traceback."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except ValidationError as error:
            # Settings given as options, such as an e-mail address that is none.
            _say(f"expected usable settings, found: {wrong_settings(error)}")
            raise typer.Exit(1) from None
        except ToyFedError as error:
            _say(str(error))
            if isinstance(error, LedgerError) and not isinstance(error, LedgerWriteError):
                code = 4
            elif isinstance(error, ReviewError | BudgetError):
                code = 3
            else:
                code = 1
            raise typer.Exit(code) from None
        except OSError as error:
            from datasites.merchant.trouble import in_words

            # Full, read-only, closed to this user, or a folder where a file should be.
            where = f": {error.filename}" if error.filename else ""
            _say(f"{in_words(error)}{where}")
            raise typer.Exit(1) from None

    return wrapper


def _say(problem: str) -> None:
    stderr.print(f"[bold red]error:[/] {escape(problem)}", highlight=False)
