"""How far an encoder lowers the quantisers of blocks below those of its slices, by its own words in the stream.

x264 and x265 lower them where later frames refer to them (macroblock tree, cutree). They raise those of the slices by
13.5 · (1 − qcomp) beforehand, so that their mean is about what it is without (x264, ratecontrol.c: ``mbtree_offset``).
Both write their options into the first picture, as supplemental information for the user.
"""

from __future__ import annotations

import re

#: Bytes of the message that are looked at.
_MOST_BYTES = 4096
_ENCODERS = (b"x264 - core ", b"x265 (build ")
_TREE = re.compile(rb" (?:mbtree=1|cutree)(?= |\0|\x80|$)")
_COMPRESSION = re.compile(rb" qcomp=(\d\.\d{1,4})(?= |\0|\x80|$)")
_RAISED, _USUAL = 13.5, 0.6


def lowering(unit: memoryview) -> float | None:
    """By how much the blocks' quantisers are lower in the mean, of a NAL unit; ``None`` = it does not say."""
    text = bytes(unit[:_MOST_BYTES])
    if not any(name in text for name in _ENCODERS):
        return None
    if _TREE.search(text) is None:
        return 0.0
    found = _COMPRESSION.search(text)
    return _RAISED * (1 - min(1.0, float(found[1]) if found else _USUAL))
