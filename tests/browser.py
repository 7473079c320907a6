"""Chromium, and a hand that draws on the page in it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def visiting(browser, address: str) -> Iterator[Callable]:
    """Yield a function that opens an address with options of the browser, and a script beforehand.

    Afterwards, check that no page had a problem; a picture may be refused.
    """
    contexts, problems = [], []

    def report(message):
        refused = re.search(r"with a status of (400|415)\b", message.text)
        if message.type in ("error", "warning") and not refused:
            problems.append(message.text)

    def open_page(script: str = "", **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        # The browser reports what its content security policy forbids on the console, too.
        page.on("console", report)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation',"
            " (event) => console.error('policy: ' + event.violatedDirective))"
        )
        page.add_init_script(script)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


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


def drop(page, *paths) -> None:
    """Drop files and folders of the disc on the paper."""
    session = page.context.new_cdp_session(page)
    ((place,),) = on_canvas(page, [[[50, 50]]])
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": place[0], "y": place[1], "data": data}
        session.send("Input.dispatchDragEvent", event)


def ink(page) -> int:
    """Count the dark pixels of the paper."""
    return page.evaluate(
        """() => {
            const { data } = paper.getImageData(0, 0, canvas.width, canvas.height);
            return data.filter((value, i) => i % 4 === 0 && value < 128).length;
        }"""
    )


def assert_boxes_hold_ink(page) -> None:
    """Check that each box has ink in it, and that there is none outside the boxes."""
    canvas = page.locator("#canvas").bounding_box()
    pixels = page.locator("#canvas").evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0, 0, 400, 400).data]"
    )
    ink = np.array(pixels, np.uint8).reshape(400, 400, 4)[:, :, 0] < 100
    for box in (box.bounding_box() for box in page.locator("#boxes div").all()):
        left, top = (400 * (box[side] - canvas[side]) / canvas["width"] for side in "xy")
        right, bottom = (
            start + 400 * box[length] / canvas["width"]
            for start, length in ((left, "width"), (top, "height"))
        )
        inside = (slice(int(top) - 2, int(bottom) + 3), slice(int(left) - 2, int(right) + 3))
        assert ink[inside].any()
        ink[inside] = False
    assert not ink.any()


def wait_for(page, text: str, element: str = "#verdict") -> None:
    """Wait until an element of the page contains a text, and no newer answer is on its way."""
    page.wait_for_function(
        "([element, text]) => document.querySelector(element).textContent.includes(text)"
        " && !document.querySelector('[aria-busy=true]')",
        arg=[element, text],
    )


HIDE = """
const read = CanvasRenderingContext2D.prototype.getImageData;
const write = HTMLCanvasElement.prototype.toBlob;
window.hides = true;
CanvasRenderingContext2D.prototype.getImageData = function (...box) {
    const image = read.apply(this, box);
    if (window.hides) change(image.data);
    return image;
};
HTMLCanvasElement.prototype.toBlob = function (...options) {
    const copy = this.cloneNode(), context = copy.getContext("2d");
    context.drawImage(this, 0, 0);
    context.putImageData(context.getImageData(0, 0, copy.width, copy.height), 0, 0);
    write.apply(copy, options);
};
"""
# What a browser that hides canvases makes of the bytes that a page reads.
HIDING = {
    "noise": "data.forEach((_, i) => { if (i % 4 < 3) data[i] = 256 * Math.random(); })",
    "white": "data.fill(255)",
    "black": "data.forEach((_, i) => { data[i] = i % 4 === 3 ? 255 : 0; })",
    "transparent": "data.fill(0)",
    "refusal": "throw new DOMException('denied', 'SecurityError')",
}


def hiding(change: str) -> str:
    """Return a script that changes what is read of canvases, until window.hides is false."""
    return f"{HIDE}; const change = (data) => {{ {change}; }};"
