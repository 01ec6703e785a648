"""The page's colours, computed from its style sheets: every button can be read, under the pointer too (WCAG 1.4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

import pytest

from support.paths import ROOT

STATIC = ROOT / "vdeblur" / "live" / "page" / "static"
LEAST = 4.5
#: What stands around an element, not the element itself.
AROUND = {".welcome", ".item", ".segments", ".stage", ":fullscreen"}
#: Buttons and what looks like one: the tokens of the element and of all around it.
ELEMENTS = {
    "button": {".button"},
    "primary": {".button", ".primary"},
    "start, idle": {".button", ".primary", "#start"},
    "start, running": {".button", "#start"},
    "record": {".button", "#record"},
    "recording": {".button", "#record", '[aria-pressed="true"]'},
    "welcome": {".button", ".primary", ".welcome"},
    "download": {"a", ".button", ".small", ".primary", ".item"},
    "remove": {".button", ".small", ".item"},
    "model": {"label", ".segments"},
    "chosen model": {"label", ".segments", ":has(:checked)"},
    "running model": {"label", ".segments", ".running"},
}
#: Parts of a selector: pseudo classes with what is in their brackets, classes, ids, names, attributes.
_TOKEN = re.compile(r"::?[\w-]+(?:\([^()]*(?:\([^()]*\))?[^()]*\))?|[.#]?[\w-]+|\[[^\]]*\]|\*")
THEMES = ("light", "dark", "full screen")


@dataclass(frozen=True)
class Rule:
    tokens: frozenset[str]
    #: Those of the element itself, which stand last.
    own: frozenset[str]
    place: int
    declarations: dict[str, str]
    dark: bool

    @property
    def weight(self) -> tuple[int, int, int, int]:
        """Specificity, then the place in the sheets."""
        ids = sum(token.startswith("#") for token in self.tokens)
        kinds = sum(token[0] in ".[:" for token in self.tokens)
        return ids, kinds, len(self.tokens) - ids - kinds, self.place


def sheets() -> list[Rule]:
    """All rules of the page in the order in which it loads them; those of other media queries than colours left out."""
    text = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("base.css", "stage.css", "panel.css"))
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    rules: list[Rule] = []
    for query, inner, selectors, body in re.findall(
        r"@media ([^{]*)\{((?:[^{}]*\{[^{}]*\})*)[^{}]*\}|([^{}@]+)\{([^{}]*)\}", text
    ):
        parts = re.findall(r"([^{}]+)\{([^{}]*)\}", inner) if query else [(selectors, body)]
        if query and "prefers-color-scheme" not in query:
            continue
        for names, declared in parts:
            pairs = (each.partition(":") for each in declared.split(";") if ":" in each)
            declarations = {name.strip(): value.strip() for name, _, value in pairs}
            for selector in names.split(","):
                own = selector.split()[-1] if selector.split() else ""
                tokens = (frozenset(_TOKEN.findall(part)) for part in (selector, own))
                rules.append(Rule(*tokens, len(rules), declarations, "dark" in query))
    return rules


RULES = sheets()


def computed(tokens: set[str], theme: str, name: str) -> str | None:
    """The value of a property for an element, by the cascade."""
    context = tokens | ({".stage", ":fullscreen"} if theme == "full screen" else set())
    fitting = [
        rule
        for rule in RULES
        if name in rule.declarations
        and rule.tokens <= context
        and rule.own <= tokens - AROUND
        and (theme == "dark" or not rule.dark)
    ]
    value = max(fitting, key=lambda rule: rule.weight).declarations[name] if fitting else None
    if value is not None and (variable := re.fullmatch(r"var\((--[\w-]+)\)", value)):
        around = {":root"} | ({".stage", ":fullscreen"} if theme == "full screen" else set())
        return computed_variable(around, theme, variable[1])
    return value


def computed_variable(around: set[str], theme: str, name: str) -> str:
    found = [rule for rule in RULES if name in rule.declarations and rule.tokens <= around]
    found = [rule for rule in found if theme == "dark" or not rule.dark]
    # What is set on the stage is nearer than what is set on the root.
    return max(found, key=lambda rule: (":fullscreen" in rule.tokens, rule.place)).declarations[name]


def luminance(colour: str) -> float:
    assert re.fullmatch(r"#[0-9a-f]{6}", colour), colour
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(("name", "theme"), list(product(ELEMENTS, THEMES)))
@pytest.mark.parametrize("hovered", [False, True], ids=["at rest", "under the pointer"])
def test_buttons_can_be_read(name: str, theme: str, hovered: bool) -> None:
    tokens = ELEMENTS[name] | ({":hover", ":not(:disabled)"} if hovered else set())
    colour = computed(tokens, theme, "color")
    ground = computed(tokens, theme, "background")
    if ground in (None, "transparent"):
        around = {":root", ":fullscreen", ".stage"} if theme == "full screen" else {":root"}
        ground = computed_variable(around, theme, "--card")
    if colour is None:
        colour = "#e8eef4" if theme == "full screen" else computed({":root"}, theme, "color")
    assert colour is not None
    assert ground is not None
    assert contrast(colour, ground) >= LEAST, (colour, ground)


def test_the_cascade_is_read_as_a_browser_reads_it() -> None:
    """So that the test above can fail: a hover rule of more weight wins, one of another theme does not count."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert computed({".button", ".primary"}, "light", "background") == "#0b63c5"
    assert computed({".button", ".primary"}, "dark", "background") == "#5cb0ff"
    assert computed({".button", ".primary", ":hover", ":not(:disabled)"}, "light", "background") == "#084f9f"
    hovered = {".button", ".primary", ".welcome", ":hover", ":not(:disabled)"}
    assert computed(hovered, "light", "background") == "#8cc8ff"
    assert contrast("#06182b", "#084f9f") < LEAST, "what it was without a rule of its own"
