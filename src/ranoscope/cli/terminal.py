"""What a person at a terminal sees: progress bars, messages, and errors without a stack trace."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ranoscope.errors import RanoscopeError

# Of the processes of a multi-GPU run the first speaks for all.
OUT = Console(highlight=False, quiet=os.environ.get("LOCAL_RANK", "0") != "0")
_ERR = Console(stderr=True, highlight=False, soft_wrap=True)
# Set to any text to see where an unexpected error came from; for bug reports.
TRACE_VARIABLE = "RANOSCOPE_TRACE"

_INTERRUPTED_CODE = 130

Told = Callable[[int, int, str], None]


@contextmanager
def progress_bar(title: str) -> Iterator[Told]:
    """Show one bar per phase of a stage; a phase begins when the total changes or the count starts anew."""
    columns = (
        TextColumn("{task.description:<12}"), BarColumn(bar_width=28), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("[dim]{task.fields[what]}"),
    )  # fmt: skip
    with Progress(*columns, console=OUT) as bar:
        task = bar.add_task(title, total=None, what="starting")

        def told(done: int, total: int, what: str) -> None:
            nonlocal task
            known = bar.tasks[-1]
            if known.total is not None and (known.total != total or done < known.completed):
                task = bar.add_task(title, total=total, what=what)
            bar.update(task, completed=done, total=total, what=what)

        yield told


def say(text: str) -> None:
    """Print a line of rich markup."""
    OUT.print(text)


def warn(sentences: list[str]) -> None:
    """Print warnings, one per line; nothing for none."""
    for sentence in sentences:
        OUT.print(f"[yellow]Note[/] {escape(sentence)}")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what went wrong into one message and an exit code: 2 a named error, 130 interrupted, 1 a defect of ours."""
    try:
        yield
    except RanoscopeError as error:
        for line in str(error).splitlines():
            _ERR.print(f"[bold red]Error[/] {escape(line)}")
        sys.exit(2)
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(_INTERRUPTED_CODE)
    except SystemExit as ended:
        # Typer catches Ctrl+C first and ends the program without a word.
        if ended.code == _INTERRUPTED_CODE:
            _say_interrupted()
        raise
    except MemoryError:
        _ERR.print(
            "[bold red]Error[/] Expected enough memory, got none left, in this step; use a coarser grid.voxel_mm or a "
            "smaller training.batch_size and give the same command again."
        )
        sys.exit(2)
    except Exception as error:
        if os.environ.get(TRACE_VARIABLE):
            raise
        _ERR.print(
            f"[bold red]Unexpected {type(error).__name__}[/] {escape(str(error))}\nThis is a defect of ranoscope; what "
            f"was finished is kept. Set {TRACE_VARIABLE}=1 and give the command again to see where it comes from."
        )
        sys.exit(1)


def _say_interrupted() -> None:
    _ERR.print("[bold]Interrupted.[/] Give the same command again: it goes on where it stopped.")
