"""The command line: one verb per arrow of the journey, no logic."""

from ranoscope.cli.commands import main

__all__ = ["main"]
