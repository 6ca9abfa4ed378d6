"""Calls and measurements as CDISC SDTM-style tables: TU (tumours), TR (their results), RS (the response).

Variable names, test codes and link variables follow the SDTM implementation guide and the oncology code table
(TUMIDENT; LDIAM, LPERP, AREA, VOLUME, TUMSTATE; OVRLRESP, TRGRESP, NTRGRESP, NEWLIND; TARGET, NON-TARGET, NEW). Where
they have no word, the tables have their own, to be checked against the terminology of a submission: SUMAREA and SUMVOL
for sums, AREA for the product of both diameters, and the compartment as --CAT or RSSCAT.

Timelines hold no dates, so there is no --DTC. --DY counts from the baseline scan of the patient's first series that
has one (else from the first scan) as day 1; the day before it is day −1, there is no day 0. One set of tables holds one
criteria set, because which lesions are targets depends on it. Links: TULNKID = TRLNKID for a tumour, TRLNKGRP =
RSLNKGRP for a visit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ranoscope.response.burden import Burden, burdens
from ranoscope.response.calls import Call, Category, Evaluation, SizeComparison
from ranoscope.response.criteria import Criteria, Thresholds
from ranoscope.response.series import Series, make_series
from ranoscope.response.sizes import has_grown, has_shrunk
from ranoscope.response.targets import gone, group
from ranoscope.response.timeline import Compartment, Lesion, Measure, NewLesion, NonMeasurable, Scan, Timeline

Row = dict[str, Any]

_SHARED = ("STUDYID", "DOMAIN", "USUBJID")
_VISIT = ("VISITNUM", "VISIT")
COLUMNS: dict[str, tuple[str, ...]] = {
    "TU": (*_SHARED, "TUSEQ", "TUSPID", "TULNKID", "TUTESTCD", "TUTEST", "TUCAT", "TUORRES", "TUSTRESC", "TULOC",
           "TUMETHOD", *_VISIT, "TUDY"),
    "TR": (*_SHARED, "TRSEQ", "TRGRPID", "TRLNKGRP", "TRLNKID", "TRTESTCD", "TRTEST", "TRCAT", "TRORRES", "TRORRESU",
           "TRSTRESC", "TRSTRESN", "TRSTRESU", "TRSTAT", "TRREASND", "TRMETHOD", *_VISIT, "TRDY"),
    "RS": (*_SHARED, "RSSEQ", "RSLNKGRP", "RSTESTCD", "RSTEST", "RSCAT", "RSSCAT", "RSORRES", "RSSTRESC", "RSSTAT",
           "RSREASND", *_VISIT, "RSDY"),
}  # fmt: skip
TESTS = {
    "TUMIDENT": "Tumor Identification",
    "LDIAM": "Longest Diameter",
    "LPERP": "Longest Perpendicular",
    "AREA": "Area",
    "VOLUME": "Volume",
    "TUMSTATE": "Tumor State",
    "SUMAREA": "Sum of Area",
    "SUMVOL": "Sum of Volume",
    "OVRLRESP": "Overall Response",
    "TRGRESP": "Target Response",
    "NTRGRESP": "Non-target Response",
    "NEWLIND": "New Lesion Indicator",
}
_SUMS = {Measure.AREA: ("SUMAREA", "mm2"), Measure.VOLUME: ("SUMVOL", "mm3")}
_PREFIXES = {"TARGET": "T", "NON-TARGET": "NT", "NEW": "NEW"}
_NON_TARGET = {
    NonMeasurable.ABSENT: "CR", NonMeasurable.PRESENT: "NON-CR/NON-PD", NonMeasurable.WORSE: "PD",
}  # fmt: skip


def cdisc_tables(
    timelines: Sequence[Timeline], evaluations: Sequence[Evaluation], criteria: Criteria, study: str
) -> dict[str, pd.DataFrame]:
    """TU, TR and RS by name, sorted by patient, visit and test.

    Args:
        timelines: patients in the order of ``evaluations``.
        evaluations: one per timeline, all under ``criteria`` and one measure.
        criteria: what they were evaluated under.
        study: STUDYID; USUBJID joins it and the patient.
    """
    rows: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    for timeline, evaluation in zip(timelines, evaluations, strict=True):
        subject = _Subject(timeline, evaluation, criteria)
        for name, found in subject.tables().items():
            own = {"STUDYID": study, "DOMAIN": name, "USUBJID": f"{study}-{timeline.patient}"}
            rows[name] += [{**own, f"{name}SEQ": number, **row} for number, row in enumerate(found, start=1)]
    return {name: pd.DataFrame(rows[name], columns=list(COLUMNS[name]), dtype=object).fillna("") for name in COLUMNS}


def study_day(day: int, reference: int) -> int:
    """Days from a reference day, which is day 1; there is no day 0."""
    return day - reference + (1 if day >= reference else 0)


@dataclass(frozen=True)
class _Tumour:
    """A lesion of one series: its link, and what it was when first seen.

    ``names``: by the place of each scan that shows it, the lesion it is then a part of; itself unless that one split.
    """

    link: str
    status: str
    lesion: str
    compartment: Compartment
    names: Mapping[int, str]

    @property
    def first(self) -> int:
        """Place of the first scan of the series that shows it."""
        return min(self.names)

    def group(self, place: int, burden: Mapping[Compartment, Burden]) -> str:
        """What it is at the scan at that place; a target is what is in the sum of that scan."""
        last = max(one for one in self.names if one <= place)
        if self.names[last] in burden[self.compartment].targets:
            return "TARGET"
        return "NON-TARGET" if self.status == "TARGET" else self.status


@dataclass(frozen=True)
class _Subject:
    """One patient's rows."""

    timeline: Timeline
    evaluation: Evaluation
    criteria: Criteria

    def tables(self) -> dict[str, list[Row]]:
        """Rows of each table, in order of visits."""
        found: dict[str, list[Row]] = {name: [] for name in COLUMNS}
        calls = {call.scan: call for call in self.evaluation.calls}
        made = make_series(self.timeline, self.criteria)
        reference = next(
            (one.scans[one.baseline].day for one in made if one.baseline is not None), made[0].scans[0].day
        )
        visits = {
            scan.id: {"VISITNUM": number, "VISIT": scan.id, "DY": study_day(scan.day, reference)}
            for number, scan in enumerate(self.timeline.scans, start=1)
        }
        for number, series in enumerate(made, start=1):
            sizes = {
                part: burdens(series, part, self.criteria, self.evaluation.measure) for part in series.compartments
            }
            tumours = _tumours(series, sizes, "" if number == 1 else f"S{number}-")
            found["TU"] += [_tumour_row(one, series) for one in tumours]
            for place, scan in enumerate(series.scans):
                burden = {part: sizes[part][place] for part in sizes}
                groups = [(one, one.group(place, burden)) for one in tumours if one.first <= place]
                found["TR"] += [*_lesion_rows(scan, groups), *_sum_rows(burden, self.evaluation.measure)]
                seen = {part: sizes[part][:place] for part in sizes}
                found["RS"] += self._response_rows(calls[scan.id], burden, seen)
        return {name: [_dated(name, row, visits) for row in rows] for name, rows in found.items()}

    def _response_rows(
        self, call: Call, burden: Mapping[Compartment, Burden], seen: Mapping[Compartment, Sequence[Burden]]
    ) -> Iterator[Row]:
        """The response and its components at a scan that has one."""
        if call.category is None:
            return
        yield self._response(call, "OVRLRESP", str(call.category))
        for compartment, one in burden.items():
            limits = self.criteria.parts[compartment].thresholds[self.evaluation.measure]
            target = _target_response(call.part(compartment).size, limits)
            if target is not None:
                yield self._response(call, "TRGRESP", str(target), compartment)
            if one.non_measurable is None:
                yield self._response(call, "NTRGRESP", None, compartment)
            elif {earlier.non_measurable for earlier in (*seen[compartment], one)} - {NonMeasurable.ABSENT, None}:
                yield self._response(call, "NTRGRESP", _NON_TARGET[one.non_measurable], compartment)
            new = None if one.new_lesion is None else "N" if one.new_lesion is NewLesion.NONE else "Y"
            yield self._response(call, "NEWLIND", new, compartment)

    def _response(self, call: Call, test: str, result: str | None, compartment: Compartment | None = None) -> Row:
        row = {
            "scan": call.scan, "RSTESTCD": test, "RSTEST": TESTS[test], "RSCAT": self.criteria.title,
            "RSSCAT": "" if compartment is None else compartment.upper(), "RSORRES": result, "RSSTRESC": result,
        }  # fmt: skip
        return row if result is not None else {**row, "RSSTAT": "NOT DONE", "RSREASND": "UNKNOWN"}


