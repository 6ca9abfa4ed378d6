"""PICSL greedy: one head brought to another from a start, by normalised mutual information."""

from __future__ import annotations

import ctypes
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from picsl_greedy import Greedy3D

from ranoscope.imaging.itk import to_itk
from ranoscope.preparing.registration.heads import Head
from ranoscope.preparing.registration.rigid import Matrix, inverse, nearest_rigid


def refine(fixed: Head, moving: Head, start: Matrix, levels: tuple[int, ...], inner: bool) -> Matrix:
    """Where greedy gets to from ``start``, both moving to fixed, RAS world, mm.

    Args:
        fixed: its voxels are the places that are compared.
        moving: brought to them.
        start: a rigid motion near the one that is looked for.
        levels: steps at most on each level of the pyramid, the last at the head's own voxels.
        inner: whether scalp and skull of the fixed head are left out, or its surroundings compared too.
    """
    tool = Greedy3D()
    # No jitter of the places that are compared and no second thread: with either no run would be like another. The
    # start is put into the moving image's header, for the Python interface takes none but from a file.
    places = fixed.inner if inner else np.ones(fixed.data.shape, dtype=np.bool_)
    command = (
        f"-V 0 -d 3 -a -dof 6 -m NMI -i fixed moving -gm places -ia-identity -n {'x'.join(map(str, levels))} "
        "-jitter 0 -threads 1 -o found"
    )
    images = {
        "fixed": to_itk(fixed.data, fixed.affine),
        "moving": to_itk(moving.data, start @ moving.affine),
        "places": to_itk(places.astype(np.float32), fixed.affine),
    }
    with _quiet():
        tool.execute(command, out=io.StringIO(), err=io.StringIO(), found=None, **images)
    to_moving = nearest_rigid(np.asarray(tool["found"], dtype=np.float64))
    return inverse(to_moving) @ start


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the optimiser writes where Python does not see it: that its last step was too small to be found."""
    library = ctypes.CDLL(None if os.name == "posix" else "msvcrt")
    with Path(os.devnull).open("w") as nowhere:
        kept = {stream: os.dup(stream) for stream in (1, 2)}
        library.fflush(None)
        try:
            for stream in kept:
                os.dup2(nowhere.fileno(), stream)
            yield
        finally:
            library.fflush(None)
            for stream, was in kept.items():
                os.dup2(was, stream)
                os.close(was)
