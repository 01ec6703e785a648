"""Networks under noise: each in four engines, with and without a guide, with the noise kept and taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.evaluation.baselines import Identity
from vdeblur.evaluation.methods import IDENTITY, model_names
from vdeblur.model.checkpoint import load_network
from vdeblur.model.network import Network, traits_of


@dataclass(frozen=True, eq=False)
class GuidedNetwork:
    """A network by name.

    ``plain`` works without a guide; ``kept`` leaves the noise, ``removed`` takes it out, and ``denoised`` does nothing
    else; these three are None for a network that is shown no guide.
    """

    name: str
    plain: Deblurrer
    kept: Deblurrer | None
    removed: Deblurrer | None
    denoised: Deblurrer | None

    @property
    def deblurrers(self) -> list[Deblurrer]:
        """All its engines."""
        found = (self.plain, self.kept, self.removed, self.denoised)
        return [deblurrer for deblurrer in found if deblurrer is not None]


def guided_networks(
    models: Sequence[str], *, guide: str, device: str, precision: str, lookahead: int
) -> list[GuidedNetwork]:
    """Networks by name, path or "identity", all checked and loaded.

    Raises:
        UsageError: there is no such model or guide, or a model is given twice.
        NetworkError, DeviceError: it cannot be loaded.
    """
    found = []
    for model, name in zip(models, model_names(models, ()), strict=True):
        network: Network = Identity() if model == IDENTITY else load_network(model)
        common: dict[str, Any] = {"device": device, "precision": precision, "lookahead": lookahead}
        plain = Deblurrer(network, guide="off", **common)
        guided: list[Deblurrer | None] = [None, None, None]
        if guide != "off" and (guide != "auto" or traits_of(network).guided):
            guided = [
                Deblurrer(network, guide=guide, **words, **common)
                for words in ({}, {"remove": "noise"}, {"remove": "noise", "strength": 0.0})
            ]
        found.append(GuidedNetwork(name, plain, *guided))
    return found
