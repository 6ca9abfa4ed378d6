"""What must hold of a pair shown otherwise: exchanged, or one of its studies twice."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ranoscope.config import ConsistencySettings
from ranoscope.domain import RESPONSES, Response
from ranoscope.learning.facts import FactLayout
from ranoscope.learning.losses import accepted_losses
from ranoscope.learning.networks import History, PairNetwork
from ranoscope.learning.networks.timeline import SeenHistory, TimelineNetwork, see_studies

PRIOR, CURRENT = 0, 1
# The expert's response, and what may be said then.
Accepted = tuple[tuple[Response, tuple[Response, ...]], ...]
_PD, _SD, _PR, _CR = Response.PD, Response.SD, Response.PR, Response.CR
# What may be said, by the expert's response, of the pair exchanged; of the current study twice; of the prior one twice.
# PR and CR against the study before need not have shrunk: LUMIERE's CR mostly follow CR, nothing to nothing.
_EXCHANGED: Accepted = ((_PD, (_PR, _CR)), (_SD, (_SD,)), (_PR, (_PD,)), (_CR, (_PD, _CR)))
_CURRENT_TWICE: Accepted = ((_PD, (_SD,)), (_SD, (_SD,)), (_PR, (_SD,)), (_CR, (_SD, _CR)))
_PRIOR_TWICE: Accepted = ((_PD, (_SD, _CR)), (_SD, (_SD,)), (_PR, (_SD,)), (_CR, (_SD, _CR)))


class ShownPairs:
    """A batch of pairs that a network can be asked about in any order of its studies, each encoded once if possible."""

    def __init__(
        self, network: PairNetwork, pairs: Tensor, facts: Tensor, layout: FactLayout, history: History | None = None
    ) -> None:
        """``facts``: (batch, n), n may be 0; ``layout``: which of them follow the studies; ``history``: the batch's, of
        a network that sees the timeline.
        """
        self.network, self._pairs, self._facts, self._layout, self._history = network, pairs, facts, layout, history
        self._seen: list[tuple[Tensor, ...]] = []
        self._others: list[Tensor] = []
        if network.sees_apart:
            seen, self._others = see_studies(network, pairs, history)
            self._seen = [scale.chunk(2) for scale in seen]

    def logits(self, earlier: int = PRIOR, later: int = CURRENT) -> Tensor:
        """(batch, class), with these studies as the prior and the current one.

        Of a timeline, a study twice is that study throughout, at all its dates.
        """
        facts = self.facts(earlier, later)
        if isinstance(self.network, TimelineNetwork):
            return self.network.judge(self.seen(earlier), self.seen(later), facts, self.history(earlier, later))
        if self.network.sees_apart:
            return self.network.judge(self.seen(earlier), self.seen(later), facts)
        pairs = self._pairs if (earlier, later) == (PRIOR, CURRENT) else self._pairs[:, [earlier, later]]
        answer: Tensor = self.network(pairs, facts)
        return answer

    def history(self, earlier: int = PRIOR, later: int = CURRENT) -> SeenHistory | None:
        """What was seen of the studies besides the pair; all are the same one where the prior and the current are."""
        if self._history is None:
            return None
        history = SeenHistory(self._others, self._history.dates, self._history.shown)
        if earlier != later:
            return history
        return history._replace(seen=[scale[history.cases] for scale in self.seen(earlier)])

    def seen(self, study: int) -> list[Tensor]:
        """What the network saw of this study, of a network that sees studies apart."""
        return [scale[study] for scale in self._seen]

    def facts(self, earlier: int, later: int) -> Tensor | None:
        """The facts, of which those about the studies follow them; None where there are none."""
        return self._layout.shown_as(self._facts, earlier, later) if self._facts.shape[1] else None


def consistency_loss(shown: ShownPairs, targets: Tensor, settings: ConsistencySettings) -> Tensor:
    """The weighted loss of answers that cannot be right, 0 where nothing is asked for.

    Classes are not weighted: what is asked holds of every case alike.

    Args:
        shown: the batch.
        targets: class index (batch,): of the four responses, or of PD and the rest.
        settings: weights.
    """
    total = torch.zeros((), device=targets.device)
    asked = [(settings.swap, CURRENT, PRIOR, _EXCHANGED)]
    asked += [(settings.same / 2, CURRENT, CURRENT, _CURRENT_TWICE), (settings.same / 2, PRIOR, PRIOR, _PRIOR_TWICE)]
    for weight, earlier, later, accepted in asked:
        if weight > 0:
            logits = shown.logits(earlier, later).float()
            allowed = _table(accepted, logits.shape[1]).to(targets.device)[targets]
            total = total + weight * accepted_losses(logits, allowed).mean()
    return total


@cache
def _table(accepted: Accepted, classes: int) -> Tensor:
    """Which classes (class, class) may be said of a case of each; PD and the rest: the rest's is what any of it may."""
    place = {response: min(response.class_index, classes - 1) for response in RESPONSES}
    table = torch.zeros(classes, classes, dtype=torch.bool)
    for response, allowed in accepted:
        for one in allowed:
            table[place[response], place[one]] = True
    return table
