"""What the command lines of tools/ have in common."""
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


def make_parser(text: str | None) -> ArgumentParser:
    """A parser that shows the text of a tool as it is written.

    Args:
        text (str): The tool's ``__doc__``.

    Returns:
        ArgumentParser: It has no arguments yet.
    """
    return ArgumentParser(
        description=text, formatter_class=RawDescriptionHelpFormatter)


def run_tool(main: Callable[[], Any], *errors: type[Exception]) -> NoReturn:
    """Run a tool; a mistake of its user is one line, not a traceback.

    Args:
        main (Callable): Gives the exit status, or None.
        *errors (type): Mistakes besides ``FileNotFoundError`` and
            ``ValueError``.
    """
    mistakes: tuple[type[Exception], ...] = (
        FileNotFoundError, ValueError, *errors)
    try:
        sys.exit(main())
    except mistakes as error:
        sys.exit(f'{Path(sys.argv[0]).name}: {error}')
