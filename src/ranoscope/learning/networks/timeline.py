"""The change-aware network of a timeline: the current study compared with every earlier one, by its date.

Response is defined against the baseline and the nadir, not against the last scan. What is known of both without
learning is computed: growth since the baseline, and the largest growth since any study, which is that since the nadir.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ranoscope.config import TimelineSettings
from ranoscope.learning.measures import TISSUES
from ranoscope.learning.networks.base import PairNetwork
from ranoscope.learning.networks.change_aware import ChangeAwareNetwork, ChangeAwareTrunk, Reading, both
from ranoscope.learning.networks.comparison import FindingsCompared, tissue_amounts
from ranoscope.learning.networks.tissues import tissue_shares

# What is known of an earlier study: weeks before the current one; 1 or 0 for the prior, for the baseline (the first
# since the last operation), and for an operation between it and the current one.
DATE = ("weeks", "prior", "baseline", "operated")
_WEEKS, _PRIOR, _BASELINE, _OPERATED = range(len(DATE))
# A year on the log scale is about one.
_YEAR = 52.0
_TOKEN, _HEADS = 64, 4


class History(NamedTuple):
    """The earlier studies of cases besides the pair: of one case, or, each with a batch axis in front, of several.

    ``images``: float (study, sequence, i, j, k), all but the prior. ``dates``: float (1 + study, date) in the order of
    ``DATE``, the prior's first. ``shown``: bool (1 + study,), False for what only pads a batch. Studies may come in any
    order.
    """

    images: Tensor
    dates: Tensor
    shown: Tensor


class SeenHistory(NamedTuple):
    """A batch's ``History`` as ``judge`` takes it.

    ``seen``: what was seen of the studies that are shown, case by case, in the history's order. ``dates`` (batch,
    1 + study, date) and ``shown`` (batch, 1 + study) as in ``History``.
    """

    seen: list[Tensor]
    dates: Tensor
    shown: Tensor

    @property
    def cases(self) -> Tensor:
        """Which case of the batch each study in ``seen`` is of."""
        return self.shown[:, 1:].nonzero()[:, 0]


class TimelineNetwork(ChangeAwareNetwork):
    """Compares the current study with each earlier one as ``ChangeAwareNetwork`` does with the prior.

    Comparisons and their dates become tokens, which attention with one learnt query pools; the head reads that beside
    the comparison with the prior, and beside growth since baseline and nadir. Studies before the last operation are
    shown but are no reference, as what was cut out is none; where an operation lies even behind the prior, all are.
    """

    def __init__(self, trunk: ChangeAwareTrunk, settings: TimelineSettings, facts: int, classes: int) -> None:
        amounts = 2 * settings.findings + (len(TISSUES) if settings.tissues else 0)
        super().__init__(trunk, settings, facts, classes, further=_TOKEN + 2 * amounts)
        self.token = nn.Sequential(nn.Linear(self.compared + len(DATE), _TOKEN), nn.PReLU())
        self.query = nn.Parameter(torch.randn(1, 1, _TOKEN) / _TOKEN**0.5)
        self.attention = nn.MultiheadAttention(_TOKEN, _HEADS, batch_first=True)

    def forward(self, pair: Tensor, facts: Tensor | None = None, history: History | None = None) -> Tensor:
        """Logits (batch, class); without a history the prior is all there is, of the current study's own week."""
        seen, others = see_studies(self, pair, history)
        earlier = None if history is None else SeenHistory(others, history.dates, history.shown)
        return self._answer(seen, facts, earlier)

    def judge(
        self,
        prior: list[Tensor],
        current: list[Tensor],
        facts: Tensor | None = None,
        history: SeenHistory | None = None,
    ) -> Tensor:
        """Logits (batch, class)."""
        return self._answer(both(prior, current), facts, history)

    def read(
        self,
        prior: list[Tensor],
        current: list[Tensor],
        facts: Tensor | None = None,
        history: SeenHistory | None = None,
    ) -> Reading:
        """As ``ChangeAwareNetwork.read``; what is measured is the change from the prior to the current study."""
        assert self.measures is not None
        seen = both(prior, current)
        tissues = self._compare_tissues(seen)
        return Reading(self._conclude(seen, tissues, facts, history), seen[-1], self.measures(tissues))

    def _answer(self, seen: list[Tensor], facts: Tensor | None, history: SeenHistory | None = None) -> Tensor:
        return self._conclude(seen, self._compare_tissues(seen), facts, history)

    def _conclude(
        self, seen: list[Tensor], tissues: Tensor, facts: Tensor | None, history: SeenHistory | None
    ) -> Tensor:
        """Logits, from what was seen of all prior studies, then of all current ones, and what changed of tissues."""
        scales = self._scales
        maps = [scale.maps(seen[place]) for place, scale in enumerate(scales)]
        findings = [scale.between(maps[place], seen[place]) for place, scale in enumerate(scales)]
        change = self._weigh(torch.cat(findings, dim=1), tissues)
        before, now = self._amounts([torch.cat(each) for each in maps], seen).chunk(2)
        if history is None:
            history = SeenHistory([], *_the_prior_alone(change))
            changes, amounts = change[:, None], before[:, None]
        else:
            currents = [each[1] for each in maps]
            others, other_amounts = self._compare_others(history, currents, [part.chunk(2)[1] for part in seen])
            changes, amounts = (_spread(*parts, history.shown) for parts in ((change, others), (before, other_amounts)))
        pooled = self._pool(changes, history)
        since = _growth(now[:, None] - amounts, history)
        return self._decide(torch.cat([change, pooled, *map(self.dropout, since)], dim=1), facts)

    @property
    def _scales(self) -> list[FindingsCompared]:
        return cast(list[FindingsCompared], list(self.scales))

    def _compare_others(
        self, history: SeenHistory, currents: list[Tensor], seen: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """What changed since each study of the history, (study, feature), and its amounts, (study, amount).

        Args:
            history: the studies.
            currents: evidence of the current studies at each scale.
            seen: what was seen of the current studies.
        """
        cases, findings, maps = history.cases, [], []
        for place, scale in enumerate(self._scales):
            features = history.seen[place]
            maps.append(scale.evidence.of(features).float())
            pair = (maps[-1], currents[place][cases])
            findings.append(scale.between(pair, torch.cat([features, seen[place][cases]])))
        tissues = self._compare_tissues(both(history.seen, [part[cases] for part in seen]))
        return self._weigh(torch.cat(findings, dim=1), tissues), self._amounts(maps, history.seen)

    def _amounts(self, maps: list[Tensor], seen: list[Tensor]) -> Tensor:
        """Amounts of all findings and tissues, (study, amount)."""
        amounts = [FindingsCompared.amounts(each) for each in maps]
        if self.tissues is not None:
            amounts.append(tissue_amounts(tissue_shares(seen[-1])))
        return torch.cat(amounts, dim=1)

    def _pool(self, changes: Tensor, history: SeenHistory) -> Tensor:
        """One token (batch, feature) of all comparisons (batch, 1 + study, feature) and their dates."""
        weeks = history.dates[..., :_PRIOR].log1p() / torch.tensor(_YEAR).log1p()
        tokens = self.token(torch.cat([changes, weeks, history.dates[..., _PRIOR:]], dim=2))
        query = self.query.to(tokens.dtype).expand(len(tokens), -1, -1)
        pooled: Tensor = self.attention(query, tokens, tokens, ~history.shown, need_weights=False)[0]
        return pooled[:, 0].float()


def see_studies(network: PairNetwork, pairs: Tensor, history: History | None) -> tuple[list[Tensor], list[Tensor]]:
    """Each study of a batch seen once: all prior studies, then all current ones; and, apart, those of the history that
    are shown, case by case.

    Args:
        network: one that sees studies apart.
        pairs: (batch, study, sequence, i, j, k).
        history: the batch's; None where there are pairs alone.
    """
    studies = pairs.transpose(0, 1).flatten(0, 1)
    # Where there is nothing to add, a batch is not copied.
    all_studies = studies if history is None else torch.cat([studies, history.images[history.shown[:, 1:]]])
    seen = network.see(all_studies)
    return [part[: len(studies)] for part in seen], [part[len(studies) :] for part in seen]


def _the_prior_alone(like: Tensor) -> tuple[Tensor, Tensor]:
    """Dates and what is shown of cases without a history."""
    dates = like.new_zeros(len(like), 1, len(DATE))
    dates[..., [_PRIOR, _BASELINE]] = 1
    return dates, torch.ones(len(like), 1, dtype=torch.bool, device=like.device)


def _spread(prior: Tensor, others: Tensor, shown: Tensor) -> Tensor:
    """Rows (batch, 1 + study, n) of the prior, (batch, n), and of the other studies that are shown, (study, n)."""
    there = shown[:, 1:, None]
    table = prior.new_zeros(*there.shape[:2], prior.shape[1])
    return torch.cat([prior[:, None], table.masked_scatter(there, others.to(table.dtype))], dim=1)


def _growth(since: Tensor, history: SeenHistory) -> tuple[Tensor, Tensor]:
    """Growth (batch, amount) since the baseline and since the nadir, of that since every study."""
    operated = history.dates[..., _OPERATED] > 0
    reference = history.shown & ~operated
    reference = torch.where(reference.any(dim=1, keepdim=True), reference, history.shown)
    baseline = history.dates[..., _BASELINE] * history.shown
    nadir = since.masked_fill(~reference[..., None], -torch.inf).amax(dim=1)
    return (since * baseline[..., None]).sum(dim=1), nadir
