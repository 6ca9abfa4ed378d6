"""What is asked of a fusion. Light: the command line imports it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FUSION = "fusion"
INNER_FOLDS = 3


@dataclass(frozen=True)
class Request:
    """What to fuse: the finished ``run``, ``tables`` and ``volumes`` as the scoreboard's, the folder to write
    (``run``/fusion for None) and the number of inner folds.
    """

    run: Path
    tables: Path | None = None
    volumes: Path | None = None
    out: Path | None = None
    inner_folds: int = INNER_FOLDS

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return self.out or self.run / FUSION
