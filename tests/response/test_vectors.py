"""Every worked vector of the published rules, by its number, through the public engine.

A scan is a size, or a size with the facts it changes; what is not said is known and harmless (``KNOWN``). A size is an
SPD in mm², a volume in mm³, or lesions as text (``"A 20x15, B 12x10"``, in mm). Calls are written as their category,
``~`` and the category that waits for confirmation, and ``?`` if unknown facts could change it.
"""

from __future__ import annotations

import pytest

from ranoscope.response.calls import Flag
from ranoscope.response.criteria import MRANO, RANO_HGG, SecondStep, criteria_by_name
from ranoscope.response.engine import evaluate
from ranoscope.response.timeline import Compartment, Disease, Lesion, Measure, Scan, Sizes, Surgery, Timeline

AREA, VOLUME = Measure.AREA, Measure.VOLUME
KNOWN = {
    "new_lesion": "none", "non_measurable": "absent", "t2_flair": "stable", "steroids": "stable", "clinical": "stable",
    "leptomeningeal": False, "enhancement_worse": False, "anti_angiogenic": False, "viable_tumour": False,
    "outside_radiation_field": False,
}  # fmt: skip
OFF = {"steroids": "none"}
GAP = 35


def scan(number, size, measure, part, facts):
    """One scan; without a day of its own it is made ``GAP`` days after the one before."""
    fields = {"id": f"s{number}", "day": GAP * number, **KNOWN, **facts}
    if isinstance(size, str):
        said = {"new_lesion": None, "non_measurable": None, **facts}
        return Scan(**{**fields, **said, "lesions": tuple(lesion(word, part) for word in size.split(", ") if word)})
    sums = Sizes(spd_mm2=size) if measure is AREA else Sizes(volume_mm3=size)
    return Scan(**fields, **{str(part): sums})


def lesion(word, part):
    name, size, *more = word.split()
    longest, perpendicular = map(float, size.split("x"))
    thickness, slices = (int(one) for one in more) if more else (3, 2)
    return Lesion(
        id=name, compartment=part, longest_mm=longest, perpendicular_mm=perpendicular,
        slice_thickness_mm=thickness, slices=slices,
    )  # fmt: skip


def timeline(*scans, measure=AREA, part=Compartment.ENHANCING, week=None, **patient):
    """Scans of one patient; ``week``: since the end of radiotherapy at the last one (default: long ago)."""
    pairs = [one if isinstance(one, tuple) else (one, {}) for one in scans]
    made = tuple(scan(number, size, measure, part, facts) for number, (size, facts) in enumerate(pairs))
    end = -1000 if week is None else made[-1].day - 7 * week
    patient = {"radiotherapy_end_day": end, "immunotherapy_start_day": -1000, **patient}
    return Timeline(patient="P", scans=made, **patient)


def word(call):
    waits = f"~{call.preliminary}" if call.preliminary else ""
    return f"{call.category or '-'}{waits}{'?' if call.provisional else ''}"


def calls(criteria, course, measure=AREA):
    chosen = criteria_by_name(criteria) if isinstance(criteria, str) else criteria
    return evaluate(course, chosen, measure).calls


def references(baseline, nadir, now, held=False, measure=AREA, **facts):
    """Baseline, nadir and current size as scans; ``held``: the scan before was like the current one already."""
    known = {name: value for name, value in facts.items() if name in Scan.model_fields}
    others = {name: value for name, value in facts.items() if name not in known}
    lows = [] if nadir == baseline else [nadir]
    return timeline(baseline, *lows, *[(now, known)] * (2 if held else 1), measure=measure, **others)


