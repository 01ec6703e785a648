"""The page in a real Chromium, whose camera plays a blurred clip."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Download, Page, expect, sync_playwright

import vdeblur
from support.doubles import clip
from support.live_doubles import Rounds
from support.media.clips import clip as clip_path
from support.media.clips import ffmpeg
from support.page_fixtures import SMALL, page
from support.paths import SAMPLES
from support.processes import chromium
from support.wall_clock import patience, scaled, slowness
from vdeblur.errors import SourceError
from vdeblur.live.page import PageOptions, PageServer
from vdeblur.live.settings import LiveSettings

pytestmark = pytest.mark.browser

SAMPLE = SAMPLES / "handheld.mp4"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
#: Sums of the right quarter's pixels change when the picture moves.
SUM = """() => { const c = document.getElementById('picture'), w = c.width, h = c.height;
  const context = new OffscreenCanvas(w, h).getContext('2d', { willReadFrequently: true }); context.drawImage(c, 0, 0);
  const d = context.getImageData(w * 3 / 4, 0, w / 4, h).data;
  let sum = 0; for (let i = 0; i < d.length; i += 4) sum = (sum * 31 + d[i]) % 1000000007; return sum; }"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    camera = tmp_path_factory.mktemp("camera") / "camera.y4m"
    ffmpeg("-i", str(SAMPLE), "-vf", "scale=320:240,fps=15", "-frames:v", "30", "-pix_fmt", "yuv420p", str(camera))
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=chromium(),
            args=[
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-video-capture={camera}",
                *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
            ],
        )
        yield made
        made.close()


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with page(settings=SMALL, cameras=2) as made:
        yield made


@pytest.fixture
def open_page(browser: Chromium) -> Iterator[Callable[..., Page]]:
    """Opens pages, and fails the test where one of them complains on its console."""
    contexts, complaints = [], []
    expect.set_options(timeout=patience(20_000))

    def open_one(server: PageServer, *, start: bool = True, script: str = "", **settings: Any) -> Page:
        context = browser.new_context(**{"viewport": DESKTOP, **settings})
        contexts.append(context)
        made = context.new_page()
        made.set_default_timeout(patience(20_000))
        made.on("console", lambda message: complaints.append(message.text) if message.type in _BAD else None)
        made.on("pageerror", lambda error: complaints.append(str(error)))
        if script:
            made.add_init_script(script)
        made.goto(server.urls[0])
        if start:
            made.get_by_role("button", name="Start camera").click()
            expect(made.locator("#shown")).to_be_visible()
        return made

    yield open_one
    for context in contexts:
        context.close()
    # A server that is gone is no fault of the page's; the browser itself writes of it.
    assert [words for words in complaints if "ERR_CONNECTION_REFUSED" not in words] == []


_BAD = ("error", "warning")


def moves(shown: Page) -> None:
    """The picture on the sharp side changes."""
    before = shown.evaluate(SUM)
    shown.wait_for_function(f"before => ({SUM})() !== before", arg=before)


def saved(download: Download, folder: Path) -> Path:
    path = folder / "saved" / download.suggested_filename
    download.save_as(path)
    return path


def number(shown: Page, element: str) -> float:
    shown.wait_for_function(f"() => !Number.isNaN(parseFloat(document.getElementById('{element}').textContent))")
    return float(shown.inner_text(f"#{element}"))


def test_the_sharp_side_moves_and_is_measured(server: PageServer, open_page: Callable[..., Page]) -> None:
    shown = open_page(server)
    moves(shown)
    expect(shown.locator("#state")).to_have_attribute("data-kind", "good")
    assert number(shown, "fps") > 2 / slowness()
    assert 0 < number(shown, "delay") < scaled(5000)
    expect(shown.locator("#size")).to_have_text(re.compile("320×240|640×480"))
    expect(shown.locator("#plot-sharp")).to_have_attribute("points", re.compile(r"\d+\.\d,"))
    expect(shown.locator("#gain")).to_contain_text("%")
    assert "token" not in shown.url