def _dated(table: str, row: Row, visits: Mapping[str, Row]) -> Row:
    visit = visits[row["scan"]]
    link = {} if table == "TU" else {f"{table}LNKGRP": f"V{visit['VISITNUM']}"}
    return {**row, **link, **{name: visit[name] for name in _VISIT}, f"{table}DY": visit["DY"]}


def _tumours(series: Series, sizes: Mapping[Compartment, Sequence[Burden]], prefix: str) -> list[_Tumour]:
    """Every lesion that the series shows: targets first, the others in order of appearance."""
    found = [one for compartment, course in sizes.items() for one in _appearing(series, compartment, course)]
    count = dict.fromkeys(_PREFIXES, 0)
    linked = []
    for one in sorted(found, key=lambda one: list(_PREFIXES).index(one.status)):
        count[one.status] += 1
        linked.append(replace(one, link=f"{prefix}{_PREFIXES[one.status]}{count[one.status]:02d}"))
    return linked


def _appearing(series: Series, compartment: Compartment, course: Sequence[Burden]) -> Iterator[_Tumour]:
    """Lesions of one compartment as they appear, not linked yet. Parts of a lesion that split are as the lesion."""
    lists = [None if scan.lesions is None else _of(scan, compartment) for scan in series.scans]
    start = next((place for place, one in enumerate(lists) if one is not None and place >= (series.baseline or 0)), 0)
    names: dict[str, dict[int, str]] = {}
    for place, parts in enumerate(group(lists, start)):
        for name, lesions in (parts or {}).items():
            for lesion in lesions:
                names.setdefault(lesion.id, {})[place] = name
    for lesion_id, known in names.items():
        first = min(known)
        new = "NEW" if known[first] in course[first].appeared else "NON-TARGET"
        status = "TARGET" if known.get(start, known[first]) in course[start].targets else new
        yield _Tumour("", status, lesion_id, compartment, known)


