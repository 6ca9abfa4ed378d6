"""What stands in for tissue that is taken away: each volume's own mean inside its brain."""

from __future__ import annotations

from torch import Tensor


def neutral(pair: Tensor, brains: Tensor) -> Tensor:
    """The pair with nothing but brain outlines and average brightness left.

    Zero is not neutral where the brain's mean is another number; the mean inside the brain is, for every volume of its
    own, so that a covered place is neither bright nor dark beside its surroundings.

    Args:
        pair: (study, sequence, i, j, k).
        brains: bool (study, i, j, k).

    Returns:
        Of the pair's shape: each volume's mean inside that study's brain there, 0 outside. A sequence that was not
        acquired, 0 everywhere, stays 0.
    """
    inside = brains[:, None].to(pair.dtype)
    counts = inside.sum(dim=(2, 3, 4), keepdim=True).clamp_min(1)
    means = (pair * inside).sum(dim=(2, 3, 4), keepdim=True) / counts
    return means * inside
