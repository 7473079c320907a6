"""Pictures from elsewhere on the page: chosen, dropped, pasted, decoded late, replaced, undone."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from asking import encoded
from browser import (
    HIDING,
    STROKES,
    assert_boxes_hold_ink,
    draw,
    drop,
    hiding,
    ink,
    wait_for,
)
from experiments.scenes import side_by_side

HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic"


def photo_of(digits, size=(2400, 1800)) -> bytes:
    """A large JPEG of the first test digit, a 7, on unevenly lit paper."""
    sheet = Image.new("L", size, 255)
    digit = Image.fromarray(255 - digits[1].images[0].numpy())
    sheet.paste(digit.resize((1200, 1200), Image.Resampling.BICUBIC), (500, 300))
    light = np.linspace(0.55, 0.95, size[0])
    return encoded(Image.fromarray((np.asarray(sheet) * light).astype(np.uint8)), "JPEG")


def number_of(digits) -> bytes:
    """A wide WebP of the first three test digits, 721."""
    line = Image.fromarray(side_by_side(digits[1].images[:3].numpy(), 5))
    size = 8 * line.width, 8 * line.height
    return encoded(line.resize(size, Image.Resampling.BICUBIC), "WEBP")


def choose(page, content: bytes, name: str = "picture") -> None:
    """Choose a file by the button; its name and declared type say nothing of what it is."""
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.set_input_files("#file", file)


PASTE = """([name, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
}"""


def paste(page, content: bytes, name: str = "picture") -> None:
    page.evaluate(PASTE, [name, list(content)])


def test_a_number_stands_in_the_middle_of_the_paper_and_so_do_its_boxes(page, digits):
    choose(page, number_of(digits))
    wait_for(page, "This is 721")
    assert_boxes_hold_ink(page)


def test_a_large_photo_is_made_smaller(page, digits):
    page.evaluate(
        """() => {
            const fetch = window.fetch;
            window.fetch = async (address, options) => {
                const { width, height } = await createImageBitmap(options.body);
                window.sent = [width, height];
                return fetch(address, options);
            };
        }"""
    )
    choose(page, photo_of(digits, (4000, 3000)))
    wait_for(page, "This is a 7")
    assert page.evaluate("window.sent") == [3000, 2250]
    choose(page, encoded(Image.new("L", (2048, 1024), 255)))  # no photo
    wait_for(page, "No ink was found", "#detail")
    assert page.evaluate("window.sent") == [1024, 512]


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (HEIC, "Export it as a JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "Export it as a PNG"),
        (encoded(Image.new("L", (300, 200), 255)), "No ink was found"),
    ],
    ids=["HEIC", "SVG", "blank"],
)
def test_a_picture_that_is_not_read(page, content, advice):
    choose(page, content)
    wait_for(page, advice, "#detail")


def test_paste(page, digits):
    paste(page, photo_of(digits, (1800, 1600)))
    wait_for(page, "This is a 7")


# --- Decoded late ---

# Files named late... are decoded, or found not to be pictures, only after window.release().
LATE = """
const decode = window.createImageBitmap;
const held = new Promise((go) => { window.release = go; });
window.createImageBitmap = async (file) => {
    if (file.name?.startsWith("late")) await held;
    return decode(file);
};
"""
NEWER = {
    "stroke": (lambda page, _: draw(page, STROKES["5"]), "This is a 5"),
    "clear": (lambda page, _: page.get_by_role("button", name="Clear").click(), "Nothing drawn"),
    "undo": (lambda page, _: page.keyboard.press("Control+z"), "Nothing drawn"),
    "chosen": (lambda page, digits: choose(page, number_of(digits)), "This is 721"),
    "pasted": (lambda page, digits: paste(page, number_of(digits)), "This is 721"),
    "not a picture": (lambda page, _: choose(page, HEIC), "That did not work"),
}


@pytest.mark.parametrize("newer", NEWER)
def test_a_picture_decoded_late_never_replaces_what_came_after_it(visit, digits, seven, newer):
    page = visit(LATE)
    if newer == "undo":
        draw(page, [[[10, 90], [25, 95]]])
    choose(page, encoded(seven), "late.png")
    paste(page, HEIC, "late.heic")
    act, verdict = NEWER[newer]
    act(page, digits)
    wait_for(page, verdict)
    before = ink(page), page.locator("#detail").text_content()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("window.release()")
    page.wait_for_timeout(500)
    wait_for(page, verdict)
    assert (ink(page), page.locator("#detail").text_content()) == before and asked == []


def test_a_picture_decoded_late_is_read_if_nothing_came_after_it(visit, seven):
    page = visit(LATE)
    choose(page, encoded(seven), "late.png")
    assert page.locator("#result").get_attribute("aria-busy") == "true"
    page.evaluate("window.release()")
    wait_for(page, "This is a 7")


# --- Undone ---


def test_a_picture_that_was_drawn_over_or_cleared_is_brought_back(page, digits):
    choose(page, number_of(digits))
    wait_for(page, "This is 721")
    whole = ink(page)
    draw(page, STROKES["3"])  # on paper of its own
    wait_for(page, "This is a 3")
    page.keyboard.press("Control+z")
    wait_for(page, "This is 721")
    assert ink(page) == whole
    assert_boxes_hold_ink(page)
    page.keyboard.press("Delete")
    wait_for(page, "Nothing drawn yet")
    page.keyboard.press("Control+z")
    wait_for(page, "This is 721")
    page.keyboard.press("Control+z")
    wait_for(page, "Nothing drawn yet")


# --- Several files, folders, browsers that hide canvases ---


def test_the_first_of_several_files_is_read_and_named(page, tmp_path, seven, digits):
    (tmp_path / "number.webp").write_bytes(number_of(digits))
    (tmp_path / "seven.png").write_bytes(encoded(seven))
    drop(page, tmp_path / "number.webp", tmp_path / "seven.png")
    wait_for(page, "This is 721")
    wait_for(page, "One picture at a time: this is number.webp, the first of 2.", "#notice")
    drop(page, tmp_path / "seven.png")
    wait_for(page, "This is a 7")
    assert page.locator("#notice").text_content() == ""


def test_a_folder_gets_a_sentence(page, tmp_path):
    draw(page, STROKES["5"])
    wait_for(page, "This is a 5")
    (tmp_path / "scans").mkdir()
    drop(page, tmp_path / "scans")
    wait_for(page, "If it is a folder", "#notice")
    wait_for(page, "This is a 5")


@pytest.mark.parametrize("change", ["noise", "white"])
def test_pictures_are_read_where_the_browser_hides_canvases(visit, digits, change):
    """They are sent as they are."""
    page = visit(hiding(HIDING[change]))
    choose(page, photo_of(digits))
    wait_for(page, "This is a 7")
