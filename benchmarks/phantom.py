"""How fast synthetic patients are made: patients per second with one and with two workers, side by side.

Run alone: ``python benchmarks/phantom.py [--patients N] [--voxel-mm V]``. Both runs make the same cohort into empty
folders, start-up of the workers and reading of the templates included, one after the other on the machine as it is: a
busy machine gives lower figures, whence the load. The bytes of both are compared: no worker count buys speed with
another result.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from pathlib import Path

from ranoscope.config import PhantomSettings
from ranoscope.phantom.cohort import make_phantom

GOAL_PATIENTS, GOAL_SECONDS = 60, 240


def measure(settings: PhantomSettings, workers: int) -> tuple[float, str]:
    """Seconds for the cohort, and a hash over all its files."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        make_phantom(Path(folder), settings, workers, lambda *_: None)
        seconds = time.perf_counter() - begin
        content = hashlib.sha256()
        for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            content.update(path.relative_to(folder).as_posix().encode())
            content.update(path.read_bytes())
    return seconds, content.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--voxel-mm", type=float, default=3.0)
    chosen = parser.parse_args()
    settings = PhantomSettings(patients=chosen.patients, voxel_mm=chosen.voxel_mm)
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start"
    print(f"{chosen.patients} patients at {chosen.voxel_mm:g} mm; {machine}")
    two, bytes_of_two = measure(settings, 2)
    one, bytes_of_one = measure(settings, 1)
    for workers, seconds in ((1, one), (2, two)):
        rate = chosen.patients / seconds
        projected = f"{GOAL_PATIENTS} in {GOAL_PATIENTS / rate:4.0f} s"
        print(f"{workers} at once  {seconds:6.1f} s  {rate:5.2f} patients/s  {projected}")
    print(f"two workers are {one / two:.2f} times as fast as one")
    print(f"same bytes: {'yes' if bytes_of_one == bytes_of_two else 'NO'}")
    verdict = "within" if two * GOAL_PATIENTS / chosen.patients <= GOAL_SECONDS else "NOT within"
    print(f"{GOAL_PATIENTS} patients with two workers: {verdict} {GOAL_SECONDS} s")


if __name__ == "__main__":
    main()
