"""A mask of any named label convention → ``Tissue`` values. The convention is named by the user and never guessed."""

from __future__ import annotations

import difflib

import numpy as np
from numpy.typing import NDArray

from ranoscope.domain import LABELS, LabelConvention
from ranoscope.errors import ImageError, RecipeError, problem
from ranoscope.imaging.nifti import Volume, decode, decode_labels


def named_convention(name: str) -> LabelConvention:
    """The convention of a name, in any case of letters.

    Raises:
        RecipeError: no such convention; the nearest and all others are listed.
    """
    known = {str(one).casefold(): one for one in LABELS}
    found = known.get(name.strip().casefold())
    if found is not None:
        return found
    near = difflib.get_close_matches(name.strip().casefold(), known, n=1, cutoff=0.5)
    got = f"`{name}`" + (f" (nearest: {known[near[0]]})" if near else "")
    raise RecipeError(
        problem("a label convention by name", got, "the settings", f"choose one of {', '.join(map(str, LABELS))}")
    )


def decode_tissue(payload: bytes, where: str, convention: LabelConvention) -> tuple[NDArray[np.uint8], Volume]:
    """Decode a mask.

    Args:
        payload: bytes of a ``.nii`` or ``.nii.gz`` file.
        where: names patient, study and file for messages.
        convention: whose labels the mask carries.

    Returns:
        ``Tissue`` values (i, j, k towards R, A, S) and the mask's volume, which carries its grid.

    Raises:
        ImageError: no readable 3-D image, or labels outside the convention; those that would fit are then listed.
    """
    try:
        return decode_labels(payload, where, convention)
    except ImageError as error:
        # What cannot be read at all fails here once more, with its own message.
        volume = decode(payload, where)
        raise ImageError(_misfit(volume.data, where, convention)) from error


def fitting_conventions(labels: NDArray[np.generic]) -> tuple[LabelConvention, ...]:
    """Every convention that knows all of these labels. Several may: which one holds cannot be told from the numbers."""
    found = {float(value) for value in np.unique(labels)}
    return tuple(convention for convention, known in LABELS.items() if found <= known.keys())


def _misfit(labels: NDArray[np.generic], where: str, convention: LabelConvention) -> str:
    known = sorted(LABELS[convention])
    strangers = [f"{value:g}" for value in np.unique(labels).tolist() if value not in known]
    more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
    fits = ", ".join(map(str, fitting_conventions(labels)))
    return problem(
        f"{convention} labels {', '.join(map(str, known))}",
        f"also {', '.join(strangers[:5])}{more}",
        where,
        f"find out which tool drew this mask; its labels would fit {fits}"
        if fits
        else "find out which tool drew this mask; its labels fit no convention known here",
    )