def test_the_divider_follows_the_mouse_and_the_keys(server: PageServer, open_page: Callable[..., Page]) -> None:
    shown = open_page(server)
    divider, box = (
        shown.get_by_role("slider", name="Divider between raw and sharp"),
        shown.locator("#view").bounding_box(),
    )
    assert box is not None
    middle = box["y"] + box["height"] / 2
    shown.mouse.move(box["x"] + box["width"] / 2, middle)
    shown.mouse.down()
    shown.mouse.move(box["x"] + box["width"] * 0.25, middle, steps=4)
    shown.mouse.up()
    expect(divider).to_have_attribute("aria-valuenow", "25")
    handle = divider.bounding_box()
    assert handle is not None
    assert abs(handle["x"] + handle["width"] / 2 - box["x"] - box["width"] * 0.25) < 3
    divider.focus()
    for key, value in (("ArrowRight", "27"), ("PageDown", "17"), ("Home", "0"), ("End", "100"), ("ArrowLeft", "98")):
        shown.keyboard.press(key)
        expect(divider).to_have_attribute("aria-valuenow", value)
    expect(divider).to_have_attribute("aria-valuetext", "Raw 98 percent, sharp 2 percent")


def test_the_sides_are_raw_and_sharp_of_one_frame(server: PageServer, open_page: Callable[..., Page]) -> None:
    shown = open_page(server)
    differences = """() => { const c = document.getElementById('picture'), d = document.getElementById('divider');
      const context = new OffscreenCanvas(c.width, c.height).getContext('2d', { willReadFrequently: true });
      const all = () => { context.drawImage(c, 0, 0); return context.getImageData(0, 0, c.width, c.height).data; };
      const press = key => d.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
      press('Home'); const sharp = all(); press('End'); const raw = all(); let sum = 0, most = 0;
      for (let i = 0; i < raw.length; i += 4) {
        const e = Math.abs(raw[i] - sharp[i]); sum += e; most = Math.max(most, e); }
      return [4 * sum / raw.length, most]; }"""
    shown.wait_for_function(f"() => ({differences})()[1] > 3")
    mean, _ = shown.evaluate(differences)
    assert mean < 8  # another frame would differ by far more


def test_the_model_is_switched_while_it_runs(server: PageServer, open_page: Callable[..., Page]) -> None:
    shown = open_page(server)
    shown.get_by_role("radio", name="balanced").check(force=True)
    shown.locator("#strength").fill("0.5")
    shown.get_by_label("Processing size").select_option("3")
    shown.get_by_label("Shutter").select_option("0.5")
    admission = server._server.config.app.app._app.state.admission  # type: ignore[union-attr]

    def now() -> tuple[str, float, int, float]:
        status = next(iter(admission._own)).status()
        return status["model"], status["strength"], status["reduce"], status["shutter"]

    for _ in range(round(patience(100))):
        if now() == ("balanced", 0.5, 3, 0.5):
            break
        shown.wait_for_timeout(100)
    assert now() == ("balanced", 0.5, 3, 0.5)
    moves(shown)
    shown.wait_for_timeout(2000)  # longer than the page trusts its own word
    expect(shown.get_by_label("Shutter")).to_have_value("0.5")
    expect(shown.get_by_role("radio", name="balanced")).to_be_checked()
    expect(shown.locator("#runs")).to_have_text("Running: balanced, a third size")
    expect(shown.locator("label.running")).to_have_text("balanced")
    expect(shown.get_by_role("radio", name="balanced")).to_have_attribute("aria-description", "running now")


