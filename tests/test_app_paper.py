"""What both pages share: paper, keys and undoing; drops; contrast themes; hidden canvases."""

from __future__ import annotations

import io
import re
from functools import partial

import numpy as np
import pytest
from PIL import Image

from app import offline
from browser import (
    HIDING,
    PHONE,
    STROKES,
    draw,
    hiding,
    ink,
    on_canvas,
    touch,
    visiting,
    wait_for,
)


@pytest.fixture(params=["server", "offline"])
def visit(request, browser):
    """Opens one of the pages with options of the browser."""
    if request.param == "server":
        with visiting(browser, request.getfixturevalue("server")) as open_page:
            yield open_page
    else:
        with visiting(browser, offline.PAGE.as_uri()) as open_page:
            yield partial(open_page, offline=True)


def picture_of(locator) -> np.ndarray:
    """What an element looks like, uint8 (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB"))


# --- Undoing ---

CORNER = [[[10, 90], [25, 95]]]


@pytest.mark.parametrize("key", ["Control+z", "Meta+z", "Control+Z"])
def test_keys_undo_stroke_by_stroke(page, key):
    draw(page, STROKES["1"])
    wait_for(page, "This is a 1")
    one = ink(page)
    draw(page, CORNER)
    draw(page, [[[80, 20]]])  # a dot is a stroke, too
    assert ink(page) > one
    page.keyboard.press(key)
    page.keyboard.press(key)
    assert ink(page) == one
    wait_for(page, "This is a 1")
    page.keyboard.press(key)
    page.keyboard.press(key)  # nothing is left to undo
    wait_for(page, "Nothing drawn yet")
    assert ink(page) == 0 and page.locator("#hint").is_visible()


def test_undo_brings_back_what_was_cleared(page):
    draw(page, STROKES["7"])
    wait_for(page, "This is a 7")
    seven = ink(page)
    page.get_by_role("button", name="Clear").click()
    page.keyboard.press("Delete")  # to clear blank paper is no change
    page.get_by_role("button", name="Undo").click()
    wait_for(page, "This is a 7")
    assert ink(page) == seven


def test_undo_by_finger(visit):
    phone = visit(**PHONE)
    touch(phone, STROKES["3"])
    wait_for(phone, "This is a 3")
    three = ink(phone)
    touch(phone, CORNER)
    phone.get_by_role("button", name="Undo").tap()
    phone.wait_for_function("() => past.length === 1")
    assert ink(phone) == three
    wait_for(phone, "This is a 3")
    phone.get_by_role("button", name="Undo").tap()
    wait_for(phone, "Nothing drawn yet")


def test_undo_in_the_middle_of_a_stroke_lifts_the_pen(page):
    [[start, end]] = on_canvas(page, [[[50, 20], [50, 80]]])
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end)
    page.keyboard.press("Control+z")
    page.mouse.move(*start)
    page.mouse.up()
    assert ink(page) == 0
    for key in (" ", "ArrowDown", "Control+z", "ArrowDown"):
        page.keyboard.press(key)
    assert ink(page) == 0 and not page.locator("#cursor.down").count()


# --- Keys, pens and palms ---


def test_keys_after_the_mouse(page):
    """The arrows go on from where the mouse left off, whatever was clicked or moved meanwhile."""
    draw(page, [[[50, 20], [50, 50]]])
    page.keyboard.press("Delete")
    wait_for(page, "Nothing drawn yet")
    assert ink(page) == 0
    draw(page, [[[50, 20], [50, 50]]])
    page.get_by_role("button", name="Clear").click()
    for key in (" ", *["ArrowUp"] * 14, " "):
        page.keyboard.press(key)
    wait_for(page, "This is a 1")
    box = page.locator("#pen").bounding_box()
    page.mouse.click(box["x"] + 10, box["y"] + box["height"] / 2)
    page.keyboard.press("Delete")
    wait_for(page, "Nothing drawn yet")


def test_no_frame_appears_round_the_paper_where_the_mouse_draws(page):
    draw(page, CORNER)
    assert page.evaluate("document.activeElement.id") == "canvas"
    assert page.locator("#canvas").evaluate("element => !element.matches(':focus-visible')")


HANDS = """([strokes, palmFirst]) => {
    const box = canvas.getBoundingClientRect();
    const send = (name, id, type, [x, y]) => canvas.dispatchEvent(new PointerEvent(name, {
        pointerId: id, pointerType: type, button: name === "pointermove" ? -1 : 0, buttons: 1,
        clientX: box.left + x * box.width / 100, clientY: box.top + y * box.height / 100,
    }));
    canvas.setPointerCapture = () => {}; // no such pointer exists
    const palm = () => {
        send("pointerdown", 2, "touch", [85, 88]);
        send("pointermove", 2, "touch", [92, 95]);
    };
    for (const [first, ...others] of strokes) {
        if (palmFirst) palm();
        send("pointerdown", 1, "pen", first);
        if (!palmFirst) palm();
        for (const point of others) send("pointermove", 1, "pen", point);
        send("pointermove", 2, "touch", [95, 80]);
        send("pointerup", 1, "pen", others.at(-1));
        send("pointerup", 2, "touch", [95, 80]);
    }
}"""


@pytest.mark.parametrize("palm_first", [True, False])
def test_palm_does_not_draw_beside_the_pen(page, palm_first):
    strokes = [stroke.tolist() for stroke in STROKES["7"]]
    page.evaluate(HANDS, [strokes, palm_first])
    wait_for(page, "This is a 7")
    with_palm = ink(page)
    page.get_by_role("button", name="Clear").click()
    draw(page, STROKES["7"])
    assert with_palm == pytest.approx(ink(page), rel=0.01)


# --- Browsers that hide canvases ---

LOWEST_BITS = "data.forEach((_, i) => { if (i % 4 < 3 && Math.random() < 0.5) data[i] ^= 1; })"


@pytest.mark.parametrize("change", HIDING.values(), ids=HIDING)
def test_browser_that_hides_canvases_is_found_out(visit, change):
    page = visit(hiding(change))
    wait_for(page, "Your browser hides the drawing")  # before anything is drawn
    draw(page, STROKES["3"])
    page.wait_for_timeout(600)
    wait_for(page, "Your browser hides the drawing")
    assert "choose Allow" in page.locator("#detail").text_content()
    assert page.locator("#digit").text_content() == "!"
    assert page.locator("#bars .first").count() == 0
    page.evaluate("window.hides = false")  # the user allows it
    draw(page, [STROKES["3"][0][-1:]])
    wait_for(page, "This is a 3")


def test_browser_that_changes_the_lowest_bits_is_read(visit):
    page = visit(hiding(LOWEST_BITS))
    wait_for(page, "Nothing drawn yet")
    draw(page, STROKES["5"])
    wait_for(page, "This is a 5")


# --- What is dropped ---

# Returns whether the browser is kept from doing by itself what it does with each of these events.
DROP = """([kind, contents]) => {
    const data = new DataTransfer();
    for (const [type, text] of Object.entries(contents)) data.setData(type, text);
    const options = { clipboardData: data, dataTransfer: data, bubbles: true, cancelable: true };
    const events = kind === "paste"
        ? [new ClipboardEvent("paste", options)]
        : ["dragover", "drop"].map((name) => new DragEvent(name, options));
    return events.map((event) => !document.body.dispatchEvent(event));
}"""
ADDRESS = "https://example.org/seven.png"
TEXTS = {
    "text": {"text/plain": "seven"},
    "address": {"text/uri-list": ADDRESS, "text/html": f'<img src="{ADDRESS}">'},
    "typed address": {"text/plain": ADDRESS},
    "nothing": {},
}


def test_what_is_no_picture_gets_a_sentence(page):
    """The page, the drawing and the answer stay; the sentence goes when something is drawn."""
    draw(page, STROKES["7"])
    wait_for(page, "This is a 7")
    offline_page = page.locator("#file").count() == 0
    for name, contents in TEXTS.items():
        for kind in ("drop", "paste"):
            page.evaluate("notify('')")
            assert all(page.evaluate(DROP, [kind, contents]))
            wanted = "Addresses are not read" if "address" in name else "Only pictures are read"
            wanted = "This page reads only what is drawn on it" if offline_page else wanted
            assert page.locator("#notice").text_content().startswith(wanted)
    assert page.locator("#notice").get_attribute("role") == "status"
    wait_for(page, "This is a 7")
    draw(page, CORNER)
    assert page.locator("#notice").text_content() == ""


# --- What is shown ---


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bars_and_pen_are_visible_in_contrast_themes(visit, scheme):
    page = visit(forced_colors="active", color_scheme=scheme)
    draw(page, STROKES["4"])
    wait_for(page, "This is a 4")
    bars = [picture_of(track) for track in page.locator("#bars .track").all()]
    levels = [bar[bar.shape[0] // 2, bar.shape[1] // 2].astype(int) for bar in bars]
    assert np.abs(levels[4] - levels[0]).min() > 100  # the bar of 4 reaches the middle
    # The pen, beside the ink: its ring, and whether it is down.
    page.get_by_role("button", name="Clear").click()
    page.keyboard.press("ArrowUp")
    up = picture_of(page.locator("#cursor"))
    page.keyboard.press(" ")
    down = picture_of(page.locator("#cursor"))
    middle = up.shape[0] // 2, up.shape[1] // 2
    assert np.ptp(up.astype(int), axis=(0, 1)).max() > 100
    assert np.abs(up[middle].astype(int) - down[middle]).max() > 100
    assert np.ptp(down[middle].astype(int)) > 100  # filled with its colour, not only with ink


def test_no_probability_is_0_or_1(page):
    shares = [1, 0.9996, 0.99949, 0.5, 0.0006, 0.0004, 0]
    shown = page.evaluate("shares => shares.map(percent)", shares)
    words = [one.replace("\u00a0", " ") for one in shown]
    over, under = "over 99.9 %", "under 0.1 %"
    assert words == [over, over, "99.9 %", "50.0 %", "0.1 %", under, under]
    draw(page, STROKES["4"])
    wait_for(page, "This is a 4")
    everything = page.locator("main").text_content()
    assert not re.search(r"\b(100\.0|0\.0)\b", everything) and "over" in everything
