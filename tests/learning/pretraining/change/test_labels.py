"""Labels follow from true volumes by the criteria's thresholds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.domain import Response
from ranoscope.learning.pretraining import change
from ranoscope.learning.pretraining.change.labels import respond
from ranoscope.phantom.courses import judge

VOLUMES = st.one_of(st.just(0.0), st.floats(1.0, 1e5))


@given(prior=VOLUMES, current=VOLUMES, new_lesion=st.booleans())
def test_against_the_phantoms_own_rule(prior, current, new_lesion):
    assert respond(prior, current, new_lesion) is judge(current, prior, prior, new_lesion)


@pytest.mark.parametrize(
    ("prior", "current", "expected"),
    [(1000, 1400, "PD"), (1000, 1399, "SD"), (1000, 351, "SD"), (1000, 350, "PR"), (1000, 0, "CR"), (0, 0, "SD"),
     (0, 1, "PD")],
)  # fmt: skip
def test_at_the_thresholds(prior, current, expected):
    assert respond(prior, current, False) is Response(expected)
    assert respond(prior, current, True) is Response.PD


def test_no_code_is_shared_with_the_phantom():
    """What is learnt here is proven on phantoms, which must be another generator's."""
    for path in Path(change.__file__).parent.glob("*.py"):
        named = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not [node.module for node in named if "phantom" in (node.module or "")], path.name