HELD = {"held": True}
HGG = {
    "H01": (400, 400, 500, {}, "PD"),
    "H02": (400, 400, 499, {}, "SD"),
    "H03": (1000, 300, 380, {}, "PD"),
    "H04": (800, 800, 400, HELD, "PR"),
    "H05": (800, 800, 401, HELD, "SD"),
    "H06": (600, 300, 0, {**HELD, **OFF}, "CR"),
    "H07": (600, 300, 0, HELD, "PR"),
    "H09": (600, 600, 200, {"new_lesion": "measurable"}, "PD"),
    "H10": (600, 600, 610, {"t2_flair": "worse"}, "PD"),
    "H11": (600, 600, 600, {"clinical": "worse"}, "PD"),
    "H13": (600, 600, 200, {}, "SD~PR"),
    "H14": (600, 600, 0, OFF, "SD~CR"),
    "H15": (1000, 200, 300, {}, "PD"),
    "H16": (1000, 200, 249, {}, "PR"),
    "H17": (1000, 200, 250, {}, "PD"),
    "H18": (600, 600, 0, {**HELD, **OFF, "non_measurable": "present"}, "PR"),
    "H19": (600, 600, 620, {"non_measurable": "worse"}, "PD"),
    "H20": (600, 600, 600, {"steroids": "higher"}, "SD"),
    "H22": (600, 0, 144, {}, "PD"),
    "H23": (600, 600, 250, {"t2_flair": "worse"}, "PD"),
    "E03": (400, 400, 600, {"week": 8, "viable_tumour": True}, "PD"),
    "E04": (400, 400, 400, {"week": 8, "clinical": "worse"}, "SD"),
    "E05": (400, 400, 600, {"week": 12}, "PD"),
    "E07": (400, 400, 190, {"week": 8, **HELD}, "PR"),
    "V01": (10000, 10000, 14000, {"measure": VOLUME}, "PD"),
    "V02": (10000, 10000, 13999, {"measure": VOLUME}, "SD"),
    "V03": (20000, 20000, 7000, {"measure": VOLUME, **HELD}, "PR"),
    "V04": (20000, 20000, 7001, {"measure": VOLUME, **HELD}, "SD"),
    "V05": (30000, 5000, 7000, {"measure": VOLUME}, "PD"),
    "V06": (30000, 5000, 6999, {"measure": VOLUME}, "PR"),
    "U01": (400, 400, 520, {"new_lesion": None, "clinical": None}, "PD"),
    "U02": (800, 800, 300, {"new_lesion": None, "clinical": None, **HELD}, "PR?"),
    "U03": (400, 400, None, {}, "NE?"),
    "U04": (400, 400, None, {"new_lesion": "measurable"}, "PD"),
    "U05": (400, 400, 420, {"t2_flair": None, "clinical": None}, "SD?"),
    "U06": (600, 600, 0, {"steroids": None, **HELD}, "CR?"),
}  # fmt: skip


@pytest.mark.parametrize(("baseline", "nadir", "now", "facts", "expected"), HGG.values(), ids=HGG)
def test_high_grade_glioma_from_its_references(baseline, nadir, now, facts, expected):
    measure = facts.get("measure", AREA)
    assert word(calls("rano-hgg", references(baseline, nadir, now, **facts), measure)[-1]) == expected


