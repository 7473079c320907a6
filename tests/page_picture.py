"""Take visualizations/app.png, the README's picture of the page: `python -m tests.page_picture`.

This needs Chromium, and playwright of requirements-dev.txt.
"""

from tests.browser import STROKES, chromium, draw, wait_for
from tests.serving import ROOT, serve

LOOK = {"viewport": {"width": 1180, "height": 800}, "color_scheme": "light"}


def save(page, path) -> None:
    """Draw a 5 on a page opened with ``LOOK``, and save a picture of the whole page as a PNG."""
    draw(page, STROKES["5"])
    wait_for(page, "This is a 5")
    page.mouse.move(0, 0)
    page.wait_for_timeout(3000)  # that answer may have come before the last stroke was drawn
    page.screenshot(path=path, full_page=True)


if __name__ == "__main__":
    with serve() as address, chromium() as browser:
        page = browser.new_page(**LOOK)
        page.goto(address)
        save(page, ROOT / "visualizations" / "app.png")
