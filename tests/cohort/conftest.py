"""A tiny LUMIERE with every quirk of the published one: the real tree and headers, a few bytes per file.

Written from the description of the published data, not with the reader's own names, so that it can contradict them.
"""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

RATINGS_HEADER = [
    "Patient", "Date", "LessThan3Months", "NonMeasurableLesions",
    "Rating (according to RANO, PD: Progressive disease, SD: Stable disease, PR: Partial response, CR: Complete "
    "response, Pre-Op: Pre-Operative, Post-Op: Post-Operative)",
    "Rating rationale (CRET: complete resection of the enhancing tumor, PRET: partial resection of the enhancing "
    "tumor, T2-Progr.: T2-Progression, L: Lesion)",
]  # fmt: skip
COMPLETENESS_HEADER = (
    "Patient,Timepoint,CT1,T1,T2,FLAIR,DeepBraTumIA,HD-GLIO-AUTO,DeepBraTumIA-CoLlAGe,HD-GLIO-AUTO-CoLlAGe"
)
DEMOGRAPHICS_HEADER = (
    "Patient,Survival time (weeks),Sex,Age at surgery (years),IDH (WT: wild type),IDH method,MGMT qualitative,"
    "MGMT quantitative"
)
SEQUENCE_NAMES = ("CT1", "T1", "T2", "FLAIR")

# patient, week, under 3 months, rating, rationale
RATED = [
    ("001", "week-000-1", "", "Pre-Op", ""),
    ("001", "week-000-2", "", "Post-Op", "CRET"),
    ("001", "week-013", "", "SD", "None"),
    ("001", "week-026", "", "SD", "None"),
    ("001", "week-039", "", "PD", "Target L.: 13mm x 26mm, new L."),
    ("002", "week-000-1", "", "Pre-Op", ""),
    ("002", "week-000-2", "", "Post-Op", "PRET"),
    ("002", "week-020", "", "CR", "None"),
    ("002", "week-032", "", "CR", "None"),
    ("002", "week-040-1", "", "CR", "None"),  # Q8: two visits of one week
    ("002", "week-040-2", "", "PD", "None"),
    ("003", "week-000-1", "", "Pre-Op", ""),
    ("003", "week-000-2", "", "Post-Op", "PRET"),
    ("003", "week-014", "", "SD", ""),
    ("003", "week-026", "", "PR", ""),
    ("003", "week-038", "", "PR", ""),
    ("003", "week-050", "", "PD", ""),
    ("004", "week-000", "", "Pre-Op", ""),
    ("004", "week-001", "", "Post-Op", ""),
    ("004", "week-020", "", "PD", ""),
    ("004", "week-041", "", "Post-Op", ""),  # Q7: second operation
    ("004", "week-060", "", "SD", ""),
    ("005", "week-000", "", "Pre-Op", ""),
    ("005", "week-020", "", "PD", ""),
    ("005", "week-041", "", "Post-Op", ""),  # the scan after the second operation was never made
    ("005", "week-060", "", "PD", ""),
    ("007", "week-000", "", "Pre-Op", ""),
    ("007", "week-015", "", "SD", ""),  # Q13: FLAIR lacking
    ("007", "week-030", "", "PD", ""),
    ("007", "week-045", "", "PD", ""),  # all images, no segmentation folder
    ("008", "week-000", "", "Pre-Op", ""),
    ("008", "week-001", "", "Post-Op ", ""),  # Q9
    ("008", "week-030", "", "Post-Op/PD", ""),  # Q10
    ("008", "week-040", "", "None", "None"),  # Q11
    ("008", "week-052", "", "PD", ""),
    ("009", "week-000", "", "Pre-Op", ""),
    ("009", "week-006", "x", "SD", ""),  # Q12: three styles
    ("009", "week-008", "", "SD", "less than 3 months"),
    ("009", "week-010", "", "SD", "Less than 3 months, new target L. 13 months later"),
    ("009", "week-012", "", "PD", "Not a timepoint for RANO measurement"),
    ("009", "week-030", "", "PD", "stable for 13 months"),
    ("010", "week-000", "", "Pre-Op", ""),
    ("010", "week-001", "", "Post-Op", ""),  # Q6: one operation, three rows
    ("010", "week-001", "", "Post-Op", ""),
    ("010", "week-002", "", "Post-Op", ""),
    ("010", "week-016", "", "SD", ""),
    ("012", "week-000", "", "PD", ""),  # P12: single visit
    ("013", "week-000", "", "Pre-Op", ""),
    ("013", "week-002", "", "Post-Op", ""),  # Q4: the scan is week-001
    ("013", "week-014", "", "SD", ""),
    ("025", "week-000", "", "Pre-Op", ""),  # Q2: weeks without scans
    ("025", "week-010", "", "PD", ""),
    ("042", "week-000", "", "Pre-Op", ""),
    ("042", "week-001", "", "Post-Op", ""),
    ("042", "week-010", "", "SD", ""),  # Q1
    ("042", "week-010", "", "PD", ""),
    ("042", "week-022", "", "PD", ""),
    ("043", "week-090", "", "SD", ""),  # Q14: late first visit
    ("043", "week-106", "", "PD", ""),  # Q17
    ("060", "week-000", "", "Pre-Op", ""),  # Q3: two Pre-Op rows
    ("060", "week-001", "", "Post-Op", ""),
    ("060", "week-069", "", "Pre-Op", ""),
    ("060", "week-075", "", "PD", ""),
    ("079", "week-000", "", "Pre-Op", ""),  # Q5: scans between the ratings
    ("079", "week-053", "", "PD", ""),
]
RATED_WITHOUT_SCAN = {("005", "week-041"), ("013", "week-002"), ("025", "week-000"), ("025", "week-010")}
SCANNED_WITHOUT_RATING = [
    ("013", "week-001"), ("025", "week-006"), ("025", "week-008"), ("026", "week-000"), ("026", "week-012"),
    ("079", "week-001"), ("079", "week-014"),
]  # fmt: skip
INCOMPLETE = {("007", "week-015"): ("CT1", "T1", "T2"), ("007", "week-045"): SEQUENCE_NAMES}
ENHANCING_MM3 = {
    ("002", "week-020"): 0.0, ("002", "week-032"): 0.0, ("002", "week-040-1"): 0.0,
    ("003", "week-000-2"): 9000.0, ("003", "week-014"): 8000.0, ("003", "week-026"): 3000.0,
    ("003", "week-038"): 1000.0, ("003", "week-050"): 2500.0,
}  # fmt: skip
DEMOGRAPHICS = [
    ["Patient-001", "89", "female", "57", "WT", "BES", "methylated", "na"],
    ["Patient-002", "na", "male", "63", "wt", "Immuno", "not methylated", "0.00%"],  # Q15, Q18
    ["Patient-003", "40", "male", "39", "IDH1 neg, Sequencing required", "Immuno", "na", "na"],
    ["Patient-004", "40", "male", "39", "R132H mut", "Immuno", "na", "na"],
    ["Patient-005", "40", "male", "39", "na", "na", "na", "na"],
]
DELIBERATE_MISMATCH = ("001", "week-026")  # FLAIR is on disk, the table does not mark it


