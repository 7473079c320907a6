"""The page in Chromium, as people use it: by mouse, finger and keyboard; and the curl line."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess

import numpy as np
import pytest
from PIL import Image

import page_picture
from app.service import VOTERS
from asking import encoded
from browser import PHONE, STROKES, assert_boxes_hold_ink, draw, touch, wait_for
from conftest import ROOT
from experiments.scenes import side_by_side
from study.tables import NAMES


@pytest.mark.parametrize("digit", "478")
def test_reads_what_is_drawn_with_the_mouse(page, digit):
    draw(page, STROKES[digit])
    wait_for(page, "This is an 8" if digit == "8" else f"This is a {digit}")
    assert page.locator("#digit").text_content() == digit
    page.get_by_role("button", name="Clear").click()
    wait_for(page, "Nothing drawn yet")
    assert page.locator("#why").is_hidden()
    draw(page, STROKES["5"])  # and nothing of the first is left
    wait_for(page, "This is a 5")


def test_reads_what_is_drawn_with_a_finger_on_a_phone(visit):
    phone = visit(**PHONE)
    touch(phone, STROKES["3"])
    wait_for(phone, "This is a 3")
    assert phone.evaluate("window.scrollY") == 0  # drawing does not scroll
    phone.get_by_role("button", name="Clear").click()
    touch(phone, [[[50, 50]]])  # a tap leaves a dot, as in the middle of a 0
    ink = "canvas => canvas.getContext('2d').getImageData(0, 0, 400, 400).data.some(v => v < 100)"
    assert phone.locator("#canvas").evaluate(ink)


def test_shows_why(page):
    draw(page, STROKES["5"])
    wait_for(page, "This is a 5")
    assert page.locator("#steps img").count() == 5
    assert page.locator("#occlusion img").count() == 1
    assert page.locator("#neighbours img").count() >= 5
    votes = page.locator("#votes tr td:first-child").all_text_contents()
    assert votes == [NAMES[file] for file in VOTERS]
    for picture in page.locator("#why img").all():
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
        assert picture.get_attribute("alt")
    assert page.locator("#bars .first").text_content().startswith("5")
    assert page.locator("#votes .other").count() == 0


def number(text: str, size: float = 24) -> list[np.ndarray]:
    """The strokes of a number, from 0 to 100; size is that of a digit."""
    left, top = (100 - size * len(text)) / 2, (100 - size) / 2
    return [
        np.array([left + size * place, top]) + size / 100 * stroke
        for place, digit in enumerate(text)
        for stroke in STROKES[digit]
    ]


def test_reads_a_number(page):
    page.locator("#pen").fill("12")
    draw(page, number("205"))
    wait_for(page, "This is 205")
    assert page.locator("#digit").text_content() == "205"
    detail = page.locator("#detail").text_content()
    assert re.fullmatch(r"3 digits, each (over|at least)\s[\d.]+\u00a0% sure", detail)
    assert page.locator("#boxes span").all_text_contents() == ["2", "0", "5"]
    assert_boxes_hold_ink(page)
    for button, digit in zip(page.locator("#digits button").all(), "205", strict=True):
        assert re.fullmatch(rf"{digit}(over\s)?[\d.]+\s%", button.text_content())
    assert page.locator("#announcement").get_attribute("aria-live") == "polite"
    wait_for(page, "This is 205. 3 digits", "#announcement")
    # The pen passes through the boxes.
    box = page.locator("#boxes div").first.bounding_box()
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    assert page.evaluate("([x, y]) => document.elementFromPoint(x, y).id", middle) == "canvas"
    # One digit after it has no boxes.
    page.get_by_role("button", name="Clear").click()
    draw(page, STROKES["6"])
    wait_for(page, "This is a 6")
    assert page.locator("#digits").is_hidden() and page.locator("#boxes div").count() == 0


def test_bars_are_those_of_the_chosen_digit(page):
    """The first at the start; then by mouse and by keyboard."""
    page.locator("#pen").fill("12")
    draw(page, number("73"))
    wait_for(page, "This is 73")
    first, second = page.locator("#digits button").all()

    def shown() -> tuple[str, str, str]:
        chosen = page.locator("#digits [aria-pressed=true] b").text_content()
        box = page.locator("#boxes .chosen").text_content()
        return chosen, box, page.locator("#bars .first .label").text_content()

    assert shown() == ("7", "7", "7")
    second.click()
    assert shown() == ("3", "3", "3")
    assert "Piece 2 of 2" in page.locator("#bars-title").text_content()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert shown() == ("7", "7", "7")
    assert first.evaluate("button => button === document.activeElement")


def test_a_refused_piece_of_a_number(page):
    page.locator("#pen").fill("8")
    side = np.array([30, 0])
    seven, three = (
        [stroke + side * way for stroke in number(d)] for d, way in (("7", -1), ("3", 1))
    )
    posts = [[[x, 38], [x, 62]] for x in (42, 50, 58)]
    rails = [[[42, y], [58, y]] for y in (46, 54)]
    draw(page, [*seven, *posts, *rails, *three])
    wait_for(page, "This is 7?3")
    assert page.locator("#detail").text_content() == "1 of 3 pieces could not be read."
    refused = page.locator("#digits button").nth(1)
    assert refused.text_content() == "?no digit"
    refused.click()
    assert page.locator("#bars .first .label").text_content() == "no digit"


def test_lines_of_digits_have_boxes_and_are_said(page, digits):
    images = digits[1].images[:6].numpy()
    rows = [side_by_side(images[:3], 5), side_by_side(images[3:], 5)]
    width = max(row.shape[1] for row in rows)
    sheet = np.vstack(
        [np.pad(row, ((2, 2), (0, width - row.shape[1])), constant_values=255) for row in rows]
    )
    picture = Image.fromarray(sheet).resize((6 * width, 6 * len(sheet)), Image.Resampling.BICUBIC)
    file = {"name": "page.png", "mimeType": "image/png", "buffer": encoded(picture)}
    page.set_input_files("#file", file)
    wait_for(page, "This is 721, 041")
    assert page.locator("#digit").text_content() == "721\n041"
    assert_boxes_hold_ink(page)
    assert page.locator("#boxes div").count() == 6
    captions = page.locator("#steps figcaption").all_text_contents()
    assert "probability of being near a digit's centre" in captions


def test_something_that_is_no_digit(page):
    draw(page, [[[x, 10], [x, 90]] for x in (15, 38, 62, 85)])
    draw(page, [[[10, y], [90, y]] for y in (15, 38, 62, 85)])
    wait_for(page, "No digit that I know")
    assert page.locator("#digit").text_content() == "?"
    wait_for(page, "The closest digit is", "#detail")
    assert page.locator("#bars .first .label").text_content() == "no digit"
    signs = page.locator("#votes td:nth-child(2)").all_text_contents()
    assert signs[0] == "none" and set(signs) - {"none"} <= set("0123456789")
    assert page.locator("#votes .other").count() == len(VOTERS) - signs.count("none") > 0


def test_keyboard_alone(page):
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "canvas":
            break
    for key, times in (("ArrowUp", 14), (" ", 1), ("ArrowDown", 28), (" ", 1)):
        for _ in range(times):
            page.keyboard.press(key)
    wait_for(page, "This is a 1")
    page.keyboard.press("Delete")
    wait_for(page, "Nothing drawn yet")


def test_newest_answer_wins(page):
    held = []

    def hold_the_first(route):
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/api/predict*", hold_the_first)
    with page.expect_request("**/api/predict*"):
        draw(page, STROKES["1"])
    page.get_by_role("button", name="Clear").click()
    draw(page, STROKES["8"])
    wait_for(page, "This is an 8")
    with contextlib.suppress(Exception):  # the page no longer waits for it
        held[0].fulfill(status=400, json={"error": "an old answer"})
    page.wait_for_timeout(200)
    assert page.locator("#verdict").text_content() == "This is an 8"


@pytest.mark.parametrize("width", [320, 768])
def test_nothing_sticks_out(visit, width):
    page = visit(viewport={"width": width, "height": 800})
    page.locator("#pen").fill("10")
    draw(page, number("31415", size=18))
    wait_for(page, "This is 31415")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(visit, scheme):
    page = visit(color_scheme=scheme)
    pairs = (("#verdict", ".result"), (".drawing .note", ".drawing"), ("h1", "body"))
    for element, ground in pairs:
        colours = page.evaluate(
            "([a, b]) => [getComputedStyle(document.querySelector(a)).color,"
            " getComputedStyle(document.querySelector(b)).backgroundColor]",
            [element, ground],
        )
        assert contrast(*colours) >= 4.5
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (contrast(ground, "rgb(0, 0, 0)") < 2) == (scheme == "dark")


def contrast(*colours: str) -> float:
    """Contrast of two CSS colours as WCAG 2 defines it, 1 to 21."""
    lights = []
    for colour in colours:
        shares = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        lights.append(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_picture_for_the_readme(visit, tmp_path):
    page_picture.save(visit(**page_picture.LOOK), tmp_path / "app.png")
    with Image.open(tmp_path / "app.png") as picture:
        assert picture.width == 1180 and picture.height > 1200


def test_curl_line_of_the_documentation(server, tmp_path, digits):
    documentation = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    line = re.search(r"^curl [^\n]*", documentation, re.MULTILINE)[0]
    Image.fromarray(255 - digits[1].images[0].numpy()).save(tmp_path / "digit.png")
    command = line.replace("http://127.0.0.1:8000", server)
    assert command != line
    run = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout)["digit"] == 7


def test_server_answers_a_body_that_is_too_large(server, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(12 * 2**20))
    command = "curl -sS -w %{http_code} -H Content-Type:image/png --data-binary @large.png"
    run = subprocess.run(
        [*command.split(), f"{server}/api/predict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.endswith("413") and "8 MB" in run.stdout
