"""One series: what its names say, what its times say, and what where they disagree."""

from __future__ import annotations

import math

import pytest

from ranoscope.preparing.recognition import SetAside, rules
from ranoscope.preparing.recognition.reading import read
from ranoscope.preparing.recognition.words import Plane, Weighting, listen, normalise
from ranoscope.preparing.series import SeriesFacts

T1, T2, FLAIR, PD = Weighting.T1, Weighting.T2, Weighting.FLAIR, Weighting.PROTON_DENSITY


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AX_T1-se  (rpt)", "ax t1 se rpt"),
        ("axT1CE", "ax t1 ce"),
        ("CT1", "ce t1"),
        ("ct2", "ct2"),
        ("set1", "set1"),
        ("sT1W_3D_TFE", "t1 3d tfe"),
        ("BraTS-GLI-1-t1n", "brats gli 1 t1 nativ"),
        ("t2f", "flair"),
        ("T2*", "t2 star"),
        ("T1 w/o Gd", "t1 without gd"),
        ("T1 w/ Gd", "t1 with gd"),
        ("T1+C", "t1 + c"),
        ("T1 injecté", "t1 injecte"),
        ("sub-post_ses-T2_T1w", "t1"),
        ("sub-1_space-T1w_FLAIR", "flair"),
    ],
)
def test_words_are_the_same_however_written(name, words):
    assert normalise(name) == words


@pytest.mark.parametrize(
    ("name", "weightings"),
    [
        ("SAG T1 FLAIR", {T1}),
        ("t1_tirm_tra_dark-fluid", {T1}),
        ("AX T2 FLAIR", {FLAIR}),
        ("tirm_dark-fluid", {FLAIR}),
        ("flair_reg_to_t1", {FLAIR}),
        ("FLAIR T1", {FLAIR, T1}),
        ("MP-RAGE", {T1}),
        ("IR-FSPGR", {T1}),
        ("PD+T2 TSE", {PD, T2}),
        ("DP T2 double écho", {PD, T2}),
        ("STIR T2", {Weighting.OTHER}),
        ("3D CISS", {Weighting.OTHER}),
        ("BLADE", set()),
        ("scan 12", set()),
    ],
)
def test_a_name_speaks_of_weightings(name, weightings):
    assert listen(SeriesFacts(description=name)).weightings == weightings


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        *[(name, True) for name in (
            "AX T1 +C", "T1 C+", "t1gd", "T1_ce", "t1 nach KM", "t1_km", "T1 Gado", "T1 con contraste", "T1 post",
            "T1 w/ contrast", "T1 MPRAGE WITH", "T1PostContrast", "T1 injecté", "T1 mdc", "POSTGAD T1", "T1 enhanced",
        )],
        *[(name, False) for name in (
            "T1 pre", "T1 nativ", "T1 ohne KM", "T1 vor KM", "T1 sans injection", "T1 sin contraste", "T1 w/o",
            "T1 precontrast", "T1 non-contrast", "unenhanced T1", "T1 avant gado", "T1 no contrast", "t1n",
        )],
        *[(name, None) for name in (
            "AX T1", "T1 w/wo", "T1 with and without contrast", "T1 pre + post", "T1 sans et avec gado", "T1 post-op",
            "T1 pre-RT", "T1 post fossa", "T1 without fat sat", "T1 ohne FS", "t1 phase contrast", "T1 C-",
            "t1_reg_to_t1ce",
        )],
    ],
)  # fmt: skip
def test_a_name_speaks_of_contrast(name, contrast):
    assert listen(SeriesFacts(description=name)).contrast is contrast


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("SAG T1 scout", SetAside.LOCALISER),
        ("MPRAGE subtraction", SetAside.DERIVED),
        ("T1 MAP", SetAside.QUANTITATIVE),
        ("T2* perfusion DSC", SetAside.DYNAMIC),
        ("rCBV of DSC", SetAside.DERIVED),
        ("AX GRE", SetAside.SUSCEPTIBILITY),
        ("T2_FFE", SetAside.SUSCEPTIBILITY),
        ("PJN pcASL", SetAside.DYNAMIC),
        ("B0 map", SetAside.FIELD_MAP),
        ("b1000", SetAside.DIFFUSION),
        ("COR T2 orbits", SetAside.PARTIAL),
        ("T1 LWS", SetAside.OTHER_BODY_PART),
        ("t1_vibe_dixon_opp", SetAside.DERIVED),
        ("T1_sub", SetAside.DERIVED),
        ("brainmask", SetAside.DERIVED),
        ("phase contrast venography", SetAside.ANGIOGRAPHY),
        ("T1 TSE flow comp", None),
        ("3D T1 IR-GRE", None),
        ("sub 01 T1", None),
        ("t1_mprage_fa9", None),
        ("T1_masked", None),
        ("T1 ASSET", None),
        ("T1 dark blood", None),
    ],
)
def test_a_name_sets_a_series_aside(name, reason):
    assert listen(SeriesFacts(description=name)).set_aside is reason


