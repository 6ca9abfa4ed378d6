"""The table of volumes: what is accepted, and every way in which it may be wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ranoscope.domain import Segmenter, StudyKey, Visit
from ranoscope.errors import TableError
from ranoscope.scoreboard.radiomics import read_download, read_radiomics
from ranoscope.scoreboard.volumes import MeasuredVolumes, merge, read_volumes_table

KEY = StudyKey("Patient-001", Visit(4))


def write(tmp_path, text):
    path = tmp_path / "volumes.csv"
    path.write_text(text, encoding="utf-8")
    return path


def refused(tmp_path, text):
    with pytest.raises(TableError) as error:
        read_volumes_table(write(tmp_path, text))
    return str(error.value)


def test_reads_any_source_and_keeps_unknown_unknown(tmp_path):
    text = (
        "Patient,Timepoint,mine_enhancing_mm3,hdglio_edema_mm3\nPatient-001,week-004,12.5,\nPatient-001,week-009,na,0\n"
    )
    found = read_volumes_table(write(tmp_path, text))
    assert found.volumes == {
        KEY: {"mine_enhancing_mm3": 12.5},
        StudyKey("Patient-001", Visit(9)): {"hdglio_edema_mm3": 0.0},
    }
    assert found.columns == ["hdglio_edema_mm3", "mine_enhancing_mm3"]
    assert found.notes == []


@pytest.mark.parametrize("column", ["hdglio_enhancing_ml", "enhancing_mm3", "hdglio_tumour_mm3", "age"])
def test_unknown_columns_are_named(tmp_path, column):
    message = refused(tmp_path, f"Patient,Timepoint,{column}\nPatient-001,week-004,1\n")
    assert f"`{column}`" in message
    assert "<source>_<compartment>_mm3" in message


def test_a_near_column_is_proposed(tmp_path):
    message = refused(tmp_path, "Patient,Timepoint,hdglio_enhancng_mm3\nPatient-001,week-004,1\n")
    assert "nearest: `hdglio_enhancing_mm3`" in message


@pytest.mark.parametrize("cell", ["-3", "big", "inf"])
def test_cells_that_are_no_volume_are_listed_with_their_lines(tmp_path, cell):
    text = f"Patient,Timepoint,a_enhancing_mm3\nPatient-001,week-004,5\nPatient-001,week-005,{cell}\n"
    message = refused(tmp_path, text)
    assert f"`{cell}` for `a_enhancing_mm3` on line 3" in message
    assert "line 2" not in message


def test_duplicates_that_agree_are_one_and_that_disagree_are_refused(tmp_path):
    head = "Patient,Timepoint,a_enhancing_mm3\nPatient-001,week-004,5\n"
    assert read_volumes_table(write(tmp_path, head + "Patient-001,week-004,5.0\n")).volumes == {
        KEY: {"a_enhancing_mm3": 5.0}
    }
    assert "Patient-001/week-004 on lines 2 and 3" in refused(tmp_path, head + "Patient-001,week-004,6\n")
    assert "Patient-001/week-004 on lines 2 and 3" in refused(tmp_path, head + "Patient-001,week-004,\n")


def test_nothing_measured_is_refused_and_an_empty_column_is_told(tmp_path):
    assert "empty cells only" in refused(tmp_path, "Patient,Timepoint,a_enhancing_mm3\nPatient-001,week-004,\n")
    text = "Patient,Timepoint,a_enhancing_mm3,b_enhancing_mm3\nPatient-001,week-004,4,\n"
    assert any("every volume of `b_enhancing_mm3`" in note for note in read_volumes_table(write(tmp_path, text)).notes)


def test_weeks_that_are_none_are_left_out_and_told(tmp_path):
    found = read_volumes_table(write(tmp_path, "Patient,Timepoint,a_enhancing_mm3\nP,week-004,4\nP,baseline,4\n"))
    assert len(found.volumes) == 1
    assert any("`baseline`" in note and "line 3" in note for note in found.notes)


def test_absent_file(tmp_path):
    with pytest.raises(TableError, match="no such file"):
        read_volumes_table(tmp_path / "none.csv")


def table_of(values):
    rows = [f"P{place},week-004," + ",".join(map(str, row)) for place, row in enumerate(values)]
    names = ",".join(f"{source}_enhancing_mm3" for source in "ab"[: len(values[0])])
    return f"Patient,Timepoint,{names}\n" + "\n".join(rows) + "\n"


MM3 = [0.0, 130.0, 420.0, 900.0, 2300.0, 5200.0, 9000.0, 12_000.0, 33_000.0, 71_000.0, 104_000.0, 800.0]


def test_plausible_magnitudes_pass(tmp_path):
    assert len(read_volumes_table(write(tmp_path, table_of([(v, 1.3 * v) for v in MM3]))).volumes) == len(MM3)


@pytest.mark.parametrize(
    ("values", "sign"),
    [
        ([(v / 1000,) for v in MM3], "millilitres"),
        ([(v * 100,) for v in MM3], "more than a brain"),
        ([(v, 4 * v) for v in MM3], "voxel counts in one of them"),
    ],
)
def test_other_units_are_refused(tmp_path, values, sign):
    message = refused(tmp_path, table_of(values))
    assert sign in message
    assert "convert them to mm³" in message


def test_merge_trusts_the_first_and_counts_what_differs():
    first = MeasuredVolumes({KEY: {"a": 10.0}})
    second = MeasuredVolumes({KEY: {"a": 12.0, "b": 3.0}, StudyKey("P2", Visit(1)): {"a": 1.0}})
    merged = merge({"one": first, "two": second})
    assert merged.volumes == {KEY: {"a": 10.0, "b": 3.0}, StudyKey("P2", Visit(1)): {"a": 1.0}}
    assert merged.notes == ["two: 1 volumes differ by more than 1 mm³ from an earlier table and stay out."]
    assert first.volumes == {KEY: {"a": 10.0}}


RADIOMICS = "LUMIERE-pyradiomics-deepbratumia-features.csv"


def radiomics_table(path, swapped=True, studies=5):
    """As published: what the table calls Necrosis is enhancing. Enhancing is 100, 200, …; necrosis 7; edema none."""
    rows = []
    for number in range(1, studies + 1):
        names = ("Necrosis", "Contrast-enhancing") if swapped else ("Contrast-enhancing", "Necrosis")
        for sequence in ("CT1", "T2"):
            rows.append(["Patient-001", f"week-{number:03d}", sequence, names[0], 100 * number])
            rows.append(["Patient-001", f"week-{number:03d}", sequence, names[1], 7])
            rows.append(["Patient-001", f"week-{number:03d}", sequence, "Edema", "na"])
    columns = ["Patient", "Time point", "Sequence", "Label name", "original_shape_VoxelVolume"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def json_studies(studies=5):
    """As the cohort's table of studies holds the JSON: 100, 200, … enhancing."""
    rows = [("Patient-001", f"week-{n:03d}", str(100 * n), "7", "") for n in range(1, studies + 1)]
    return pd.DataFrame(rows, columns=["patient", "visit", "enhancing_mm3", "necrosis_nonenhancing_mm3", "edema_mm3"])


