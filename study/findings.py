"""What a notebook found: its numbers, and the sentences that state them.

A notebook keeps its numbers in ``results/findings/NAME.json``. Its sentences, with a field for each
number, are in ``results/findings/NAME.md``. After an execution, ``python -m study.findings NAME``
puts them into the notebook, between ``<!-- answer -->`` and ``<!-- /answer -->`` and the like.
``python -m study.findings README`` does the same for the front page, with the numbers of all.
"""

import json
import re
import sys
import textwrap
from pathlib import Path

import nbformat

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

    # Six digits are more than a sentence has, and the same on every processor.
    text = json.dumps(numbers, default=plain)
    numbers = json.loads(text, parse_float=lambda digits: float(f"{float(digits):.6g}"))
    text = json.dumps(numbers, indent=1, ensure_ascii=False)
    files.write_whole(Path(results_dir) / "findings" / f"{name}.json", f"{text}\n".encode())


def sentences(name: str, folder: Path = FOLDER) -> dict[str, str]:
    """Return the Markdown of a notebook, or of ``README``, by the markers that it goes between.

    Raises:
        KeyError: a field of a sentence has no number.
    """
    paths = sorted(folder.glob("*.json"))
    numbers = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    fields = numbers | numbers.get(name, {})
    text = (folder / f"{name}.md").read_text(encoding="utf-8")
    return {
        found["marker"]: _wrapped(found[2].format_map(fields)) for found in MARKED.finditer(text)
    }


def _wrapped(text: str) -> str:
    """Break the lines of a paragraph, or of each bullet, anew."""
    look = {"width": COLUMNS, "break_long_words": False, "break_on_hyphens": False}
    blocks = [" ".join(block.split()) for block in re.split(r"\n(?=- )", text)]
    indent = "  " if text.startswith("- ") else ""
    return "\n".join(textwrap.fill(block, **look, subsequent_indent=indent) for block in blocks)


def write(path: str | Path, folder: Path = FOLDER) -> None:
    """Put its sentences into an executed notebook, and give its styled tables lasting names.

    pandas draws such a name at random; here it is the place of the cell, so that executing a
    notebook again changes only what it found. Sentences that lack a number stay as they are.
    """
    path = Path(path)
    notebook, texts = nbformat.read(path, as_version=4), {}
    if (folder / f"{path.stem}.md").exists():
        try:
            texts = sentences(path.stem, folder)
        except KeyError as error:
            print(f"{path.name} has no number for {error}: its findings stay as they are.")
    for place, cell in enumerate(notebook.cells):
        for marker, text in texts.items():
            if f"<!-- {marker} -->" in cell.source:
                cell.source = files.between(cell.source, marker, text)
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                html = output.data["text/html"]
                output.data["text/html"] = re.sub(r"\bT_[0-9a-f]{5}(?=\W|_)", f"T_{place:05}", html)
    nbformat.write(notebook, path)


def main(names: list[str]) -> None:
    """Write the sentences of notebooks, by name, or of the front page (``README``)."""
    for name in names:
        if name == "README":
            for marker, text in sentences(name).items():
                files.write_between("README.md", marker, text)
        else:
            write(f"{name}.ipynb")


if __name__ == "__main__":
    main(sys.argv[1:])
