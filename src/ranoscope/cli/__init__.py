"""The command line: one verb per arrow of the journey, no logic."""

# Importing a module of commands is what makes them known; their order here is that of --help.
from ranoscope.cli import commands, experiments, fusion, measurement, preparation
from ranoscope.cli.app import app
from ranoscope.cli.terminal import plain_errors

__all__ = ["commands", "experiments", "fusion", "main", "measurement", "preparation"]


def main() -> None:
    """Entry point of the command `ranoscope`."""
    with plain_errors():
        app()
