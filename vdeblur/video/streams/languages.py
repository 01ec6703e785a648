"""Language codes: ISO 639-2 bibliographic and terminological codes, and FFmpeg's codes of QuickTime languages."""

from __future__ import annotations

#: ISO 639-2 code to the one that FFmpeg's QuickTime muxer knows.
QUICKTIME = {
    "deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "hrv": "hr ", "zho": "chi", "fao": "fo ",
    "sqi": "alb", "srp": "sr ", "mkd": "mac", "hye": "arm", "kat": "geo", "bod": "tib", "pan": "pa ", "mya": "bur",
    "msa": "may", "fre": "fra", "cze": "ces", "rum": "ron", "slo": "slk",
}  # fmt: skip
#: ISO 639-2/T (terminological) to ISO 639-2/B (bibliographic).
_LIBRARIES = {
    "deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb", "mkd": "mac", "hye": "arm",
    "kat": "geo", "bod": "tib", "mya": "bur", "msa": "may", "fra": "fre", "ces": "cze", "ron": "rum", "slk": "slo",
    "eus": "baq", "cym": "wel", "fas": "per", "mri": "mao",
}  # fmt: skip


def same_language(one: str | None, other: str | None) -> bool:
    """Whether two codes name the same language; ``None`` equals "und"."""
    return _canonical(one) == _canonical(other)


def _canonical(code: str | None) -> str:
    if code is None or code == "und":
        return ""
    for name, quicktime in QUICKTIME.items():
        if code == quicktime:
            code = name
            break
    return _LIBRARIES.get(code, code)
