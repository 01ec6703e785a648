"""Live settings: restoration options of a session, and adaptive quality."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vdeblur.options import FIXED_OPTIONS, RestoreOptions


@dataclass(frozen=True, kw_only=True)
class LiveSettings(RestoreOptions):
    """How a session restores. ``reduce`` is the least there may be with ``auto``.

    Raises:
        UsageError: a value is out of its bounds.
    """

    model: str = RestoreOptions.model
    #: A live picture should have no delay.
    lookahead: int = 0
    #: Raise ``reduce``, and choose a smaller model if need be, so that the network keeps up with the source.
    auto: bool = True

    @property
    def fixed(self) -> dict[str, Any]:
        """The options that need another Deblurrer when they change."""
        return self.values(FIXED_OPTIONS)

    def with_fixed_of(self, other: LiveSettings) -> LiveSettings:
        """These settings for the Deblurrer of others."""
        return replace(self, **other.fixed)
