"""What a notebook found: its numbers and the sentences that state them."""

import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from conftest import ROOT
from study import findings

TEMPLATES = sorted(path.stem for path in (ROOT / "results" / "findings").glob("*.md"))


@pytest.fixture
def folder(tmp_path):
    """A notebook ``small`` with sentences that have two numbers."""
    folder = tmp_path / "findings"
    folder.mkdir()
    text = "<!-- answer -->\n**Answer.** {errors:,} errors, {share[a]:.1%}.\n<!-- /answer -->\n"
    text += "<!-- findings -->\n- One {errors}.\n- Two, and\n  more.\n<!-- /findings -->\n"
    (folder / "small.md").write_text(text)
    cells = [new_markdown_cell("# A?\n\n<!-- answer -->\nold\n<!-- /answer -->\n\nHere.")]
    html = '<style>#T_0a1b2_row0 {}</style><table id="T_0a1b2">ABOUT_beef1</table>'
    cells += [
        new_code_cell(
            "1",
            outputs=[new_output("display_data", {"text/html": html, "text/plain": "<A at 0x7f>"})],
        )
    ]
    cells += [new_markdown_cell("## What we saw\n<!-- findings -->\nold\n<!-- /findings -->")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "small.ipynb")
    return folder


def test_sentences_get_the_numbers_that_a_notebook_kept(folder):
    share = pd.Series({"a": np.float32(0.25)})
    findings.keep("small", folder.parent, errors=np.int64(1234), share=share)
    findings.write(folder.parent / "small.ipynb", folder)
    first, code, last = nbformat.read(folder.parent / "small.ipynb", 4).cells
    answer = "**Answer.** 1,234 errors, 25.0%."
    assert first.source == f"# A?\n\n<!-- answer -->\n{answer}\n<!-- /answer -->\n\nHere."
    assert "\n- One 1234.\n- Two, and more.\n" in last.source
    html = code.outputs[0].data["text/html"]
    assert html.count("T_00001") == 2 and "ABOUT_beef1" in html
    assert code.outputs[0].data["text/plain"] == "<A>"


def test_numbers_are_written_alike_on_every_processor(tmp_path):
    texts = []
    for value in (0.1 + 0.2, 0.3):
        findings.keep("small", tmp_path, value=value)
        texts.append((tmp_path / "findings" / "small.json").read_text())
    assert texts[0] == texts[1]


def test_sentences_without_a_number_stay_as_they_are(folder, capsys):
    findings.keep("small", folder.parent, errors=1)
    findings.write(folder.parent / "small.ipynb", folder)
    assert "no number for 'share'" in capsys.readouterr().out
    assert "old" in nbformat.read(folder.parent / "small.ipynb", 4).cells[0].source


@pytest.mark.parametrize("name", TEMPLATES)
def test_committed_sentences_have_the_committed_numbers(name):
    if name == "README":
        text = (ROOT / "README.md").read_text()
    else:
        cells = nbformat.read(ROOT / f"{name}.ipynb", 4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    written = findings.sentences(name, ROOT / "results" / "findings")
    assert written
    for marker, sentences in written.items():
        assert f"<!-- {marker} -->\n{sentences}\n<!-- /{marker} -->" in text


@pytest.mark.parametrize("name", TEMPLATES)
def test_sentences_state_numbers(name):
    text = (ROOT / "results" / "findings" / f"{name}.md").read_text()
    for marker in re.findall(r"<!-- (\w+) -->", text):
        assert "{" in findings.MARKED.search(text[text.index(f"<!-- {marker} -->") :])[2]
