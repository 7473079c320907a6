"""Chromium, and a hand that draws on the page in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.interpolate import make_interp_spline

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
MISSING = (
    "Driving the page needs Chromium: install it with `apt-get install chromium` (Debian, Ubuntu) "
    "or `.venv/bin/playwright install chromium` (elsewhere), or give its path in CHROMIUM."
)


@contextlib.contextmanager
def chromium() -> Iterator:
    """Start Chromium and yield it, a ``playwright.sync_api.Browser``.

    Raises:
        ImportError: playwright is not installed.
        FileNotFoundError: Chromium is not installed; the message says how to install it.
    """
    from playwright.sync_api import sync_playwright  # the other tests run without it

    wanted = (os.environ.get("CHROMIUM", ""), *NAMES, CHROME)
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, wanted)), playwright.chromium.executable_path)
        if not Path(found).exists():
            raise FileNotFoundError(MISSING)
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


def smooth(stroke: list[list[float]]) -> np.ndarray:
    """The curve through the points of a stroke, with four times as many, as a hand would draw."""
    times = np.linspace(0, len(stroke) - 1, 4 * len(stroke))
    return make_interp_spline(range(len(stroke)), stroke, k=2)(times)


# Digit -> its strokes, each of them points (N, 2) from 0 to 100.
STROKES = {
    digit: [smooth(stroke) for stroke in strokes]
    for digit, strokes in json.loads((Path(__file__).parent / "strokes.json").read_text()).items()
}


def on_canvas(page, strokes) -> list[list[tuple[float, float]]]:
    """Where the points of strokes, from 0 to 100, are on the screen."""
    box = page.locator("#canvas").bounding_box()
    left, top, size = box["x"], box["y"], box["width"] / 100
    return [[(left + x * size, top + y * size) for x, y in stroke] for stroke in strokes]


def draw(page, strokes) -> None:
    """Draw strokes, points from 0 to 100, with the mouse."""
    for first, *others in on_canvas(page, strokes):
        page.mouse.move(*first)
        page.mouse.down()
        for point in others:
            page.mouse.move(*point)
        page.mouse.up()


def touch(page, strokes) -> None:
    """Draw strokes, points from 0 to 100, with a finger."""
    session = page.context.new_cdp_session(page)

    def send(kind, *points):
        touches = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    for first, *others in on_canvas(page, strokes):
        send("touchStart", first)
        for point in others:
            send("touchMove", point)
        send("touchEnd")


def wait_for(page, text: str, element: str = "#verdict") -> None:
    """Wait until an element of the page contains a text, and no newer answer is on its way."""
    page.wait_for_function(
        "([element, text]) => document.querySelector(element).textContent.includes(text)"
        " && !document.querySelector('[aria-busy=true]')",
        arg=[element, text],
    )
