"""What must hold of exchanged and repeated studies: tables, facts that follow their study, no second encoding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ranoscope.config import ConsistencySettings
from ranoscope.domain import RESPONSES
from ranoscope.learning.consistency import CURRENT, PRIOR, ShownPairs, consistency_loss
from ranoscope.learning.facts import FactLayout
from ranoscope.learning.losses import accepted_losses
from ranoscope.learning.networks import PairNetwork

PD, SD, PR, CR = range(4)
SURE = 30.0


class Apart(PairNetwork):
    """Sees a study as its mean; answers by rule from both, or from the facts."""

    sees_apart = True

    def __init__(self, rule, classes=4):
        super().__init__()
        self.rule, self.classes, self.seen = rule, classes, 0

    def see(self, studies):
        self.seen += 1
        return [studies.flatten(1).mean(dim=1)]

    def judge(self, prior, current, facts=None):
        places = self.rule(prior[0], current[0], facts)
        return nn.functional.one_hot(places, self.classes).float() * SURE

    def forward(self, pair, facts=None):
        return self.judge(*([pair[:, study].flatten(1).mean(dim=1)] for study in (0, 1)), facts)


class Together(Apart):
    sees_apart = False


def pairs(before, now):
    return torch.stack([torch.tensor(before), torch.tensor(now)], dim=1)[:, :, None, None, None, None].float()


NO_FACTS = torch.zeros(2, 0)


def mirrors(prior, current, facts):
    """Growth is PD, shrinkage PR, neither SD."""
    return torch.where(current > prior, PD, torch.where(current < prior, PR, SD))


def always(place):
    return lambda prior, current, facts: torch.full((len(prior),), place)


def loss(network, targets, **weights):
    shown = ShownPairs(network, pairs([1.0, 3.0], [2.0, 1.0]), NO_FACTS, FactLayout())
    return float(consistency_loss(shown, torch.tensor(targets), ConsistencySettings(**weights)))


@pytest.mark.parametrize("kind", [Apart, Together])
def test_a_network_that_mirrors_has_nothing_to_learn(kind):
    assert loss(kind(mirrors), [PD, PR], swap=1, same=1) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", [Apart, Together])
def test_one_that_says_pd_whatever_it_sees_has(kind):
    """Exchanged, the PD case may not be PD and the PR case must be; a study twice may never be."""
    assert loss(kind(always(PD)), [PD, PR], swap=1) == pytest.approx(SURE / 2, rel=0.05)
    assert loss(kind(always(PD)), [PD, PR], same=1) == pytest.approx(SURE, rel=0.05)
    assert loss(kind(always(PD)), [PD, PR], swap=2, same=0.5) == pytest.approx(SURE + SURE / 2, rel=0.05)


@pytest.mark.parametrize(
    ("expert", "exchanged", "current_twice", "prior_twice"),
    [
        (PD, {PR, CR}, {SD}, {SD, CR}),
        (SD, {SD}, {SD}, {SD}),
        (PR, {PD}, {SD}, {SD}),
        (CR, {PD, CR}, {SD, CR}, {SD, CR}),
    ],
)
def test_what_may_be_said(expert, exchanged, current_twice, prior_twice):
    for said in range(4):
        network = Apart(always(said))
        assert (loss(network, [expert] * 2, swap=1) < 1e-6) == (said in exchanged)
        wrong = (said not in current_twice) + (said not in prior_twice)
        assert loss(network, [expert] * 2, same=1) == pytest.approx(wrong * SURE / 2, rel=0.05, abs=1e-6)


def test_pd_against_the_rest_may_be_what_any_of_the_rest_may():
    pd, rest = 0, 1
    says_pd, says_rest = (Apart(always(place), classes=2) for place in (pd, rest))
    assert loss(says_pd, [pd, pd], swap=1) == pytest.approx(SURE, rel=0.05)
    assert loss(says_rest, [pd, pd], swap=1) < 1e-6
    # SD exchanged is SD, PR exchanged is PD: of the rest nothing is known.
    assert loss(says_pd, [rest, rest], swap=1) < 1e-6
    assert loss(says_rest, [rest, rest], swap=1) < 1e-6
    assert loss(says_pd, [rest, rest], same=1) == pytest.approx(SURE, rel=0.05)


def test_studies_are_encoded_once():
    network = Apart(mirrors)
    shown = ShownPairs(network, pairs([1.0, 3.0], [2.0, 1.0]), NO_FACTS, FactLayout())
    assert shown.logits().argmax(dim=1).tolist() == [PD, PR]
    assert shown.logits(CURRENT, PRIOR).argmax(dim=1).tolist() == [PR, PD]
    assert shown.logits(PRIOR, PRIOR).argmax(dim=1).tolist() == [SD, SD]
    assert network.seen == 1


@pytest.mark.parametrize("kind", [Apart, Together])
def test_flags_of_what_a_study_has_follow_it(kind):
    """An age, then two flags of the prior study and two of the current one."""
    told = []

    def spy(prior, current, facts):
        told.append(facts.tolist())
        return torch.zeros(len(prior), dtype=torch.int64)

    facts = torch.tensor([[0.5, 1.0, 0.0, 1.0, 1.0]])
    shown = ShownPairs(kind(spy), pairs([1.0], [2.0]), facts, FactLayout(flags=4))
    for order in ((PRIOR, CURRENT), (CURRENT, PRIOR), (PRIOR, PRIOR), (CURRENT, CURRENT)):
        shown.logits(*order)
    assert told == [[[0.5, 1, 0, 1, 1]], [[0.5, 1, 1, 1, 0]], [[0.5, 1, 0, 1, 0]], [[0.5, 1, 1, 1, 1]]]


def test_without_flags_facts_stay():
    shown = ShownPairs(Apart(mirrors), pairs([1.0], [2.0]), torch.tensor([[0.5, 2.0]]), FactLayout())
    assert shown.facts(CURRENT, PRIOR).tolist() == [[0.5, 2.0]]
    assert (
        ShownPairs(Apart(mirrors), pairs([1.0], [2.0]), torch.zeros(1, 0), FactLayout()).facts(CURRENT, PRIOR) is None
    )


def test_losses_of_accepted_classes_are_those_of_their_joint_probability():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator).double()
    accepted = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1], [1, 0, 0, 1]], dtype=torch.bool)
    expected = -(logits.softmax(dim=1) * accepted).sum(dim=1).log()
    torch.testing.assert_close(accepted_losses(logits, accepted), expected)
    assert len(RESPONSES) == logits.shape[1]
