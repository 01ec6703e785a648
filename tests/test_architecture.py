"""The house: modules import only from floors below, and foreign libraries stay in their rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vdeblur"

#: Floor of each module or folder; a module may import from its own room or from lower floors only.
FLOORS = {
    "errors": 0, "frames": 0, "config": 0, "memory": 0,
    "strokes": 0, "raster": 0.1, "chart": 0.2, "sharpness": 1.2,
    "video": 1, "windows": 1, "pixels": 1, "scenes": 1, "model": 1, "transfer": 1, "workers": 1, "metrics": 1,
    "compute": 0.5, "cores": 0.6, "looks": 0.6, "native": 0.7, "fused": 0.8,
    "arrays": 1, "images": 1.2, "pictures": 1.3, "batches": 1, "footprint": 1, "tiles": 1.5,
    "graphs": 1.5, "remembering": 1.9, "engine": 2, "compare": 2,
    "fields": 2.5, "resuming": 2.5, "loop": 2.7, "pipeline": 3, "library": 3, "asynchronous": 3.1,
    "evaluation": 4.5, "training": 4, "live": 4, "bench": 4, "export": 4.5,
    "__init__": 5,
    "cli": 6,
    "__main__": 7,
}  # fmt: skip

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> list[str]:
    """Dotted names a module imports anywhere in its code."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room_of_import(name: str) -> str | None:
    parts = name.split(".")
    if parts[0] != "vdeblur":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "__init__"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    assert here in FLOORS, f"{here} has no floor; add it to the house"
    for name in imports(path):
        target = room_of_import(name)
        if target in (None, here, "errors"):
            continue
        assert FLOORS[target] < FLOORS[here], f"{path.name} (floor {FLOORS[here]}) imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_foreign_libraries_stay_in_their_rooms(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    if room(path) != "video":
        assert not roots & {"av", "ffmpeg", "imageio_ffmpeg"}
    if room(path) != "model" or path.parent.name != "kernels":
        assert "triton" not in roots
    if room(path) != "native":
        assert not roots & {"numba", "llvmlite"}
    if room(path) not in {"transfer", "compute", "graphs", "engine"}:
        used = [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute)
            and node.attr == "cuda"
            and isinstance(node.value, ast.Name)
            and node.value.id == "torch"
        ]
        assert not used, f"{path.name} uses torch.cuda"


def test_no_room_stands_twice() -> None:
    top = {path.name for path in PACKAGE.parent.iterdir() if not path.name.startswith(".")}
    allowed = {"pyproject.toml", "vdeblur", "configs", "tests", "samples", "README.md", "LICENSE", "CHANGELOG.md"}
    generated = {"dist", "build"}
    assert top - generated <= allowed