def _of(scan: Scan, compartment: Compartment) -> list[Lesion]:
    return [one for one in scan.lesions or () if one.compartment is compartment]


def _tumour_row(tumour: _Tumour, series: Series) -> Row:
    return {
        "scan": series.scans[tumour.first].id, "TUSPID": tumour.lesion, "TULNKID": tumour.link, "TUTESTCD": "TUMIDENT",
        "TUTEST": TESTS["TUMIDENT"], "TUCAT": tumour.compartment.upper(), "TUORRES": tumour.status,
        "TUSTRESC": tumour.status, "TULOC": "BRAIN", "TUMETHOD": "MRI",
    }  # fmt: skip


def _lesion_rows(scan: Scan, groups: Sequence[tuple[_Tumour, str]]) -> Iterator[Row]:
    """What a scan says of each of these lesions, all seen by then, and its group: those in the sum are targets."""
    listed = {(one.compartment, one.id): one for one in scan.lesions or ()}
    for tumour, group_id in groups:
        row = {"scan": scan.id, "TRGRPID": group_id, "TRLNKID": tumour.link, "TRCAT": tumour.compartment.upper()}
        lesion = listed.get((tumour.compartment, tumour.lesion))
        if scan.lesions is None:
            yield {**row, **_not_done("TUMSTATE", "LESIONS NOT LISTED")}
            continue
        measured = [] if lesion is None else [
            ("LDIAM", lesion.longest_mm, "mm"), ("LPERP", lesion.perpendicular_mm, "mm"),
            ("AREA", lesion.product_mm2, "mm2"), ("VOLUME", lesion.volume_mm3, "mm3"),
        ]  # fmt: skip
        results = [_measured(test, value, unit) for test, value, unit in measured if value is not None]
        if group_id != "TARGET" or not results:
            results.append(_result("TUMSTATE", "ABSENT" if lesion is None or gone(lesion) else "PRESENT"))
        for result in results:
            yield {**row, **result}


def _sum_rows(burden: Mapping[Compartment, Burden], measure: Measure) -> Iterator[Row]:
    """What the criteria add up, per compartment."""
    test, unit = _SUMS[measure]
    for compartment, one in burden.items():
        row = {"scan": one.scan.id, "TRGRPID": "TARGET", "TRCAT": compartment.upper()}
        result = _not_done(test, "SIZE UNKNOWN") if one.size is None else _measured(test, one.size, unit)
        yield {**row, **result}


def _measured(test: str, value: float, unit: str) -> Row:
    text = f"{value:.10g}"
    numbers = {"TRORRESU": unit, "TRSTRESN": text, "TRSTRESU": unit}
    return {**_result(test, text), **numbers}


def _result(test: str, text: str) -> Row:
    return {"TRTESTCD": test, "TRTEST": TESTS[test], "TRORRES": text, "TRSTRESC": text, "TRMETHOD": "MRI"}


def _not_done(test: str, why: str) -> Row:
    return {"TRTESTCD": test, "TRTEST": TESTS[test], "TRSTAT": "NOT DONE", "TRREASND": why}


def _target_response(size: SizeComparison | None, limits: Thresholds) -> Category | None:
    """The category by size alone; NE where it is unknown, None where there was and is nothing to measure."""
    if size is None:
        return Category.NE
    if size.now == size.baseline == size.nadir == 0:
        return None
    if has_grown(size.now, size.nadir, limits.progression) or (size.nadir == 0 and size.now > 0):
        return Category.PD
    if size.now == 0:
        return Category.CR
    if has_shrunk(size.now, size.baseline, limits.response):
        return Category.PR
    minor = limits.minor_response is not None and has_shrunk(size.now, size.baseline, limits.minor_response)
    return Category.MR if minor else Category.SD
