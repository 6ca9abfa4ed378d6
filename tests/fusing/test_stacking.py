"""Cases that are not measured lean on the network; the plain mean is what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ranoscope.fusing.stacking import Opinions, fit_stack, plain_mean

from .conftest import cohort


def test_what_is_not_measured_is_called_by_the_network_alone():
    learnt = cohort(1.5, 3, known=0.8)
    stack = fit_stack(*learnt, 0.5)
    opinions = replace(learnt[0], known=np.arange(len(learnt[0].known)) % 2 == 0)
    probabilities, calls = stack.answer(opinions)
    turned = replace(opinions, measured=opinions.measured[::-1], rule=opinions.rule[::-1])
    other, other_calls = stack.answer(turned)
    unknown = ~opinions.known
    np.testing.assert_array_equal(other[unknown], probabilities[unknown])
    np.testing.assert_array_equal(other_calls[unknown], calls[unknown])
    assert not np.allclose(other[~unknown], probabilities[~unknown])
    # Of another network's opinion they do depend.
    assert not np.allclose(stack.answer(replace(opinions, network=opinions.network[::-1]))[0][unknown],
                           probabilities[unknown])  # fmt: skip


def test_unmeasured_training_cases_do_not_weigh_the_measurement():
    opinions, truth, names, folds = cohort(1.5, 3, known=0.7)
    unknown = ~opinions.known
    spoilt = opinions.measured.copy()
    spoilt[unknown] = spoilt[unknown][::-1]
    one, other = (
        fit_stack(replace(opinions, measured=m), truth, names, folds, 0.5) for m in (opinions.measured, spoilt)
    )
    assert one.shares == other.shares


@pytest.mark.parametrize("kept", ["none", "one fold", "one class less"])
def test_too_few_measured_cases_leave_the_network_alone(kept):
    opinions, truth, names, folds = cohort(2, 3)
    known = {"none": folds < 0, "one fold": folds == 0, "one class less": truth > 0}[kept]
    stack = fit_stack(replace(opinions, known=known), truth, names, folds, 0.5)
    assert stack.whole is None
    assert stack.shares == {"network": 1.0, "measured": 0.0, "rule": 0.0}
    probabilities, _ = stack.answer(opinions)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_a_rule_that_cannot_say_says_nothing():
    rule = np.zeros((2, 4))
    rule[1, 2] = 1
    opinions = Opinions(np.full((2, 4), 0.25), np.full((2, 4), 0.25), rule, np.array([True, True]))
    np.testing.assert_array_equal(opinions.log_odds[0], 0)
    assert list(opinions.log_odds[1, 2] > 0) == [False, False, True, False]


def test_the_plain_mean_by_hand():
    network, measured = np.array([[0.4, 0.1, 0.3, 0.2]] * 2), np.array([[0.1, 0.4, 0.3, 0.2]] * 2)
    opinions = Opinions(network, measured, np.zeros((2, 4)), np.array([True, False]))
    truth = np.array([0, 0, 0, 1, 2, 3])
    probabilities, calls = plain_mean(opinions, truth)
    geometric = np.sqrt([0.04, 0.04, 0.09, 0.04])
    for row, answer in zip(probabilities, (geometric, network[0]), strict=True):
        joint = answer * [3, 1, 1, 1]
        np.testing.assert_allclose(row, joint / joint.sum())
    assert list(calls) == [2, 0]
