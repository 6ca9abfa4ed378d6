"""The page stands alone, says what the files say, and its viewer holds the volumes it claims to show."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from ranoscope.config import parse_recipe
from ranoscope.domain import RESEARCH_USE_ONLY, Sequence, StudyKey, Visit
from ranoscope.errors import RunError
from ranoscope.explaining.record import read_explanations
from ranoscope.imaging.store import AlignedStudy
from ranoscope.learning.checkpoints import load_run_recipe
from ranoscope.learning.studies import open_run_store
from ranoscope.reporting.board import describe_board, headline_tiles
from ranoscope.reporting.report import write_report
from ranoscope.reporting.viewer import viewer_payload

VOID = {"meta", "img", "input", "br", "link", "hr", "path", "use", "rect"}


class Page(HTMLParser):
    """Open tags, addresses, ids and embedded JSON of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.payloads: list[dict] = []
        self._json = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.addresses += [attributes[name] for name in ("src", "href", "xlink:href") if attributes.get(name)]
        self.ids += [attributes["id"]] if "id" in attributes else []
        self._json = attributes.get("type") == "application/json"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data):
        if self._json:
            self.payloads.append(json.loads(data))
            self._json = False

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="session")
def page(finished_run) -> Page:
    return Page((finished_run / "report.html").read_text())