def test_a_protocol_that_names_the_examination_says_nothing_of_a_series():
    said = listen(SeriesFacts(description="AX T1", protocol="MRA BRAIN W CONTRAST"))
    assert (said.weightings, said.contrast, said.set_aside) == ({T1}, None, None)
    alone = listen(SeriesFacts(description="axial", protocol="T1W_TSE Gd"))
    assert (alone.weightings, alone.contrast, alone.plane) == ({T1}, True, Plane.AXIAL)
    assert alone.names == "axial / T1W_TSE Gd"


def facts(name="", te=None, tr=None, ti=None, seq=(), **more):
    return SeriesFacts(description=name, modality="MR", echo_time_ms=te, repetition_time_ms=tr, inversion_time_ms=ti,
                       scanning_sequence=seq, **more)  # fmt: skip


@pytest.mark.parametrize(
    ("series", "weighting"),
    [
        (facts(te=12, tr=500, seq=("SE",)), T1),
        (facts(te=25, tr=650, seq=("SE",)), T1),
        (facts(te=102, tr=4800, seq=("SE",)), T2),
        (facts(te=408, tr=3200, seq=("SE",)), T2),
        (facts(te=120, tr=9000, ti=2500, seq=("SE", "IR")), FLAIR),
        (facts(te=340, tr=4800, ti=1650, seq=("IR",)), FLAIR),
        (facts(te=120, tr=9000, seq=("SE", "IR")), FLAIR),
        (facts(te=24, tr=2600, ti=920, seq=("SE", "IR")), T1),
        (facts(te=3, tr=2300, ti=900, seq=("GR", "IR")), T1),
        (facts(te=3.2, tr=8.9, ti=450, seq=("GR",)), T1),
        (facts(te=12, tr=3000, seq=("SE",)), None),
        (facts(te=40, tr=5000, ti=160, seq=("SE", "IR")), None),
        (facts(te=3.4, tr=24, seq=("GR",)), None),
        (facts(te=20, tr=600, seq=("GR",)), None),
        (facts(te=80, tr=5000, seq=("EP",)), None),
        (facts(te=80, tr=5000), None),
        (facts(te=50, tr=1500, seq=("SE",)), None),
        (facts(tr=500, seq=("SE",)), None),
    ],
)
def test_times_alone(series, weighting):
    assert read(0, series).weighting is weighting


def test_the_limits_of_flair_enclose_the_times_that_null_fluid():
    """TI = T1 (ln 2 − ln(1 + exp(−TR/T1))) for T1 of CSF of 4.0 to 4.6 s and every TR from 4.8 to 12 s."""
    for t1 in (4.0, 4.6):
        for tr in (4.8, 6.0, 9.0, 12.0):
            ti = 1000 * t1 * (math.log(2) - math.log(1 + math.exp(-tr / t1)))
            assert rules.FLAIR_INVERSION_MS[0] < ti < rules.FLAIR_INVERSION_MS[1]
    for t1_of_fat in (0.25, 0.38):
        assert rules.STIR_INVERSION_MS[0] < 1000 * t1_of_fat * math.log(2) < rules.STIR_INVERSION_MS[1]


