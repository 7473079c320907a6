"""The README keeps its promises: its numbers, its commands, its links."""

from __future__ import annotations

import pytest

from study.report import machine, write_row


def test_a_row_for_each_machine_is_added_or_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- speed -->\n<!-- /speed -->\nafter\n", encoding="utf-8")
    here = machine()
    assert set(here) == {"processor", "cores", "day"}
    other = here | {"processor": "another", "day": "2026-01-31"}
    write_row(page, "speed", here | {"seconds": "4.10"})
    write_row(page, "speed", other | {"seconds": "2", "note": ""})
    write_row(page, "speed", here | {"seconds": "3.90", "note": "warm"})
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- speed -->\n|") and text.endswith("\nafter\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:-2]]
    assert rows[0] == ["processor", "cores", "day", "seconds", "note"]
    assert rows[2] == [*here.values(), "3.90", "warm"]
    assert rows[3] == [*other.values(), "2", ""]
    assert len(rows) == 4
    with pytest.raises(ValueError, match="<!-- load -->"):
        write_row(page, "load", here)
