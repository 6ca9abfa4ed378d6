"""The page's section and the command: what a reader of either is told."""

from __future__ import annotations

import html

import jinja2
import pytest
from rich.console import Console

from ranoscope.cli import stages
from ranoscope.probing.tables import render_shortcuts
from ranoscope.reporting.shortcuts import describe_shortcuts


def section(run) -> str:
    loader = jinja2.PackageLoader("ranoscope.reporting", "page")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.get_template("shortcuts.html.j2")
    return html.unescape(page.render(shortcuts=describe_shortcuts(run), figures={"shortcuts": "<svg></svg>"}))


def test_every_finding_is_on_the_page_with_its_verdict(lab):
    content = lab.audited("mark")
    page = section(lab.run)
    everything = [*content["probes"], *content["yardsticks"], *content["weeks"], content["identity"]]
    assert all(entry["sentence"] in page for entry in everything)
    assert page.count('class="mark shortcut"') == content["verdicts"]["shortcut"] + 1  # and in the lead
    assert "48 cases of 24 patients" in page
    assert "100 %" in page


def test_undefined_scores_are_on_the_page_with_their_reason(lab):
    lab.audited("honest")
    assert "undefined" in section(lab.run)


def test_no_audit_no_section(tmp_path):
    assert describe_shortcuts(tmp_path) is None


@pytest.mark.parametrize(("name", "found"), [("mark", True), ("honest", False)])
def test_the_terminal_is_told(name, found, lab):
    content = lab.audited(name)
    console = Console(width=200, record=True, quiet=False)
    console.print(render_shortcuts(content))
    said = console.export_text()
    assert ("No probe found a shortcut" in said) is not found
    assert all(entry["title"] in said for entry in content["probes"])
    assert stages.run_audit_shortcuts(lab.run) is found


@pytest.mark.parametrize(("name", "code"), [("mark", 3), ("honest", 0)])
def test_the_exit_code_says_whether_there_is_a_shortcut(name, code, lab, ranoscope):
    lab.prepare(name)
    answer = ranoscope("audit-shortcuts", lab.run)
    assert answer.code == code
    assert "Tumour covered" in answer.out
    assert "Shortcuts:" in answer.out


def test_a_folder_that_is_no_run_is_one_message(tmp_path, ranoscope):
    answer = ranoscope("audit-shortcuts", tmp_path)
    assert answer.code == 2
    assert "ranoscope crossval" in answer.err
    assert "Traceback" not in answer.err
