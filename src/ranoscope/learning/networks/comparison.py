"""What changed between two studies: evidence maps of both, compared as a whole and place by place."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ranoscope.config import Comparison, ComparisonSettings

# Evidence of an earlier and of the current study.
Maps = tuple[Tensor, Tensor]
# Features per finding.
_COUNTS = {Comparison.AMOUNT: 2, Comparison.GROWTH: 1, Comparison.SPOT: 2, Comparison.MOVED: 2, Comparison.MATCHED: 2}
# Shares of the volume below this are as good as none; it keeps the logarithm of an absent finding finite.
_LEAST_AMOUNT = 1e-3
# The same for tissues, which are shares of the volume in earnest: 0.5 ml of the default box of 4.9 l.
_LEAST_TISSUE = 1e-4
# Findings begin as absent nearly everywhere, so that from the first step on only what stands out (features have unit
# variance) adds to an amount; begun at 0, half the brain counts and training stays on a plateau for many epochs.
_ABSENT = -2.0
# Features by which a place is recognised in the other study, and how far around it is searched, in cells.
_MARKS, _REACH = 8, 1


class Evidence(nn.Module):
    """Where each learnt finding is, and how much of it: non-negative maps of both studies, the prior's channels first.

    Not normalised: that would take away the amount, and response is a statement about amounts.
    """

    def __init__(self, channels: int, findings: int) -> None:
        super().__init__()
        self.findings = nn.Conv3d(channels, findings, kernel_size=1)
        nn.init.constant_(self.findings.get_parameter("bias"), _ABSENT)

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, 2 * findings, i, j, k) from features (2 * batch, channels, i, j, k), prior studies first."""
        prior, current = self.of(features).chunk(2)
        return torch.cat([prior, current], dim=1)

    def of(self, features: Tensor) -> Tensor:
        """Map (study, findings, i, j, k) of studies that are no pairs, from features (study, channels, i, j, k)."""
        return F.relu(self.findings(features))


class FindingsCompared(nn.Module):
    """One scale's learnt findings, compared in the ways that the settings list."""

    def __init__(self, settings: ComparisonSettings, channels: int, cell_mm: float) -> None:
        """``channels``: of the features; ``cell_mm``: edge of their cells, in millimetres."""
        super().__init__()
        self.evidence = Evidence(channels, settings.findings)
        self.ways = tuple(way for way in Comparison if way in settings.comparison)
        self.reach = reach(settings, cell_mm)
        self.matching = Matching(channels) if Comparison.MATCHED in self.ways else None
        self.width = settings.findings * sum(_COUNTS[way] for way in self.ways)

    def forward(self, features: Tensor) -> Tensor:
        """What changed, (batch, ``width``), float32, from features (2 * batch, channels, i, j, k), prior first."""
        return self.between(self.maps(features), features)

    def maps(self, features: Tensor) -> Maps:
        """The evidence of both studies, each (batch, findings, i, j, k), float32."""
        prior, current = self.evidence(features).float().chunk(2, dim=1)
        return prior, current

    def between(self, studies: Maps, features: Tensor) -> Tensor:
        """``forward`` where the evidence is known."""
        there = self.matching(features, *studies) if self.matching is not None else None
        return compare(studies, self.ways, _LEAST_AMOUNT, self.reach, there)

    @staticmethod
    def amounts(maps: Tensor) -> Tensor:
        """How much of each finding there is, (study, findings), as ``compare`` has it."""
        return _amounts(maps, _LEAST_AMOUNT)


def tissue_amounts(shares: Tensor) -> Tensor:
    """How much of each tissue there is, (study, tissue), as ``compare_tissues`` has it."""
    return _amounts(shares.float(), _LEAST_TISSUE)


def compare_tissues(shares: Tensor, settings: ComparisonSettings, cell_mm: float) -> Tensor:
    """What changed of taught tissues, (batch, ``tissue_width``), float32.

    Args:
        shares: 0 to 1, (2 * batch, tissue, i, j, k), prior studies first.
        settings: ways and tolerance; attention is for findings alone.
        cell_mm: edge of a cell, in millimetres.
    """
    prior, current = shares.float().chunk(2)
    return compare((prior, current), tissue_ways(settings), _LEAST_TISSUE, reach(settings, cell_mm))


def tissue_ways(settings: ComparisonSettings) -> tuple[Comparison, ...]:
    """How tissues are compared: as findings are, but place by place instead of by attention."""
    chosen = set(settings.comparison)
    if Comparison.MATCHED in chosen:
        chosen = chosen - {Comparison.MATCHED} | {Comparison.MOVED}
    return tuple(way for way in Comparison if way in chosen)


