"""One case as the explanation methods ask about it: the fold's network, bound to the case's facts and history."""

from __future__ import annotations

import torch
from torch import Tensor

from ranoscope.config import Target
from ranoscope.domain import RESPONSES
from ranoscope.learning.networks import History, PairNetwork
from ranoscope.learning.networks.timeline import SeenHistory, TimelineNetwork
from ranoscope.learning.targets import class_of


class CaseNetwork(PairNetwork):
    """A network that takes a case's pair alone and has a logit for each of the four responses.

    The facts stay what they are: maps show the images' part. So do, of a timeline, the studies before the prior: maps
    show what the prior and the current study say beside them. Where PD was learnt against the rest, SD, PR and CR share
    the rest's logit. The network's own layers keep their names behind ``network.``.
    """

    def __init__(self, network: PairNetwork, facts: Tensor, target: Target, history: History | None = None) -> None:
        """``facts``: (n,) on the network's device; n may be 0. ``history``: the case's, of a network that sees it."""
        super().__init__()
        self.history = history
        self._known: dict[bool, list[Tensor]] = {}
        self.network = network
        self.facts = facts
        self.places = torch.tensor([class_of(response, target) for response in RESPONSES], device=facts.device)
        self.first_layer = f"network.{network.first_layer}"
        self.beside_first = tuple(f"network.{layer}" for layer in network.beside_first)
        self.sees_apart = network.sees_apart
        self.saliency_layers = {name: f"network.{layer}" for name, layer in network.saliency_layers.items()}

    def forward(self, pair: Tensor, facts: Tensor | None = None) -> Tensor:
        """Logits (batch, 4) in the order PD, SD, PR, CR; the case's own facts stand for ``facts``."""
        if self.history is not None:
            return self.judge(self.see(pair[:, 0]), self.see(pair[:, 1]))
        logits: Tensor = self.network(pair, self._own(len(pair)))
        return logits[:, self.places]

    def see(self, studies: Tensor) -> list[Tensor]:
        """As the network itself."""
        return self.network.see(studies)

    def judge(self, prior: list[Tensor], current: list[Tensor], facts: Tensor | None = None) -> Tensor:
        """Logits as ``forward`` gives."""
        facts = self._own(len(prior[0]))
        if self.history is None:
            return self.network.judge(prior, current, facts)[:, self.places]
        assert isinstance(self.network, TimelineNetwork)
        return self.network.judge(prior, current, facts, self._seen(len(prior[0])))[:, self.places]

    def _seen(self, count: int) -> SeenHistory:
        """The case's history for so many pairs; it never changes, and is seen once in each precision."""
        assert self.history is not None
        half = torch.is_autocast_enabled(self.history.images.device.type)
        if half not in self._known:
            with torch.no_grad():
                self._known[half] = self.network.see(self.history.images)
        dates, shown = (part.expand(count, *part.shape) for part in self.history[1:])
        return SeenHistory([part.repeat(count, *[1] * (part.ndim - 1)) for part in self._known[half]], dates, shown)

    def _own(self, count: int) -> Tensor | None:
        return self.facts.expand(count, -1) if self.facts.numel() else None

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each response, (n, 4), from the logits (n, 4) that ``forward`` gives.

        Where PD was learnt against the rest, SD, PR and CR each have the rest's whole probability.
        """
        firsts = [int((self.places == place).nonzero()[0]) for place in range(int(self.places.max()) + 1)]
        return logits[:, firsts].softmax(dim=1)[:, self.places.to(logits.device)]
