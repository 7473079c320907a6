"""Asking the app: pictures as bytes, requests, what answers hold, and a watch on written files."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator

from PIL import Image


def encoded(picture: Image.Image, file_format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def post(client, content, content_type="image/png", query="?votes=0"):
    return client.post(f"/api/predict{query}", data=content, content_type=content_type)


def digit_of(response) -> int | None:
    assert response.status_code == 200, response.text
    return response.get_json()["digit"]


def assert_refused(response, status: int) -> None:
    assert response.status_code == status
    assert response.content_type == "application/json"
    message = response.get_json()["error"]
    assert len(message) > 10 and "Traceback" not in message


@contextlib.contextmanager
def writing_watched() -> Iterator[list[str]]:
    """Collect the files and folders that this process opens for writing, makes, renames or deletes.

    Python reports each such call of its own, whatever function of whatever library leads to it.
    """
    changed: list[str] = []
    WATCHES.append(changed)
    yield changed
    WATCHES.remove(changed)


WATCHES: list[list[str]] = []
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate"}


def watch(event: str, arguments: tuple) -> None:
    writes = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if WATCHES and (writes or event in CHANGES):
        for changed in WATCHES:
            changed.append(f"{event} {arguments[0]}")


sys.addaudithook(watch)  # it cannot be taken off, and does nothing while nothing is watched
