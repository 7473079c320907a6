"""What a notebook found: its numbers, and the sentences that state them.

A notebook keeps its numbers in ``results/findings/NAME.json``. Its sentences, with a field for each
number, are in ``results/findings/NAME.md``. After an execution, ``python -m study.findings NAME``
puts them into the notebook, between markers such as ``<!-- answer -->`` and ``<!-- /answer -->``.
``python -m study.findings README`` does the same for the front page, with the numbers of all
notebooks.
"""

import json
import re
import sys
import textwrap
from pathlib import Path

from study import files

FOLDER = Path("results/findings")
COLUMNS = 110  # of a line
MARKED = re.compile(r"<!-- (?P<marker>\w+) -->\n(.*?)\n<!-- /(?P=marker) -->", re.S)


def keep(name: str, results_dir: str | Path = "results", **numbers) -> None:
    """Write the numbers of a notebook, or words that depend on them, for its sentences.

    Args:
        name: of the notebook, without its ending.
        numbers: Python's, NumPy's, or a pandas Series: ``{best[lr]:g}`` in a sentence.
    """

    def plain(value):
        return value.to_dict() if hasattr(value, "to_dict") else value.item()

    # Six digits are more than a sentence needs, and are the same on every processor.
    text = json.dumps(numbers, default=plain)
    numbers = json.loads(text, parse_float=lambda digits: float(f"{float(digits):.6g}"))
    text = json.dumps(numbers, indent=1, ensure_ascii=False)
    files.write_whole(Path(results_dir) / "findings" / f"{name}.json", f"{text}\n".encode())


def sentences(name: str, folder: Path = FOLDER) -> dict[str, str]:
    """Return the Markdown of a notebook, or of ``README``, by the markers that it goes between.

    Raises:
        KeyError: there is no number for a field in a sentence.
    """
    paths = sorted(folder.glob("*.json"))
    numbers = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    fields = numbers | numbers.get(name, {})
    text = (folder / f"{name}.md").read_text(encoding="utf-8")
    return {
        found["marker"]: _wrapped(found[2].format_map(fields)) for found in MARKED.finditer(text)
    }


def _wrapped(text: str) -> str:
    """Break the lines of a paragraph, or of each item of a list, anew."""
    look = {"width": COLUMNS, "break_long_words": False, "break_on_hyphens": False}
    lines = []
    for block in re.split(r"\n(?=- |\d+\. )", text):
        item = re.match(r"- |\d+\. |", block)[0]
        lines += textwrap.wrap(" ".join(block.split()), **look, subsequent_indent=" " * len(item))
    return "\n".join(lines)


def _written(name: str, folder: Path) -> dict[str, str]:
    """Return ``sentences``; none where there are none, or where they lack a number."""
    try:
        return sentences(name, folder) if (folder / f"{name}.md").exists() else {}
    except KeyError as error:
        print(f"{name}: there is no number for {error}, so its findings stay as they are.")
        return {}


def write(path: str | Path, folder: Path = FOLDER) -> None:
    """Write its sentences into an executed notebook, and remove what is random from its outputs.

    pandas gives a styled table a random name, and prints its address; the name becomes the place of
    the cell. So executing a notebook again changes only what it found. Sentences that lack a number
    stay as they are.
    """
    path = Path(path)
    notebook, texts = json.loads(path.read_text(encoding="utf-8")), _written(path.stem, folder)
    for place, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        for marker, text in texts.items():
            if f"<!-- {marker} -->" in source:
                source = files.between(source, marker, text)
        cell["source"] = source.splitlines(keepends=True)
        for output in cell.get("outputs", []):
            for kind in output.get("data", {}).keys() & {"text/html", "text/plain"}:
                text = "".join(output["data"][kind])
                text = re.sub(r"\bT_[0-9a-f]{5}(?=\W|_)", f"T_{place:05}", text)
                text = re.sub(r" at 0x[0-9a-f]+>", ">", text)
                output["data"][kind] = text.splitlines(keepends=True)
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
    files.write_whole(path, f"{text}\n".encode())


def main(names: list[str]) -> None:
    """Write the sentences of notebooks, given by name, or of the front page (``README``)."""
    for name in names:
        if name == "README":
            for marker, text in _written(name, FOLDER).items():
                files.write_between("README.md", marker, text)
        else:
            write(f"{name}.ipynb")


if __name__ == "__main__":
    main(sys.argv[1:])