def test_a_snapshot_and_a_recording_are_saved(
    server: PageServer, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    shown = open_page(server)
    with shown.expect_download() as download:
        shown.get_by_role("button", name="Snapshot").click()
    with Image.open(saved(download.value, tmp_path)) as picture:
        assert picture.format == "PNG"
    expect(shown.locator("#size")).to_have_text(f"{picture.width}×{picture.height}")
    shown.get_by_role("button", name="Record").click()
    expect(shown.locator("#record")).to_have_attribute("aria-pressed", "true")
    shown.wait_for_timeout(1500)
    shown.locator("#record").click()
    with shown.expect_download() as download:
        shown.get_by_role("link", name="Download").click()
    path = saved(download.value, tmp_path)
    assert re.fullmatch(r"vdeblur [\d -]+\.sharp\.mp4", path.name)
    info = vdeblur.probe(path)
    assert (info.video.codec, info.video.width) == ("h264", picture.width)
    with vdeblur.Reader(path) as reader:
        times = [frame.time_seconds for frame in reader]
    assert len(times) > 3
    assert 0.5 < times[-1] < 10


#: What is measured of pictures, and a dash or nothing where there are none.
MEASURED = {"delay": "–", "server-delay": "–", "fps": "–", "size": "–", "gain": ""}


def test_nothing_is_told_of_what_no_longer_runs(open_page: Callable[..., Page]) -> None:
    """Stopped, numbers, hints and buttons are as before the start; a lost source leaves what was counted alone."""
    with page(settings=LiveSettings(auto=True, model="swift"), cameras=1) as server:
        shown = open_page(server)
        expect(shown.locator("#gain")).to_contain_text("%")
        shown.get_by_role("button", name="Record").click()
        expect(shown.locator("#record-words")).to_contain_text("Stop 0:0")
        expect(shown.locator("#runs")).to_contain_text("Running: swift")
        expect(shown.locator("#reduce option").first).to_contain_text("Automatic (now ")
        shown.locator("#start").click()
        for name, words in {**MEASURED, "dropped": "–", "record-words": "Record", "start-words": "Start"}.items():
            expect(shown.locator(f"#{name}")).to_have_text(words)
        for name in ("runs", "pace", "notice"):
            expect(shown.locator(f"#{name}")).to_be_hidden()
        expect(shown.locator("label.running")).to_have_count(0)
        expect(shown.locator("#reduce option").first).to_have_text("Automatic")
        shown.context.close()
    frames = list(clip(20, 48, 64))
    with page(Rounds([*frames, SourceError("pulled out")], seconds=0.1), settings=SMALL) as server:
        shown = open_page(server, start=False)
        expect(shown.locator("#gain")).to_contain_text("%")
        expect(shown.locator("#state-words")).to_have_text(re.compile("The source (is lost|has ended)"))
        for name, words in MEASURED.items():
            expect(shown.locator(f"#{name}")).to_have_text(words)
        expect(shown.locator("#dropped")).not_to_have_text("–")
        expect(shown.locator("#runs")).to_be_hidden()
        shown.context.close()


@pytest.mark.parametrize("size", [DESKTOP, PHONE, {"width": 1024, "height": 640}], ids=["desktop", "phone", "laptop"])
def test_a_dropped_file_is_seen_without_scrolling(
    server: PageServer, open_page: Callable[..., Page], size: dict[str, int]
) -> None:
    shown = open_page(server, start=False, viewport=size)
    expect(shown.locator("#state")).to_have_attribute("data-kind", "good")
    data = shown.evaluate_handle(
        "() => { const data = new DataTransfer(); data.items.add(new File(['no video'], 'no.mp4')); return data; }"
    )
    shown.dispatch_event("#view", "drop", {"dataTransfer": data})
    expect(shown.locator(".item")).to_have_attribute("data-state", "failed")
    expect(shown.locator(".item")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("way", ["choose", "drop"])
def test_a_video_is_sent_restored_and_fetched(
    server: PageServer, open_page: Callable[..., Page], tmp_path: Path, way: str
) -> None:
    shown = open_page(server, start=False)
    video = clip_path("h264", frames=5)
    if way == "choose":
        shown.locator("#file").set_input_files(video)
    else:
        data = shown.evaluate_handle(
            """bytes => { const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(bytes)], 'clip.mp4')); return data; }""",
            list(video.read_bytes()),
        )
        shown.dispatch_event("#drop", "dragover", {"dataTransfer": data})
        expect(shown.locator("#curtain")).to_be_visible()
        shown.dispatch_event("#drop", "drop", {"dataTransfer": data})
        expect(shown.locator("#curtain")).to_be_hidden()
    link = shown.get_by_role("link", name="Download")
    expect(link).to_be_visible(timeout=patience(60_000))
    with shown.expect_download() as download:
        link.click()
    path = saved(download.value, tmp_path)
    assert path.name == ("clip" if way == "drop" else video.stem) + ".sharp.mp4"
    with vdeblur.Reader(path) as reader:
        assert len(list(reader)) == 5
    shown.get_by_role("button", name="Remove").click()
    expect(shown.locator(".item")).to_have_count(0)


def test_what_goes_wrong_with_the_camera_is_said(server: PageServer, open_page: Callable[..., Page]) -> None:
    refused = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));"
    shown = open_page(server, start=False, script=refused)
    shown.get_by_role("button", name="Start camera").click()
    expect(shown.locator("#welcome-title")).to_have_text("The camera was not allowed")
    expect(shown.get_by_role("button", name="Try again")).to_be_visible()
    insecure = "Object.defineProperty(window, 'isSecureContext', { value: false });"
    shown = open_page(server, start=False, script=insecure)
    expect(shown.locator("#camera-hint")).to_contain_text("over HTTPS")
    expect(shown.locator("#start")).to_be_disabled()