def scanned_visits() -> list[tuple[str, str]]:
    rated = {(patient, week) for patient, week, *_ in RATED} - RATED_WITHOUT_SCAN
    return sorted(rated | set(SCANNED_WITHOUT_RATING))


def complete_visit_files(enhancing_mm3: float) -> dict[str, bytes]:
    """The 40 files of a complete visit."""
    deep, hd = "DeepBraTumIA-segmentation", "HD-GLIO-AUTO-segmentation"
    volumes = {"Enhancing_Core": enhancing_mm3, "Necrotic_NonEnhancing": 20.0, "Edema_Compartment": 30.5}
    names = [f"{name}.nii.gz" for name in SEQUENCE_NAMES]
    names += [f"{deep}/atlas/segmentation/seg_mask.nii.gz", f"{deep}/atlas/skull_strip/brain_mask.nii.gz"]
    for name in SEQUENCE_NAMES:
        low = name.lower()
        names += [
            f"{deep}/atlas/skull_strip/{low}_skull_strip.nii.gz",
            f"{deep}/native/segmentation/{low}_seg_mask.nii.gz",
            f"{deep}/native/skull_strip/{low}_brain_mask.nii.gz",
            f"{deep}/native/transformation/{low}.tfm",
            f"{hd}/native/segmentation_{name}_origspace.nii.gz",
            f"{hd}/registered/{name}_r2s_bet.nii.gz",
            f"{hd}/registered/{name}_r2s_bet_reg.mat",
            f"{hd}/registered/{name}_r2s_bet_reg.nii.gz",
        ]
    names.append(f"{hd}/registered/segmentation.nii.gz")
    files = {name: name.encode() for name in names}
    files[f"{deep}/atlas/segmentation/measured_volumes_in_mm3.json"] = json.dumps(volumes).encode()
    assert len(files) == 40
    return files