WEEK_28, WEEK_36 = {"day": 28}, {"day": 56}
MORE, REST, NEW = {"steroids": "higher"}, {"non_measurable": "present"}, {"new_lesion": "measurable"}
NCE = {"part": Compartment.NONENHANCING, "disease": Disease.NONENHANCING}
LGG = {"part": Compartment.NONENHANCING}
SEQUENCES = {
    "H08": ("rano-hgg", {}, [600, 250, (250, MORE)], "- SD~PR SD"),
    "H12": ("rano-hgg", {}, [(0, REST), (0, OFF), (0, OFF)], "- SD SD"),
    "H21": ("rano-hgg", {}, [400, (520, {"steroids": "lower"})], "- SD"),
    "H24": ("rano-hgg", {}, ["A 20x15, B 12x10", "A 22x16, B 14x11"], "- SD"),
    "H25": ("rano-hgg", {}, ["A 30x25, B 20x15", "A 21x15, B 18x12"], "- SD"),
    "H26": ("rano-hgg", {}, ["A 20x15, B 20x10", "A 21x20, B 10x6"], "- SD"),
    "E01": ("rano-hgg", {"week": 8}, [400, 600], "- SD"),
    "E02": ("rano-hgg", {"week": 8}, [400, (420, {**NEW, "outside_radiation_field": True})], "- PD"),
    "E06": ("rano-hgg", {"week": 11}, [400, (420, NEW)], "- SD"),
    "D01": ("macdonald", {}, [400, (490, {"t2_flair": "worse"})], "- SD"),
    "D02": ("macdonald", {}, [400, 500], "- PD"),
    "D03-macdonald": ("macdonald", {}, ["A 9x9", "A 11x10"], "- PD"),
    "D03-rano": ("rano-hgg", {}, ["A 9x9", "A 11x10"], "- SD"),
    "D04": ("macdonald", {}, [600, 0, 0], "- SD~PR PR"),
    "Q01": ("mrano", {}, [900, 600, 760, 960], "- SD SD~PD PD"),
    "Q02": ("mrano", {}, [900, 600, 760, 940], "- SD SD~PD SD"),
    "Q03": ("mrano", {}, [900, 600, 760, 950], "- SD SD~PD PD"),
    "Q04": ("mrano", {"measure": VOLUME}, [10000, 14200, 20000], "- SD~PD PD"),
    "Q05": ("mrano", {"measure": VOLUME}, [10000, 14200, 19500], "- SD~PD SD"),
    "Q06": ("mrano", {}, ["A 20x20", "A 20x20, B 12x12"], "- SD~PD"),
    "Q07": ("mrano", {}, ["A 40x25", "A 40x25, B 12x12"], "- SD"),
    "Q08": ("mrano", {}, [800, (380, WEEK_28), (390, WEEK_36)], "- SD~PR PR"),
    "Q09": ("mrano", {}, [800, (380, WEEK_28), (500, WEEK_36)], "- SD~PR SD~PD"),
    "R01": ("rano2", {"radiotherapy_end_day": -28}, [700, (900, WEEK_28), (1150, WEEK_36)], "- SD~PD PD"),
    "R02": ("rano2", {"radiotherapy_end_day": -28}, [700, (900, WEEK_28), (720, WEEK_36)], "- SD~PD SD"),
    "R03": ("rano2", {"week": 20}, [700, 900], "- PD"),
    "R04": ("rano2", {}, [700, (700, {"t2_flair": "worse"})], "- SD"),
    "R05": ("rano2", {}, [700, (700, {"t2_flair": "worse", "anti_angiogenic": True})], "- PD"),
    "R06": ("rano2", {}, ["A 30x20", "A 30x20, B 8x7"], "- SD"),
    "R07": ("rano2", {}, ["A 30x20", "A 30x20, B 12x11"], "- PD"),
    "R08": ("rano2", NCE, [2000, 1400, 1400], "- SD~MR MR"),
    "R11": ("rano2", {"measure": VOLUME, **NCE}, [20000, 12000, 12000], "- SD~MR MR"),
    "L01": ("rano-lgg", LGG, [2000, 1000, 1000], "- SD~PR PR"),
    "L02": ("rano-lgg", LGG, [2000, 1001, 1001], "- SD~MR MR"),
    "L03": ("rano-lgg", LGG, [2000, 1500, 1500], "- SD~MR MR"),
    "L04": ("rano-lgg", LGG, [2000, 1501, 1501], "- SD SD"),
    "L05": ("rano-lgg", LGG, [2000, 1000, 1250], "- SD~PR PD"),
    "L06": ("rano-lgg", LGG, [2000, 1000, (1000, {"enhancement_worse": True})], "- SD~PR PD"),
    "S01": ("rano-hgg", {}, [1000, 450, 440, 560], "- SD~PR PR PD"),
    "S02": ("rano-hgg", {}, [1000, 1100, 1180, 1260], "- SD SD PD"),
    "S03": ("rano-hgg", {}, [(600, OFF), (0, OFF), (0, OFF), (0, OFF)], "- SD~CR CR CR"),
    "S04": ("rano-hgg", {}, [600, 800, (0, {**REST, "surgery": Surgery.POST_OP}), (0, REST), 150], "- PD - SD PD"),
    "S05": ("rano-hgg", {}, [600, (290, {"day": 20}), (280, {"day": 40})], "- SD~PR SD~PR"),
    "S06": ("rano-hgg", {}, [(2000, {"surgery": Surgery.PRE_OP}), (300, {"surgery": Surgery.POST_OP}), 290], "- - SD"),
    "S07": ("rano-hgg", {}, [1000, 400, 800, 400], "- SD~PR PD SD~PR"),
}  # fmt: skip
MONTH = {"immunotherapy_start_day": 0, "radiotherapy_end_day": -1000}
MONTH_4, MONTH_7 = {"day": 122}, {"day": 213}
SEQUENCES |= {
    "I01": ("irano", MONTH, [500, (700, MONTH_4)], "- SD~PD"),
    "I02": ("irano", MONTH, [500, (700, MONTH_4), (910, MONTH_7)], "- SD~PD PD"),
    "I03": ("irano", MONTH, [500, (700, MONTH_4), (735, MONTH_7)], "- SD~PD SD"),
    "I04": ("irano", MONTH, [500, (500, {**MONTH_4, **NEW})], "- SD~PD"),
    "I05": ("irano", MONTH, [500, (700, {**MONTH_4, "clinical": "worse"})], "- PD"),
    "I06": ("irano", MONTH, [500, (700, MONTH_7)], "- PD"),
}