def test_a_busy_server_says_so(open_page: Callable[..., Page]) -> None:
    with page(cameras=1) as server:
        open_page(server)
        other = open_page(server, start=False)
        other.get_by_role("button", name="Start camera").click()
        expect(other.locator("#welcome-title")).to_have_text("The server is busy")
        other.context.close()


def test_a_lost_connection_comes_back_by_itself(open_page: Callable[..., Page]) -> None:
    first = PageServer(None, SMALL, PageOptions(port=0, open_browser=False))
    first.start()
    shown = open_page(first)
    first.close()
    expect(shown.locator("#state-words")).to_have_text("Connection lost; trying again")
    with PageServer(None, SMALL, PageOptions(port=first.port, open_browser=False)) as second:
        assert second.port == first.port
        expect(shown.locator("#state")).to_have_attribute("data-kind", "good")
        moves(shown)
        shown.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_stands_in_the_way_of_anybody(
    server: PageServer, open_page: Callable[..., Page], size: dict[str, int], theme: str
) -> None:
    shown = open_page(server, start=False, viewport=size, color_scheme=theme)
    expect(shown.locator("#state")).to_have_attribute("data-kind", "good")
    report = Axe().run(shown)
    assert report.violations_count == 0, report.generate_report()
    shown.get_by_role("button", name="Start camera").click()
    expect(shown.locator("#shown")).to_be_visible()
    expect(shown.locator("#gain")).to_contain_text("%")
    report = Axe().run(shown)
    assert report.violations_count == 0, report.generate_report()
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_everything_can_be_reached_by_keys_and_is_small_enough_for_a_narrow_phone(
    server: PageServer, open_page: Callable[..., Page]
) -> None:
    shown = open_page(server, viewport={"width": 320, "height": 640}, reduced_motion="reduce")
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    reached = set()
    for _ in range(26):
        shown.keyboard.press("Tab")
        reached.add(shown.evaluate("document.activeElement.id || document.activeElement.name"))
    assert {"divider", "start", "snapshot", "record", "source"} <= reached
    assert {"model", "strength", "reduce", "lookahead", "shutter"} <= reached
    assert "choose" in reached