@pytest.mark.parametrize(
    ("series", "set_aside", "words"),
    [
        (facts("AX T2", 10, 500, seq=("SE",)), SetAside.CONTRADICTION, "echo time 10 ms"),
        (facts("AX T1", 100, 4000, seq=("SE",)), SetAside.CONTRADICTION, "T2-weighted"),
        (facts("AX T2", 120, 9000, 2500, seq=("SE", "IR")), SetAside.CONTRADICTION, "FLAIR"),
        (facts("FLAIR", 10, 2500, 900, seq=("SE", "IR")), SetAside.CONTRADICTION, "T1-weighted"),
        (facts("FLAIR", 120, 3000, seq=("SE",)), SetAside.CONTRADICTION, "T2-weighted"),
        (facts("AX T1", 20, 600, seq=("GR",)), SetAside.CONTRADICTION, "T2*-weighted"),
        (facts("AX T2", 3, 8, seq=("GR",)), SetAside.CONTRADICTION, "gradient echo"),
        (facts("AX T2", 20, 600, seq=("GR",)), SetAside.SUSCEPTIBILITY, "T2*-weighted"),
        (facts("t2_tirm_cor", 50, 5000, 150, seq=("SE", "IR")), SetAside.OTHER_WEIGHTING, "150 ms"),
        (facts("T1 and T2"), SetAside.UNRECOGNISED, "no times that say which"),
        (facts("PD/T2", 12, 3000, seq=("SE",)), SetAside.OTHER_WEIGHTING, "proton density"),
        (facts("AX T2", volumes=2), SetAside.SEVERAL_VOLUMES, "2 volumes"),
        (facts("AX T2", shape=(256, 256, 9)), SetAside.FEW_SLICES, "9 slices"),
        (facts("AX T2", shape=(256, 256, 19), spacing_mm=(0.5, 0.5, 3.0)), SetAside.PARTIAL, "57 mm"),
        (facts("AX T2", diffusion_b=800), SetAside.DIFFUSION, "b = 800"),
        (facts("", 90, 5000, seq=("EP",), diffusion_b=0), SetAside.DIFFUSION, "b = 0"),
        (facts("AX T2", seq=("EP",), volumes=40), SetAside.DYNAMIC, "echo planar"),
        (facts("AX T1", image_type=("DERIVED", "SECONDARY", "SUB")), SetAside.DERIVED, "SUB"),
        (facts("AX T1", image_type=("DERIVED", "PRIMARY", "T1", "MAP")), SetAside.QUANTITATIVE, "MAP"),
        (SeriesFacts(description="AX T1", modality="PT"), SetAside.NOT_MR, "PT"),
    ],
)
def test_what_is_none_of_the_four_says_why(series, set_aside, words):
    reading = read(0, series)
    assert (reading.weighting, reading.set_aside) == (None, set_aside)
    assert words in " ".join(reading.reasons)


@pytest.mark.parametrize(
    ("series", "weighting"),
    [
        (facts("AX T1 VIBE", 2, 5, seq=("GR",)), T1),
        (facts("SAG T1 FLAIR", 9, 2500, seq=("SE",)), T1),
        (facts("PD/T2", 98, 3000, seq=("SE",)), T2),
        (facts("FLAIR", 120, 9000, seq=("RM",)), FLAIR),
        (facts("AX T2", diffusion_b=0, seq=("SE",)), T2),
        (facts("AX T2"), T2),
    ],
)
def test_a_name_holds_where_the_times_do_not_contradict(series, weighting):
    assert read(0, series).weighting is weighting


def test_reasons_tell_the_evidence():
    assert read(0, facts("ax t2", 102, 4800, seq=("SE",))).reasons == (
        "echo time 102 ms, repetition time 4,800 ms: T2-weighted",
        "named `ax t2`",
    )
    thin = read(0, facts("ax t2 mpr", shape=(256, 256, 20), spacing_mm=(0.5, 0.5, 4.0)))
    assert thin.reasons == (
        "named `ax t2 mpr`",
        "no times in the header",
        "covers only 80 mm across the slices",
        "a reformat",
    )