@pytest.mark.parametrize(("criteria", "patient", "scans", "expected"), SEQUENCES.values(), ids=SEQUENCES)
def test_sequences(criteria, patient, scans, expected):
    course = timeline(*scans, **patient)
    assert " ".join(map(word, calls(criteria, course, patient.get("measure", AREA)))) == expected


MIXED = {
    "R09": ([1000, 0, 0], [2000, 2000, 2000], "SD"),
    "R10": ([1000, 400, 400], [2000, 2000, 2600], "PD"),
}


@pytest.mark.parametrize(("enhancing", "other", "expected"), MIXED.values(), ids=MIXED)
def test_mixed_tumours_take_their_compartments_calls_by_the_table(enhancing, other, expected):
    assert word(mixed(enhancing, other)) == expected


def mixed(enhancing, other):
    """The last call of a mixed tumour off steroids, from the sizes of its compartments."""
    made = [
        Scan(id=f"s{n}", day=GAP * n, **KNOWN | OFF, enhancing=Sizes(spd_mm2=one), nonenhancing=Sizes(spd_mm2=two))
        for n, (one, two) in enumerate(zip(enhancing, other, strict=True))
    ]
    patient = Timeline(patient="P", scans=tuple(made), disease=Disease.MIXED, radiotherapy_end_day=-1000)
    return calls("rano2", patient)[-1]


REPEAT, NOT_PROGRESSED = Flag.PSEUDOPROGRESSION_POSSIBLE, Flag.PSEUDOPROGRESSION
NOT_RESPONDED, NOTHING = Flag.PSEUDORESPONSE, Flag.NO_MEASURABLE_DISEASE
FLAGS = {
    "H08": {NOT_RESPONDED}, "H12": {NOTHING}, "H21": {Flag.DOSE_WAS_LOWERED}, "E01": {REPEAT}, "E06": {REPEAT},
    "D03-rano": {NOTHING}, "Q02": {NOT_PROGRESSED}, "Q05": {NOT_PROGRESSED}, "Q06": {REPEAT},
    "Q09": {REPEAT, NOT_RESPONDED}, "R02": {NOT_PROGRESSED}, "L05": {NOT_RESPONDED}, "L06": {NOT_RESPONDED},
    "I01": {REPEAT}, "I03": {NOT_PROGRESSED}, "I04": {REPEAT}, "S07": {Flag.AFTER_PROGRESSION},
}  # fmt: skip


