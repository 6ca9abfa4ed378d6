"""The timeline network: padding and order decide nothing, dates do, and baseline and nadir need not be learnt."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.learning.networks import History, build_network
from ranoscope.learning.networks.change_aware import both
from ranoscope.learning.networks.timeline import DATE, SeenHistory, _growth

NAME = "change-aware-timeline"
SHAPE = (9, 10, 9)
ALL_WAYS = {"comparison": ["amount", "growth", "spot", "moved", "matched"]}


def finding(network):
    """Findings begin as absent nearly everywhere, and noise has none: here they are found in half the volume."""
    with torch.no_grad():
        for scale in network.scales:
            scale.evidence.findings.bias.zero_()
    return network.eval()


@pytest.fixture(scope="module")
def network(make_recipe):
    torch.manual_seed(0)
    return finding(build_network(make_recipe(NAME, facts=True, network=ALL_WAYS)))


@pytest.fixture(scope="module")
def taught(make_recipe):
    torch.manual_seed(0)
    recipe = make_recipe(NAME, network={"tissues": True}, training={"auxiliary": {"measures": 1}})
    return finding(build_network(recipe))


def dates_of(weeks, operated=0):
    """Of the prior, then of the others; the longest ago is the baseline, the ``operated`` longest ago before that."""
    order = sorted(range(len(weeks)), key=lambda place: -weeks[place])
    rows = torch.zeros(len(weeks), len(DATE))
    rows[:, 0] = torch.tensor(weeks, dtype=torch.float32)
    rows[0, 1] = 1
    rows[order[:operated], 3] = 1
    rows[order[operated % len(weeks)], 2] = 1
    return rows


def case_of(others, seed, operated=0):
    """A pair, its facts, and a history of so many other studies."""
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, 2, *SHAPE, generator=generator)
    images = torch.randn(others, 2, *SHAPE, generator=generator)
    dates = dates_of([4.0, *(8.0 + 7 * place for place in range(others))], operated)
    history = History(images, dates, torch.ones(1 + others, dtype=torch.bool))
    return pair, torch.randn(3, generator=generator), history


def batch_of(cases, extra=0):
    """Cases side by side, their histories filled up with what must not matter."""
    longest = max(len(history.images) for _, _, history in cases) + extra
    filled = []
    for _, _, history in cases:
        rest = longest - len(history.images)
        filled.append(
            History(
                torch.cat([history.images, torch.full((rest, 2, *SHAPE), 1e3)]),
                torch.cat([history.dates, torch.full((rest, len(DATE)), 50.0)]),
                torch.cat([history.shown, torch.zeros(rest, dtype=torch.bool)]),
            )
        )
    pairs, facts, _ = zip(*cases, strict=True)
    return torch.stack(pairs), torch.stack(facts), History(*map(torch.stack, zip(*filled, strict=True)))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 2))
def test_a_case_is_called_alike_whatever_pads_its_batch(network, counts, extra):
    cases = [case_of(count, seed, operated=min(count, seed)) for seed, count in enumerate(counts)]
    with torch.no_grad():
        together = network(*batch_of(cases, extra))
        alone = torch.cat([network(*batch_of([case])) for case in cases])
    assert together.isfinite().all()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 6).flatmap(lambda count: st.permutations(range(count))), st.integers(0, 3))
def test_the_order_in_the_tensor_decides_nothing_and_dates_do(network, order, operated):
    pair, facts, history = case_of(len(order), 1, operated)
    places = list(order)
    moved = History(history.images[places], history.dates[[0, *(1 + place for place in places)]], history.shown)
    with torch.no_grad():
        before, after = (network(*batch_of([(pair, facts, one)])) for one in (history, moved))
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    if places != sorted(places):
        swapped = History(history.images[places], history.dates, history.shown)
        with torch.no_grad():
            other = network(*batch_of([(pair, facts, swapped)]))
        assert (other - before).abs().max() > 1e-6


@torch.no_grad()
def test_every_study_and_its_date_matter(network):
    pair, facts, history = case_of(3, 2)
    whole = network(*batch_of([(pair, facts, history)]))
    for place in range(3):
        images = history.images.clone()
        images[place] = images[place].flip(0)
        assert (network(*batch_of([(pair, facts, history._replace(images=images))])) - whole).abs().max() > 1e-6
    for column in range(len(DATE)):
        dates = history.dates.clone()
        dates[2, column] = 30.0 if column == 0 else 1 - dates[2, column]
        assert (network(*batch_of([(pair, facts, history._replace(dates=dates))])) - whole).abs().max() > 1e-6


@torch.no_grad()
def test_without_a_history_the_prior_is_all_there_is(network):
    pair, facts, history = case_of(0, 3)
    alone = history._replace(dates=dates_of([0.0]))
    torch.testing.assert_close(network(pair[None], facts[None]), network(*batch_of([(pair, facts, alone)])))


@torch.no_grad()
def test_what_was_seen_is_judged_as_the_images_are(taught):
    pair, _, history = batch_of([case_of(2, 0), case_of(0, 1), case_of(3, 2)])
    prior, current = taught.see(pair[:, 0]), taught.see(pair[:, 1])
    seen = SeenHistory(taught.see(history.images[history.shown[:, 1:]]), history.dates, history.shown)
    whole = taught(pair, None, history)
    torch.testing.assert_close(taught.judge(prior, current, None, seen), whole)
    reading = taught.read(prior, current, None, seen)
    torch.testing.assert_close(reading.logits, whole)
    assert reading.tissues.shape[0] == 6
    assert both(prior, current)[-1].shape == reading.tissues.shape


def test_growth_since_nadir_and_baseline_of_those_since_the_operation():
    """Amounts 5, 1, 3, 4 long ago to now, after an operation behind the first; the last column is padding."""
    since = torch.tensor([[[0.0], [3.0], [-1.0], [1.0], [99.0]]])  # prior (now 4), then 1, 5, 3 and padding
    dates = torch.zeros(1, 5, len(DATE))
    dates[0, 2, 3], dates[0, 1, 2], dates[0, 4, 2] = 1, 1, 1
    shown = torch.tensor([[True, True, True, True, False]])
    baseline, nadir = _growth(since, SeenHistory([], dates, shown))
    assert (baseline.item(), nadir.item()) == (3.0, 3.0)
    before = since.clone()
    before[0, 2] = 7.0  # less than ever, before the operation: no nadir
    assert _growth(before, SeenHistory([], dates, shown))[1].item() == 3.0
    everything = dates.clone()
    everything[..., 3] = 1
    assert _growth(before, SeenHistory([], everything, shown))[1].item() == 7.0


def test_every_parameter_learns_from_a_history_also_in_bf16(taught):
    network = deepcopy(taught).train()
    pair, _, history = batch_of([case_of(2, 0), case_of(0, 1)])
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(pair, None, history)
    logits.float().logsumexp(dim=1).sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == [
        "measures.weight",
        "measures.bias",
    ]
    for name in ("query", "attention.in_proj_weight", "token.0.weight", "trunk.stages.0.conv.unit0.conv.weight"):
        assert network.get_parameter(name).grad.abs().max() > 0, name
