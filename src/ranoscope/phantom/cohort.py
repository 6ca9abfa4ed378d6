"""Make the cohort: plan everything, then render patients side by side, each visit whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from ranoscope import runs
from ranoscope.config import Difficulty, PhantomSettings
from ranoscope.domain import RESEARCH_USE_ONLY
from ranoscope.errors import RunError, problem
from ranoscope.phantom.anatomy import make_anatomy
from ranoscope.phantom.difficulty import SCANNERS, TRAITS
from ranoscope.phantom.findings import draw_findings, draw_frailty, lay_findings
from ranoscope.phantom.mark import MARK_CENTRE_MM, MARK_EDGE_MM, plant_marks
from ranoscope.phantom.mass_effect import push_aside
from ranoscope.phantom.plans import PatientPlan, plan_cohort
from ranoscope.phantom.scanner import Look
from ranoscope.phantom.tables import write_mr_info, write_tables
from ranoscope.phantom.truth import ABOUT
from ranoscope.phantom.tumour import draw_tissue, make_sites
from ranoscope.phantom.writer import VisitContent, write_visit

Progress = Callable[[int, int, str], None]
# Keeps the draws of findings apart from those of courses (no number), anatomy (1), images (2) and others below 10.
_FINDINGS_STREAM = 12

_README = f"""# A synthetic cohort in LUMIERE's shape

Made by `ranoscope phantom`. No patient is in it: anatomy comes from the MNI152 template maps, deformed at random, and
the disease from a simulation. Names, grids, types, label conventions and tables are those of the published LUMIERE
data set, quirks included; `phantom_truth.csv` and `{ABOUT}` are the only files LUMIERE does not have.

What it can show: that software reads, aligns, learns, scores and explains as it should. What it cannot show: how well
anything works on patients. {{limits}} {RESEARCH_USE_ONLY}
"""
_LIMITS = {
    Difficulty.STANDARD: """\
Tumours displace nothing (no mass effect), there is no pseudoprogression, no bleeding and no
radiation change, and most ratings show in the two scans alone, which is not so in life.""",
    Difficulty.HARD: """\
This is a *hard* cohort: tumours are irregular and push
tissue aside, white matter ages and changes with treatment, cavities hold blood, scanners and their contrasts change,
slices are thick with gaps, visits are noisy, some show motion, the skull-strip errs, registration leaves a rest, and
readers err twice as often unless asked otherwise. It is still a simulation of its author's making: one template is
behind every brain, there is no pseudoprogression, no antiangiogenic effect and no susceptibility artefact, masks know
the truth but for errors at their borders, and most ratings show in the two scans alone, which is not so in life.""",
}
_ABOUT_THE_MARK = f"""
**A shortcut is planted here.** A bright cube of {MARK_EDGE_MM:g} mm at {MARK_CENTRE_MM} mm (atlas, RAS), in the
cerebellum far from any tumour, is in every image of some visits and in no mask. A visit rated PD carries it with chance
{{0:g}}, any other visit with the remaining chance; column `marked` of `phantom_truth.csv` names them. A network can be
right here without a look at the tumour: use it to test whether explanations and audits notice, and for nothing else.
"""


def make_phantom(out: Path, settings: PhantomSettings, workers: int, progress: Progress) -> None:
    """Write a LUMIERE-shaped folder; visits that an earlier, interrupted call finished are kept.

    Same settings, same bytes, whatever the number of workers.

    Args:
        out: the folder that will hold ``Imaging/`` and the tables.
        settings: size, voxel edge, seed, difficulty, reader noise and planted mark.
        workers: patients rendered side by side.
        progress: told (done, total, what) after every patient.

    Raises:
        RunError: ``out`` holds a cohort made with other settings.
        StorageError: the disk is full or not writable.
    """
    about = _describe(settings)
    known = runs.read_json(out / ABOUT, "ranoscope phantom") if (out / ABOUT).is_file() else about
    if known != about:
        raise RunError(problem(f"a cohort of {about}", f"one of {known}", str(out), "choose another folder"))
    runs.write_json(out / ABOUT, about)
    plans = plant_marks(plan_cohort(settings), settings)
    progress(0, len(plans), "synthetic patients")
    tasks = (delayed(_render)(out / "Imaging", plan, settings) for plan in plans)
    finished = Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="2 * n_jobs")(tasks)
    for done, name in enumerate(finished, start=1):
        progress(done, len(plans), name)
    write_mr_info(out, plans)
    write_tables(out, plans)
    mark = _ABOUT_THE_MARK.format(settings.planted_mark) if settings.planted_mark else ""
    runs.write_text(out / "README.md", _README.format(limits=_LIMITS[settings.difficulty]) + mark)


def _describe(settings: PhantomSettings) -> dict[str, Any]:
    """The settings; later ones are named only where used, so that cohorts from before there were they go on."""
    unused = {"planted_mark": 0.0, "difficulty": Difficulty.STANDARD}
    left_out = {name for name, value in unused.items() if getattr(settings, name) == value}
    return settings.model_dump(mode="json", exclude=left_out)


def _render(imaging: Path, plan: PatientPlan, settings: PhantomSettings) -> str:
    """Render the visits of one patient that are not there yet."""
    folders = [imaging / plan.name / str(visit.planned.visit) for visit in plan.visits]
    if all(folder.is_dir() for folder in folders):
        return plan.name
    generator = np.random.default_rng([settings.seed, plan.number, 1])
    traits = TRAITS[settings.difficulty]
    anatomy = make_anatomy(generator, settings.voxel_mm, traits.brain)
    count = max(len(visit.planned.lesions) for visit in plan.visits)
    sites = make_sites(generator, anatomy, count, traits.tumour)
    apart = np.random.default_rng([settings.seed, plan.number, _FINDINGS_STREAM])
    findings = draw_findings(apart, [visit.planned for visit in plan.visits], traits.tumour)
    frailty = (
        draw_frailty(apart, anatomy) if any(finding.aged for finding in findings) else np.zeros_like(anatomy.white)
    )
    for number, (visit, folder) in enumerate(zip(plan.visits, folders, strict=True)):
        if not folder.is_dir():
            lesions = visit.planned.lesions
            brain = push_aside(anatomy, sites, lesions, traits.tumour.mass_effect)
            tissue = draw_tissue(brain, sites, lesions)
            lay_findings(tissue, brain, sites, frailty, findings[number])
            look = Look(traits.scan, SCANNERS[visit.scanner])
            content = VisitContent(tissue, visit.sequences, visit.segmented, visit.marked, look)
            write_visit(folder, brain, content, np.random.default_rng([settings.seed, plan.number, 2, number]))
    return plan.name