@pytest.mark.parametrize("number", SEQUENCES)
def test_flags_of_the_last_scan(number):
    criteria, patient, scans, _ = SEQUENCES[number]
    flags = calls(criteria, timeline(*scans, **patient), patient.get("measure", AREA))[-1].flags
    assert set(flags) == FLAGS.get(number, set())


DATED = {"Q01": "s2", "Q03": "s2", "Q04": "s1", "R01": "s1", "I02": "s1", "S01": "s3", "R03": "s1", "I05": "s1"}


@pytest.mark.parametrize("number", DATED)
def test_confirmed_progression_is_dated_to_the_scan_that_first_showed_it(number):
    criteria, patient, scans, _ = SEQUENCES[number]
    last = calls(criteria, timeline(*scans, **patient), patient.get("measure", AREA))[-1]
    assert last.progression_scan == DATED[number]
    assert last.confirmed is (True if last.progression_scan != last.scan else None)


def test_q02_against_the_nadir_instead_confirms():
    criteria = MRANO.model_copy(update={"second_step": SecondStep.NADIR})
    last = calls(criteria, timeline(900, 600, 760, 940))[-1]
    assert (word(last), last.progression_scan) == ("PD", "s2")


MEASURED = {
    "M01": ("A 10x10 3 2", "rano-hgg", 100),
    "M02": ("A 20x6", "rano-hgg", 0),
    "M03": ("A 12x9", "rano-hgg", 0),
    "M04": ("A 11x11 6 2", "rano-hgg", 0),
    "M05": ("A 12x12 6 2", "rano-hgg", 144),
    "M06": ("A 15x12 5 1", "rano-hgg", 0),
    "M07": ("A 20x15, B 12x10", "rano-hgg", 420),
    "M08": ("A 30x20, B 9x9", "rano-hgg", 600),
    "M09": ("A 30x20, B 25x18, C 15x12, D 14x11, E 12x12, F 11x10", "rano-hgg", 1528),
    "M10": ("A 30x20, B 25x18, C 15x12, D 14x11, E 12x12, F 11x10", "rano2", 1050),
    "M11": ("nodule 12x11", "rano-hgg", 132),
    "M12": ("nodule 8x8", "rano-hgg", 0),
    "M13": ("ring 24x20", "rano-hgg", 480),
    "M14": ("A 18x14", "rano-hgg", 252),
    "M15": ("", "rano-hgg", 0),
}


@pytest.mark.parametrize(("lesions", "criteria", "expected"), MEASURED.values(), ids=MEASURED)
def test_what_is_summed(lesions, criteria, expected):
    """Cysts, rings and slices (M11-M14) are decided where diameters are measured; here as a reader lists them."""
    last = calls(criteria, timeline(lesions, lesions))[-1]
    assert last.size.now == last.size.baseline == expected
    assert (Flag.NO_MEASURABLE_DISEASE in last.flags) is (expected == 0)


def test_reasons_carry_the_numbers():
    last = calls(RANO_HGG, timeline(1000, 450, 440, 560))[-1]
    assert (last.rule, last.baseline, last.nadir) == ("rano-hgg/5", "s0", "s2")
    assert last.reasons[0].sentence == (
        "Enhancing SPD 560 mm² is 27.3 % above the nadir of 440 mm² (s2); progression begins at 25 % (550 mm²)."
    )
    assert (last.size.threshold, last.size.threshold_name) == (550, "PD: 25 % above nadir")
