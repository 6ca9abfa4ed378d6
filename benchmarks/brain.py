"""Brain masks without downloaded weights, on real scans: agreement with their reference masks, volumes and seconds.

The scans (``shared/data`` beside the checkout): one glioma study's CT1 with its mask, 0.9 x 0.9 x 5.5 mm, with skull
and tumour; one multiple-sclerosis patient at two visits, T1, T2 and FLAIR, whose mask is carried to every scan by the
published transforms. Each scan alone, once as it is and once with its bias taken out, as ``prepare`` does; seconds are
of the processor, of the extraction alone, the first of them with the template made. Goals: Dice 0.94 on the CT1, 10 s.

Run: ``python benchmarks/brain.py [--all]``; without ``--all`` the CT1 and the first visit's T1; two minutes with it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation

from ranoscope.imaging.itk import from_itk, to_itk
from ranoscope.imaging.nifti import Volume, decode
from ranoscope.preparing.bias import BiasSettings, correct_bias
from ranoscope.preparing.brain import BrainSettings, extract_brain

DATA = Path(__file__).parents[2] / "shared" / "data"
GOAL_DICE, GOAL_S = 0.94, 10.0


def read(name: str) -> Volume:
    return decode((DATA / name).read_bytes(), name)


def back(name: str) -> sitk.Transform:
    """A published transform turned round: points of the scan to those of the space that it is brought to."""
    return sitk.ReadTransform(str(DATA / "ms_two_timepoints" / name)).GetInverse()


def carried(mask: Volume, scan: Volume, transform: sitk.Transform) -> np.ndarray:
    image, grid = to_itk(mask.data, mask.affine), to_itk(scan.data, scan.affine)
    return from_itk(sitk.Resample(image, grid, transform, sitk.sitkLinear, 0.0)) > 0.5


def scans(everything: bool) -> Iterator[tuple[str, Volume, np.ndarray]]:
    """Name, scan and reference mask on its grid."""
    yield "glioma CT1", read("glioma_raw/CT1.nii.gz"), read("glioma_raw/CT1_brain_mask.nii.gz").data > 0
    mask = read("ms_two_timepoints/brainmask.nii.gz")
    for visit in (1, 2) if everything else (1,):
        for sequence in ("T1W", "T2W", "FLAIR") if everything else ("T1W",):
            scan = read(f"ms_two_timepoints/study{visit}_{sequence}.nii.gz")
            transform = back(f"study{visit}_FLAIR_to_common_space.txt")
            if sequence != "FLAIR":
                own = back(f"study{visit}_{sequence}_intrastudy_to_FLAIR.txt")
                transform = sitk.CompositeTransform([transform, own])
            yield f"MS visit {visit} {sequence}", scan, carried(mask, scan, transform)


def report(name: str, scan: Volume, reference: np.ndarray) -> tuple[float, float]:
    """Print a line; Dice and seconds."""
    began = time.process_time()
    found = extract_brain(scan, BrainSettings())
    seconds = time.process_time() - began
    dice = 2 * np.count_nonzero(found.mask & reference) / (np.count_nonzero(found.mask) + np.count_nonzero(reference))
    ours, theirs = (np.count_nonzero(mask) * scan.voxel_volume_mm3 / 1000 for mask in (found.mask, reference))
    said = "; ".join(one for one in (found.problem, found.note) if one)
    print(
        f"{name:32} Dice {dice:.3f}  {ours:5.0f} ml, reference {theirs:5.0f} ml  {seconds:4.1f} s  {said}", flush=True
    )
    return dice, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--all", action="store_true", help="every scan of the second patient")
    everything = parser.parse_args().all
    if not DATA.is_dir():
        print("the real scans (shared/data beside the checkout) are not here: nothing measured")
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start")
    for name, scan, reference in scans(everything):
        dice, seconds = report(name, scan, reference)
        if name.startswith("glioma"):
            verdict = "within" if dice >= GOAL_DICE and seconds <= GOAL_S else "NOT within"
            print(f"{'':32} {verdict} the goal of Dice {GOAL_DICE} in {GOAL_S:g} s")
        report(f"{name}, bias taken out", correct_bias(scan, BiasSettings()), reference)


if __name__ == "__main__":
    main()
