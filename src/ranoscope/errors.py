"""The exceptions a caller may want to treat differently.

Every message follows one grammar: *Expected X, got Y, in patient/study/file; do Z.* The command line prints the message
alone, without a stack trace, and exits with code 2.
"""

from __future__ import annotations


class RanoscopeError(Exception):
    """Root of everything ranoscope raises on purpose."""


class TableError(RanoscopeError):
    """A table is missing, lacks a column or holds a value outside its vocabulary."""


class ImageError(RanoscopeError):
    """An image or mask cannot be read or is not what its place in the folder promises."""


class RecipeError(RanoscopeError):
    """A recipe or setting is unknown, mistyped or contradictory."""


class RunError(RanoscopeError):
    """A run folder lacks a stage's output, or holds output made from other inputs."""


class StorageError(RanoscopeError):
    """The disk is full or not writable; what was finished before is intact."""


class DownloadError(RanoscopeError):
    """A published file could not be fetched whole."""


def problem(expected: str, got: str, where: str, do: str) -> str:
    """Compose a message in the house grammar.

    Args:
        expected: what should have been there, e.g. ``"a grid of 182x218x182 voxels"``.
        got: what was found.
        where: patient, study and file, as far as known, e.g. ``"Patient-042/week-010/CT1.nii.gz"``.
        do: the next step for the reader, in the imperative.
    """
    return f"Expected {expected}, got {got}, in {where}; {do}."
