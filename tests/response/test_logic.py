"""Three-valued logic by cases, against every completion of the unknowns written out."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.response.logic import weigh

TRUTHS = st.lists(st.sampled_from([True, False, None]), min_size=5, max_size=5)
GUESSES = st.lists(st.booleans(), min_size=5, max_size=5)


def lazy(table):
    """A rule that asks for facts one after another in an order that depends on the answers, and not for all."""

    def rule(ask):
        first = 3 if ask(0) else 1
        second = 2 if ask(first) else 4
        return table[4 * ask(0) + 2 * ask(first) + ask(second)]

    return rule


def completions(facts):
    return product(*([True, False] if fact is None else [fact] for fact in facts))


@given(TRUTHS, GUESSES, st.lists(st.sampled_from("abc"), min_size=8, max_size=8))
def test_outcomes_and_decisive_facts_are_those_of_all_completions(facts, guesses, table):
    rule = lazy(table)
    found = weigh(rule, facts, guesses, str.lower)
    outcome = {answers: rule(answers.__getitem__) for answers in completions(facts)}
    assert set(found.possible) == set(outcome.values())
    assert found.presumed == rule([g if f is None else f for f, g in zip(facts, guesses, strict=True)].__getitem__)
    assert found.possible[0] == found.presumed
    decisive = {
        place
        for answers in outcome
        for place, fact in enumerate(facts)
        if fact is None and outcome[answers] != outcome[(*answers[:place], not answers[place], *answers[place + 1 :])]
    }
    assert found.decisive == decisive


@pytest.mark.parametrize(
    ("one", "other", "both", "either"),
    [
        (True, None, {True, False}, {True}),
        (False, None, {False}, {True, False}),
        (None, None, {True, False}, {True, False}),
        (True, True, {True}, {True}),
    ],
)
def test_kleenes_tables_follow(one, other, both, either):
    def possible(rule):
        return set(weigh(rule, (one, other), (False, False), bool).possible)

    assert possible(lambda ask: ask(0) and ask(1)) == both
    assert possible(lambda ask: ask(0) or ask(1)) == either


def test_an_unknown_or_its_contrary_is_true():
    found = weigh(lambda ask: ask(0) or not ask(0), (None,), (False,), bool)
    assert (set(found.possible), found.decisive) == ({True}, frozenset())


def test_kinds_that_do_not_matter_decide_nothing():
    found = weigh(lambda ask: "SD, doubted" if ask(0) else "SD", (None,), (False,), lambda one: one[:2])
    assert (found.possible, found.decisive) == (("SD", "SD, doubted"), frozenset())