def tissue_width(settings: ComparisonSettings, tissues: int) -> int:
    """Features of so many tissues compared."""
    return tissues * sum(_COUNTS[way] for way in tissue_ways(settings))


def reach(settings: ComparisonSettings, cell_mm: float) -> int:
    """The tolerance in whole cells, rounded up."""
    return math.ceil(settings.tolerance_mm / cell_mm - 1e-6)


def compare(
    studies: Maps,
    ways: tuple[Comparison, ...],
    least: float,
    near: int = 0,
    there: Maps | None = None,
) -> Tensor:
    """Features (batch, n) of what changed between non-negative maps, each (batch, map, i, j, k), prior and current.

    Amounts are averages over the volume, on a log scale, so that growth by 40 % is the same step for a small and a
    large lesion, and 0 where there is nothing. Each study's own amount stays in, because "nothing there, before and
    now" (CR) and "something there, before and now" (SD) have the same difference.

    Args:
        studies: the maps.
        ways: in the order of ``Comparison``.
        least: the amount that is as good as none.
        near: what is within so many cells in the other study has not moved.
        there: each study's maps as they are found in the other's frame, for ``MATCHED``.
    """
    prior, current = studies
    amounts = [_amounts(part, least) for part in studies]
    parts: list[Tensor] = []
    for way in ways:
        if way is Comparison.AMOUNT:
            parts += amounts
        elif way is Comparison.GROWTH:
            parts.append(amounts[1] - amounts[0])
        elif way is Comparison.SPOT:
            parts += [part.amax(dim=(2, 3, 4)).log1p() for part in studies]
        elif way is Comparison.MOVED:
            parts += _moved(studies, (_near(prior, near), _near(current, near)), least)
        elif there is not None:
            parts += _moved(studies, there, least)
    return torch.cat(parts, dim=1)


class Matching(nn.Module):
    """Looks for each place of one study in the other, near the same place, by attention over learnt marks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.marks = nn.Conv3d(channels, _MARKS, kernel_size=1, bias=False)
        steps = torch.stack(torch.meshgrid([torch.arange(-_REACH, _REACH + 1)] * 3, indexing="ij"), dim=-1)
        # Begins near the place itself: each cell away makes a match e times less likely.
        self.nearness = nn.Parameter(-steps.flatten(0, 2).float().norm(dim=1))

    def forward(self, features: Tensor, prior: Tensor, current: Tensor) -> Maps:
        """The prior's evidence as it is found in the current study's frame, and the other way round.

        Args:
            features: (2 * batch, channels, i, j, k), prior studies first.
            prior: evidence (batch, map, i, j, k); ``current`` likewise.
        """
        marks = F.normalize(self.marks(features).float(), dim=1)
        before, now = marks.chunk(2)
        return self._bring(now, before, prior), self._bring(before, now, current)

    def _bring(self, here: Tensor, there: Tensor, evidence: Tensor) -> Tensor:
        """Evidence of the other study, at each place the average over its neighbours that look alike."""
        neighbours = _shifted(there)
        likeness = torch.stack([(here * other).sum(dim=1) for other in neighbours], dim=1)
        shares = (likeness * math.sqrt(_MARKS) + self.nearness[:, None, None, None]).softmax(dim=1)
        found = torch.zeros_like(evidence)
        for place, other in enumerate(_shifted(evidence)):
            found = found + shares[:, place, None] * other
        return found


def _shifted(maps: Tensor) -> list[Tensor]:
    """The maps moved by every step within reach along i, j and k; what comes from outside repeats the border."""
    padded = F.pad(maps, (_REACH,) * 6, mode="replicate")
    sizes, span = maps.shape[2:], range(2 * _REACH + 1)
    return [
        padded[:, :, i : i + sizes[0], j : j + sizes[1], k : k + sizes[2]] for i in span for j in span for k in span
    ]


def _near(evidence: Tensor, reach: int) -> Tensor:
    """The strongest evidence within so many cells of each place."""
    return F.max_pool3d(evidence, 2 * reach + 1, stride=1, padding=reach) if reach else evidence


def _moved(studies: Maps, counterparts: Maps, least: float) -> list[Tensor]:
    """How much came and how much went, each (batch, map): evidence without a counterpart in the other study."""
    (prior, current), (prior_there, current_there) = studies, counterparts
    steps = (F.relu(current - prior_there), F.relu(prior - current_there))
    return [_amounts(step, least) for step in steps]


def _amounts(maps: Tensor, least: float) -> Tensor:
    """Averages over the volume, (study, map), on a log scale, 0 where there is nothing."""
    return (maps.mean(dim=(2, 3, 4)) / least).log1p()