def decode(mosaic) -> np.ndarray:
    """A mosaic read as the page's script reads it."""
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(mosaic["png"].split(",")[1]))))
    ni, nj, nk = mosaic["shape"]
    volume = np.empty((ni, nj, nk), np.uint8)
    for k in range(nk):
        top, left = (k // mosaic["columns"]) * nj, (k % mosaic["columns"]) * ni
        volume[:, :, k] = sheet[top : top + nj, left : left + ni].T
    return volume


def test_the_page_is_whole_and_fetches_nothing(page, finished_run):
    assert page.open == []
    assert [address for address in page.addresses if not address.startswith(("#", "data:"))] == []
    text = (finished_run / "report.html").read_text()
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|import\(", text)
    assert text.count(RESEARCH_USE_ONLY) >= 2


def test_every_link_inside_the_page_has_a_target(page):
    targets = [address[1:] for address in page.addresses if address.startswith("#")]
    assert set(targets) <= set(page.ids)


def test_the_viewer_holds_the_studies_of_the_store(page, finished_run):
    recipe = load_run_recipe(finished_run)
    store = open_run_store(finished_run, recipe)
    explained = read_explanations(finished_run)
    assert len(page.payloads) == len(explained) > 0
    for payload, entry in zip(page.payloads, explained, strict=True):
        for name, visit in (("prior", entry.prior), ("current", entry.current)):
            study = store[StudyKey(entry.patient, Visit.parse(visit))]
            labels = decode(payload["studies"][name]["labels"])
            np.testing.assert_array_equal(labels, 50 * study.tumour)
            for sequence in recipe.sequences:
                shown = decode(payload["studies"][name]["images"][sequence]).astype(float)
                real = study.channels((sequence,))[0].astype(float)
                inside = study.brain & (shown > 0) & (shown < 255)
                assert np.corrcoef(shown[inside], real[inside])[0, 1] > 0.9999
                assert not shown[~study.brain].any()
        assert len(payload["maps"]) == len({(record.method, record.response) for record in entry.maps}) > 1


def test_the_board_shows_the_scorecards_numbers(finished_run):
    scorecard = json.loads((finished_run / "scorecard.json").read_text())
    board = describe_board(scorecard)
    value = scorecard["contenders"][0]["metrics"]["balanced_accuracy"]["estimate"]
    assert board["tables"][0]["rows"][0]["cells"][0]["value"] == f"{100 * value:.1f} %"
    assert [row["title"] for row in board["tables"][0]["rows"]] == [c["title"] for c in scorecard["contenders"]]
    assert len(board["differences"]) == len(scorecard["comparisons"])
    tiles = headline_tiles(scorecard)
    rivals = [one for one in scorecard["contenders"] if one["kind"] == "rival"]
    best = max(one["metrics"]["balanced_accuracy"]["estimate"] for one in rivals)
    assert tiles[0]["big"] == f"{100 * value:.1f} %"
    assert tiles[1]["big"] == f"{100 * best:.1f} %"
    assert tiles[2]["big"] == f"{100 * (value - best):+.1f}".replace("-", "−")


def test_the_page_of_a_synthetic_cohort_shows_its_ceiling(finished_run):
    text = (finished_run / "report.html").read_text()
    ceiling = json.loads((finished_run / "ceiling.json").read_text())
    row = text[text.index('<th scope="row">Ceiling (truth)') :].split("</tr>")[0]
    assert "Exists for synthetic cohorts only" in row
    assert f"{100 * ceiling['scores']['balanced_accuracy']:.1f} %" in row


def test_undefined_scores_are_dashes_with_their_reason(finished_run):
    scorecard = json.loads((finished_run / "scorecard.json").read_text())
    scorecard["contenders"][0]["metrics"]["pd_auc"] |= {"estimate": None, "low": None, "high": None, "reason": "why"}
    cell = describe_board(scorecard)["tables"][0]["rows"][0]["cells"][3]
    assert cell == {"value": "–", "interval": "", "reason": "why"}


def test_without_a_class_the_headline_is_a_dash(finished_run):
    scorecard = json.loads((finished_run / "scorecard.json").read_text())
    nothing = {"estimate": None, "low": None, "high": None}
    for contender in scorecard["contenders"]:
        contender["metrics"]["balanced_accuracy"] |= nothing
    for comparison in scorecard["comparisons"]:
        comparison["differences"]["balanced_accuracy"] |= nothing
    assert [tile["big"] for tile in headline_tiles(scorecard)][:3] == ["–", "–", "–"]


def test_words_from_tables_cannot_become_markup(finished_run, tmp_path):
    run = copy_of(finished_run, tmp_path)
    flow = json.loads((run / "flow.json").read_text())
    flow["warnings"] = ["<script>alert(1)</script>"]
    (run / "flow.json").write_text(json.dumps(flow))
    text = write_report(run, lambda *_: None).read_text()
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_real_cohort_is_not_called_synthetic(finished_run, tmp_path):
    run = copy_of(finished_run, tmp_path)
    source = json.loads((run / "source.json").read_text())
    (run / "source.json").write_text(json.dumps({**source, "synthetic": False}))
    assert "Synthetic cohort" not in write_report(run, lambda *_: None).read_text()


def test_a_lost_map_is_asked_for(finished_run, tmp_path):
    run = copy_of(finished_run, tmp_path)
    lost = next((run / "explanations").rglob("*.nii.gz"))
    lost.unlink()
    with pytest.raises(RunError, match=f"{lost.name}.*ranoscope explain"):
        write_report(run, lambda *_: None)


def test_a_fine_grid_is_thinned_and_keeps_its_place():
    prior, current = study(), study()
    current.tumour[16:28, 6:18, 30:34] = 1
    current.tumour[19:25, 9:15, 30:34] = 2  # a ring, whose middle does not enhance
    payload = viewer_payload(prior, current, (Sequence.T1,), {})
    assert payload["shape"] == [20, 16, 25]
    assert decode(payload["studies"]["current"]["labels"])[9, 4, 16] == 50
    world = np.array(payload["affine"]) @ [*payload["start"], 1]
    inside = np.rint(np.linalg.inv(current.affine) @ [*world, 1])[:3].astype(int)
    assert current.tumour[tuple(inside)] == 1


def test_maps_of_one_title_share_a_scale():
    maps = {
        "Saliency": {"prior": np.full((40, 32, 50), 1, np.float32), "current": np.full((40, 32, 50), 4, np.float32)}
    }
    shown = viewer_payload(study(), study(), (Sequence.T1,), maps)["maps"]["Saliency"]
    assert (decode(shown["prior"]).max(), decode(shown["current"]).max()) == (63, 255)


def study() -> AlignedStudy:
    generator = np.random.default_rng(0)
    brain = np.zeros((40, 32, 50), bool)
    brain[4:-4, 4:-4, 4:-4] = True
    volume = (generator.standard_normal((1, 40, 32, 50)) * brain).astype(np.float16)
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = (-20, -30, -10)
    key = StudyKey("Patient-001", Visit(3))
    box = (slice(4, 36), slice(4, 28), slice(4, 46))
    return AlignedStudy(key, (Sequence.T1,), volume, brain, np.zeros(brain.shape, np.uint8), affine, box)


def copy_of(run, tmp_path):
    """A copy beside which the store's relative place still holds."""
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def test_the_summary_counts_cases_and_patients():
    import pandas as pd

    from ranoscope.domain import Case, Response, VisitState
    from ranoscope.reporting.summary import summarise

    cases = [
        Case("A", Visit(0), Visit(9), Response.SD, 9, VisitState.POST_OP, True),
        Case("A", Visit(9), Visit(20), Response.PD, 11, Response.SD, True),
        Case("B", Visit(0), Visit(13), Response.PD, 13, VisitState.POST_OP, True),
    ]
    patients = pd.DataFrame(
        {"patient": ["A", "B", "C"], "survival_weeks": [30.0, float("nan"), 90], "sex": ["male", "female", "male"],
         "age_years": [60.0, 70, 40], "idh": ["unknown", "wild type", "mutant"], "mgmt": ["unknown"] * 3}
    )  # fmt: skip
    summary = summarise(cases, patients)
    assert (summary["cases"], summary["patients"]) == (3, 2)
    assert [(r["name"], r["cases"], r["patients"]) for r in summary["responses"]] == [
        ("PD", 2, 2), ("SD", 1, 1), ("PR", 0, 0), ("CR", 0, 0)
    ]  # fmt: skip
    facts = dict(summary["facts"])
    assert facts["Age at surgery"] == "median 65 years (range 60 to 70)"
    assert facts["Sex"] in ("male 1, female 1", "female 1, male 1")
    assert facts["Survival"] == "median 30 weeks (range 30 to 30)"
    assert facts["Between prior and current"] == "median 11 weeks (range 9 to 13)"
    assert summary["transitions"] == [
        {"prior": "Post-Op", "counts": [1, 1, 0, 0], "shares": [0.5, 0.5, 0, 0]},
        {"prior": "SD", "counts": [1, 0, 0, 0], "shares": [1, 0, 0, 0]},
    ]


def test_recipe_text_is_shown(finished_run):
    recipe = load_run_recipe(finished_run)
    assert parse_recipe(recipe.model_dump(mode="json"), "again") == recipe
    assert recipe.description in (finished_run / "report.html").read_text()
