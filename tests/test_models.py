"""Every saved model, tested again against the numbers that are published with it."""

from __future__ import annotations

import re

import nbformat
import pytest

import evaluation
import training
from conftest import ROOT


@pytest.fixture(scope="module")
def errors(digits):
    def count(name):
        model = training.load_model(ROOT / "models" / f"{name}.pt")
        logits = evaluation.predict(model, digits[1].images)
        return len(digits[1]) - evaluation.num_correct(logits, digits[1].labels)

    return count


def printed(notebook: str) -> str:
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    outputs = (output for cell in cells for output in cell.get("outputs", []))
    return "\n".join(output.get("text", "") for output in outputs)


def test_without_validation_is_as_good_as_its_notebook_says(errors):
    shown = re.search(r"(\d+) errors in 10000 images", printed("train.ipynb"))
    assert errors("without_validation") == int(shown[1])
    assert int(shown[1]) <= 70
