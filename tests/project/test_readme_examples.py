"""The examples of the library's README: each one runs as it stands, on tiny clips."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from support.documents import section, text_of
from support.media import clips
from support.paths import ROOT

SECTION = section(text_of("vdeblur/library/README.md"), "## Examples")
EXAMPLES = dict(re.findall(r"<summary>(.+?)</summary>\n\n```python\n(.+?)```\n</details>", SECTION, re.DOTALL))
FRAMES = 6


def pictures(number: int) -> list[np.ndarray]:
    """A pan over random blobs with an open shutter, four pixels a frame: something to be sharpened."""
    blobs = np.random.default_rng(number).integers(0, 2, (12, 52), dtype=np.uint8).repeat(3, 0).repeat(3, 1) * 200 + 20
    frames = [np.mean([blobs[:, 4 * n + step : 4 * n + step + 52] for step in range(4)], 0) for n in range(FRAMES)]
    return [np.stack([one, one * 0.8, 255 - one], 2).astype(np.uint8) for one in frames]


class Place:
    """Where an example runs: a folder with a short video, cameras, and a record of what was shown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown: list[tuple[Any, ...]] = []
        self.names: dict[str, Any] = {"camera": self.camera, "show": lambda *pictures: self.shown.append(pictures)}
        clips.ffmpeg(
            "-i", str(clips.clip("h264_vfr")), "-frames:v", str(FRAMES), "-c", "copy", str(folder / "shaky.mp4")
        )

    def camera(self, number: int, kind: str = "arrays") -> Iterator[Any]:
        for picture in pictures(number):
            yield picture if kind == "arrays" else torch.from_numpy(picture).permute(2, 0, 1)

    def run(self, summary: str) -> None:
        exec(compile(EXAMPLES[summary], f"vdeblur/library/README.md: {summary}", "exec"), self.names)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


def test_there_are_twelve_and_each_is_tested() -> None:
    assert len(EXAMPLES) == SECTION.count("```python") == 12
    assert set(EXAMPLES) == set(TESTED)


def opencv(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(cv2, "imshow", lambda name, picture: place.shown.append((picture,)), raising=False)
    monkeypatch.setattr(cv2, "waitKey", lambda _: 27 if len(place.shown) == 4 else -1, raising=False)
    place.run("A camera with OpenCV")
    assert len(place.shown) == 4
    assert place.shown[0][0].shape == (96, 160, 3)


def pyav(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run("PyAV, every timestamp kept")
    with av.open("shaky.mp4") as source, av.open("sharp.mkv") as target:
        before, after = (list(container.decode(video=0)) for container in (source, target))
    assert len(after) == FRAMES
    begin, began = before[0].time, after[0].time
    assert [f.time - began for f in after] == pytest.approx([f.time - begin for f in before], abs=1e-3)


def loader(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run("Tensors, in the batches of a loader")
    assert not torch.equal(place.names["sharp"], place.names["clip"])


def shutter(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run("A shutter that you know")
    with av.open("sharp.mp4") as target:
        assert sum(1 for _ in target.decode(video=0)) == FRAMES
    assert [len(shown) for shown in place.shown] == [1] * FRAMES
    assert place.names["deblurrer"].shutter == 0.25


def noise(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run("Noise out, or kept")
    with av.open("sharp.mp4") as target:
        assert sum(1 for _ in target.decode(video=0)) == FRAMES
    assert [len(shown) for shown in place.shown] == [1] * FRAMES
    assert place.names["deblurrer"].remove == "none"


def images(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.folder / "burst").mkdir()
    for number, picture in enumerate(pictures(0)):
        Image.fromarray(picture).save(place.folder / "burst" / f"{number}.png", dpi=(300, 300))
    place.run("PIL images")
    names = sorted(path.name for path in (place.folder / "burst").iterdir())
    assert names == sorted(f"{n}{end}.png" for n, end in itertools.product(range(FRAMES), ("", "_sharp")))
    with Image.open("burst/3_sharp.png") as image:
        assert image.info["dpi"][0] == pytest.approx(300, abs=0.1)


def three_cameras(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run("Three cameras at once")
    assert [len(shown) for shown in place.shown] == [3] * FRAMES
    assert not np.array_equal(place.shown[3][0], place.shown[3][1])


def event_loop(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run("An event loop")
    assert len(place.shown) == FRAMES


def steps(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run("Step by step: games, robots")
    assert [len(shown) for shown in place.shown] == [1] * FRAMES + [2] * FRAMES
    assert all(picture.shape == (36, 52, 3) for shown in place.shown for picture in shown)


def stopping(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    clips.ffmpeg("-i", str(clips.clip("h264")), "-frames:v", "20", "-c", "copy", "-y", "shaky.mp4")
    place.run("Progress, and a way to stop")
    assert place.names["cancelled"].is_set()
    assert not Path("sharp.mp4").exists()


def service(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    place.run("A web service with FastAPI")

    async def post(data: bytes) -> Any:
        transport = httpx.ASGITransport(app=place.names["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/deblur", content=data, headers={"content-type": "application/octet-stream"})

    def restored(data: bytes) -> tuple[int, list[str]]:
        """Frames of the answer, and the kinds of its streams."""
        answer = asyncio.run(post(data))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
        Path("answer.mp4").write_bytes(answer.content)
        with av.open("answer.mp4") as container:
            return len(list(container.decode(video=0))), sorted(stream.type for stream in container.streams)

    assert restored(Path("shaky.mp4").read_bytes())[0] == FRAMES
    sample = str(ROOT / "samples" / "handheld.mp4")
    clips.ffmpeg(
        "-i", sample, "-map", "0", "-t", "0.25", "-frames:v", str(FRAMES), "-s", "96x54", "-c:s", "copy", "short.mp4",
    )  # fmt: skip
    assert restored(Path("short.mp4").read_bytes()) == (FRAMES, ["audio", "subtitle", "video"])
    refused = asyncio.run(post(b"no video"))
    assert refused.status_code == 422
    assert "detail" in refused.json()


def notebook(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel of a notebook runs a cell; only the way to the browser is missing."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(shell.display_pub, "publish", lambda data, *_, **__: published.append(data))
    try:
        result = shell.run_cell(EXAMPLES["A notebook"])
        result.raise_error()
        assert "image/png" in published[0]
        assert 'src="data:video/mp4;base64,' in result.result._repr_html_()
    finally:
        shell.history_manager.end_session()
        type(shell).clear_instance()


TESTED: dict[str, Callable[[Place, pytest.MonkeyPatch], None]] = {
    "A camera with OpenCV": opencv,
    "PyAV, every timestamp kept": pyav,
    "Tensors, in the batches of a loader": loader,
    "Noise out, or kept": noise,
    "A shutter that you know": shutter,
    "PIL images": images,
    "Three cameras at once": three_cameras,
    "An event loop": event_loop,
    "Step by step: games, robots": steps,
    "Progress, and a way to stop": stopping,
    "A web service with FastAPI": service,
    "A notebook": notebook,
}


@pytest.mark.parametrize("summary", TESTED)
def test_the_example_runs(summary: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    TESTED[summary](place, monkeypatch)
