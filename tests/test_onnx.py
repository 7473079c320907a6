"""The recipe of docs/api.md writes a network that answers the same in another runtime."""

from __future__ import annotations

import re

import numpy as np
import onnxruntime
import pytest
import torch

from conftest import ROOT
from study import data
from study.weights import load_model

BLOCKS = re.findall(
    r"^```python\n(.*?)^```$",
    (ROOT / "docs" / "api.md").read_text(encoding="utf-8").partition("\n## ONNX\n")[2],
    re.S | re.M,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the recipe was followed, with nothing but models/."""
    folder = tmp_path_factory.mktemp("onnx")
    (folder / "models").symlink_to(ROOT / "models")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(BLOCKS[0], {})
    return folder


def test_same_logits_for_any_number_of_images(folder, digits):
    """Of digits, of what is no digit, and of a blank image, on which the top-hat divides by 0."""
    network = load_model(ROOT / "models" / "robust.pt")
    assert network.arguments["window"], "the test is to include the top-hat"
    session = onnxruntime.InferenceSession(folder / "robust.onnx")
    noise = torch.rand(60, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    shadow = torch.linspace(0, 0.5, 28).expand(60, 1, 28, 28)
    images = data.to_float(digits[1].images[:60])
    images = torch.cat([images, (images + shadow).clamp(max=1), noise, torch.zeros(1, 1, 28, 28)])
    for count in (1, 2, 3, 64, len(images)):
        given = images[-count:]
        with torch.no_grad():
            wanted = network(given).numpy()
        (logits,) = session.run(["logits"], {"images": given.numpy()})
        assert logits.shape == (count, 11) and logits.dtype == np.float32
        np.testing.assert_allclose(logits, wanted, atol=1e-3, rtol=1e-4)
    assert (logits[:60].argmax(1) == digits[1].labels[:60].numpy()).mean() > 0.95


def test_one_file_is_all_that_is_needed(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["models", "robust.onnx"]


def test_python_that_is_shown_reads_it(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(BLOCKS[1], names)
    assert names["logits"].shape == (5, 11)
    assert (names["logits"].argmax(1) == 10).all()  # what is shown is blank: no digit