def test_radiomics_labels_are_exchanged_back(tmp_path):
    found = read_radiomics(radiomics_table(tmp_path / RADIOMICS), Segmenter.DEEPBRATUMIA)
    assert found.volumes[StudyKey("Patient-001", Visit(3))] == {
        "deepbratumia_enhancing_mm3": 300.0,
        "deepbratumia_necrosis_nonenhancing_mm3": 7.0,
        # Another label has features there, so the mask is there and this label is empty.
        "deepbratumia_edema_mm3": 0.0,
    }


def test_the_exchange_is_checked_against_the_json(tmp_path):
    radiomics_table(tmp_path / RADIOMICS)
    parts = read_download(tmp_path, json_studies())
    assert list(parts) == ["measured_volumes_in_mm3.json", RADIOMICS]
    radiomics_table(tmp_path / RADIOMICS, swapped=False)
    with pytest.raises(TableError, match="0% of 5 studies"):
        read_download(tmp_path, json_studies())


def test_without_json_the_exchange_cannot_be_checked_and_says_so(tmp_path):
    radiomics_table(tmp_path / RADIOMICS)
    parts = read_download(tmp_path, json_studies(0))
    assert list(parts) == [RADIOMICS]
    assert "no JSON to check" in parts[RADIOMICS].notes[0]


def test_a_study_without_any_feature_is_unknown(tmp_path):
    path = tmp_path / "LUMIERE-pyradiomics-hdglioauto-features.csv"
    columns = ["Patient", "Time point", "Sequence", "Label name", "original_shape_VoxelVolume"]
    rows = [["P", "week-001", "CT1", "Contrast-enhancing", "na"], ["P", "week-001", "CT1", "Non-enhancing", np.nan]]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    assert read_radiomics(path, Segmenter.HD_GLIO_AUTO).volumes == {}


def test_unknown_labels_are_listed(tmp_path):
    path = radiomics_table(tmp_path / RADIOMICS)
    path.write_text(path.read_text().replace("Edema", "Oedema"))
    with pytest.raises(TableError, match="`Oedema`"):
        read_radiomics(path, Segmenter.DEEPBRATUMIA)
