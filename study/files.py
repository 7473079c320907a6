"""Write a file whole, or not at all."""

import os
import tempfile
from pathlib import Path


def write_whole(path: str | Path, content: bytes) -> None:
    """Write ``content`` to a file, whose folder is made; who reads it meets all of it or none.

    Raises:
        OSError: it cannot be written; the message names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            (Path(folder) / path.name).write_bytes(content)
            (Path(folder) / path.name).replace(path)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {os.strerror(error.errno)}") from error


def write_between(path: str | Path, marker: str, text: str) -> None:
    """Replace what stands between ``<!-- marker -->`` and ``<!-- /marker -->`` in a text file.

    Raises:
        ValueError: the file does not have each of the two markers once.
    """
    start, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    content = Path(path).read_text(encoding="utf-8")
    if content.count(start) != 1 or content.count(end) != 1:
        raise ValueError(f"{path} must have {start} and {end} once each")
    before, after = content.split(start)[0], content.split(end)[1]
    write_whole(path, f"{before}{start}\n{text}\n{end}{after}".encode())
