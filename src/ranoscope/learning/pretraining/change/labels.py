"""The response that true volumes of enhancing tumour in a prior and a current study make."""

from __future__ import annotations

from ranoscope.domain import Response
from ranoscope.response.criteria import RANO_HGG
from ranoscope.response.timeline import Compartment, Measure

_THRESHOLDS = RANO_HGG.parts[Compartment.ENHANCING].thresholds[Measure.VOLUME]
# Factors of volume at and above which it is progression, at and below which a response: 1.4 and 0.35.
PROGRESSION = 1 + _THRESHOLDS.progression / 100
PARTIAL = 1 - _THRESHOLDS.response / 100


def respond(prior_mm3: float, current_mm3: float, new_lesion: bool) -> Response:
    """PD for a new lesion or growth to the threshold, CR where nothing is left, PR for shrinkage to it, else SD.

    Nothing before and nothing now is SD, the best there is without measurable disease (RANO-HGG 2010).

    Args:
        prior_mm3: total volume of enhancing tumour in the prior study.
        current_mm3: in the current one.
        new_lesion: whether a lesion is there that the prior study does not have.
    """
    if new_lesion or (current_mm3 >= PROGRESSION * prior_mm3 and current_mm3 > 0):
        return Response.PD
    if not prior_mm3:
        return Response.SD
    if not current_mm3:
        return Response.CR
    return Response.PR if current_mm3 <= PARTIAL * prior_mm3 else Response.SD