def write_ratings(path: Path, rows: list[tuple[str, str, str, str, str]], header: list[str] = RATINGS_HEADER) -> None:
    """Ratings as published: a byte-order mark, quoted headers, five of six fields given."""
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([f"Patient-{p}", week, under, "", rating, why] for p, week, under, rating, why in rows)


def _write_tables(root: Path) -> None:
    write_ratings(root / "LUMIERE-ExpertRating-v202211.csv", RATED)
    lines = [COMPLETENESS_HEADER]
    for patient, week in scanned_visits():
        present = INCOMPLETE.get((patient, week), SEQUENCE_NAMES)
        if (patient, week) == DELIBERATE_MISMATCH:
            present = ("CT1", "T1", "T2")
        marks = ["x" if name in present else "" for name in SEQUENCE_NAMES]
        marks += ["" if (patient, week) in INCOMPLETE else "x"] * 4
        lines.append(",".join([f"Patient-{patient}", week, *marks]))
    (root / "LUMIERE-datacompleteness.csv").write_text("\n".join(lines) + "\n")
    with (root / "LUMIERE-Demographics_Pathology.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([DEMOGRAPHICS_HEADER.split(","), *DEMOGRAPHICS])


def _write_images(imaging: Path) -> None:
    for patient, week in scanned_visits():
        if (patient, week) in INCOMPLETE:
            files = {f"{name}.nii.gz": name.encode() for name in INCOMPLETE[patient, week]}
        else:
            files = complete_visit_files(ENHANCING_MM3.get((patient, week), 500.0))
        for name, payload in files.items():
            path = imaging / f"Patient-{patient}" / week / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(payload)
    # What other programs leave behind, which a reader must not mind.
    first = imaging / "Patient-001"
    (first / "week-000-1" / "CT1_tostd.nii.gz").write_bytes(b"by the paper's code")
    (first / ".DS_Store").write_bytes(b"by a file manager")
    (first / "week-000-1" / ".DS_Store").write_bytes(b"by a file manager")
    (first / "week 99").mkdir()
    (first / "week 99" / "CT1.nii.gz").write_bytes(b"a folder named by hand")


@pytest.fixture(scope="session")
def lumiere_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folder") / "LUMIERE"
    (root / "Imaging").mkdir(parents=True)
    _write_tables(root)
    _write_images(root / "Imaging")
    return root


@pytest.fixture(scope="session")
def lumiere_zip(lumiere_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the zip in place of the folder, as published: one top folder, and entries for folders."""
    root = tmp_path_factory.mktemp("zip") / "LUMIERE"
    root.mkdir()
    _write_tables(root)
    with zipfile.ZipFile(root / "Imaging-v202211.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((lumiere_folder / "Imaging").rglob("*")):
            archive.write(path, path.relative_to(lumiere_folder).as_posix())
        archive.writestr("__MACOSX/Imaging/Patient-001/week-000-1/._CT1.nii.gz", b"by a packing tool")
    return root


@pytest.fixture
def lumiere_copy(lumiere_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(lumiere_folder, tmp_path / "LUMIERE"))


@pytest.fixture
def tables_only(tmp_path: Path) -> Path:
    root = tmp_path / "tables"
    root.mkdir()
    _write_tables(root)
    return root


@pytest.fixture
def make_tables(tmp_path: Path) -> Callable[..., Path]:
    """Write a rating table alone and return its folder."""

    def make(rows: list[tuple[str, str, str, str, str]], header: list[str] = RATINGS_HEADER) -> Path:
        root = tmp_path / "made"
        root.mkdir(exist_ok=True)
        write_ratings(root / "LUMIERE-ExpertRating-v202211.csv", rows, header)
        return root

    return make


@pytest.fixture(scope="session")
def real_tables() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "lumiere_tables"
    if not folder.is_dir():
        pytest.skip("the real LUMIERE tables (shared/data beside the checkout) are not here")
    return folder
