"""The page that needs no server, docs/draw.html; `make page` or `python -m app.offline` writes it.

It is one file: template.html with the look of the app, its paper to draw on, the scripts of this
folder, and the numbers of a saved model in half precision.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from string import Template

import numpy as np
from torch import nn

from network import PIXEL_MEAN, PIXEL_STD, DeepCNN
from study import evaluation, weights

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "draw.html"
MODEL = ROOT / "models" / "robust_small.pt"
# Each needs those before it.
SCRIPTS = (
    "app/static/board.js",
    "app/offline/preparation.js",
    "app/offline/grouping.js",
    "app/offline/network.js",
    "app/offline/page.js",
)


def page() -> str:
    """Return the page that reads digits as the model of ``MODEL`` does."""

    def read(name: str) -> str:
        return (ROOT / name).read_text(encoding="utf-8")

    scripts = (f"<script>\n{read(name)}</script>" for name in SCRIPTS)
    return Template(read("app/offline/template.html")).substitute(
        icon=base64.b64encode(read("app/static/icon.svg").encode()).decode(),
        style=read("app/static/style.css"),
        model=json.dumps(numbers(weights.load_model(MODEL))),
        scripts="\n".join(scripts),
    )


def numbers(model: DeepCNN) -> dict:
    """Return what network.js needs to compute what a model with a ``TopHat`` computes.

    Its items are ``threshold``, the probability of "no digit" from which a drawing is rejected;
    ``window`` (pixels), of the top-hat; ``mean`` and ``deviation`` of the pixels; ``layers``, their
    sizes; and ``numbers``, float16 in base64: for each layer first the kernels (outputs, inputs,
    size, size), then the biases (outputs,).

    Raises:
        OverflowError: a number is too large for half precision.
    """
    layers, arrays = [], []
    for layer, kernels, biases in _convolutions(model):
        layers.append(layer)
        arrays += [kernels.ravel(), biases]
    # Little-endian on every machine. The batch normalisation was folded in double precision, so
    # each number is rounded once, and to the same value everywhere.
    with np.errstate(over="ignore"):
        halves = np.concatenate(arrays).astype("<f2")
    if not np.isfinite(halves).all():
        raise OverflowError("A weight of the model is too large for half precision.")
    return {
        "threshold": evaluation.REFUSAL_THRESHOLD,
        "window": model.features[0].top_hat.window,
        "mean": PIXEL_MEAN,
        "deviation": PIXEL_STD,
        "layers": layers,
        "numbers": base64.b64encode(halves.tobytes()).decode(),
    }


def _convolutions(model: DeepCNN) -> Iterator[tuple[dict, np.ndarray, np.ndarray]]:
    """Yield each convolution's sizes, kernels and biases, with its batch normalisation folded in.

    The last linear layer is given as a convolution of one pixel.
    """
    modules = list(model.features)
    for i, convolution in enumerate(modules):
        if not isinstance(convolution, nn.Conv2d):
            continue
        norm = modules[i + 1]
        variance, scale, mean, shift = map(
            _array, (norm.running_var, norm.weight, norm.running_mean, norm.bias)
        )
        scale = scale / np.sqrt(variance + norm.eps)
        kernels = _array(convolution.weight) * scale[:, None, None, None]
        pool = isinstance(modules[i + 2], nn.MaxPool2d)
        yield _sizes(kernels, convolution.padding[0], pool), kernels, shift - mean * scale
    kernels = _array(model.classifier.weight)[:, :, None, None]
    yield _sizes(kernels, 0, False), kernels, _array(model.classifier.bias)


def _array(tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def _sizes(kernels: np.ndarray, padding: int, pool: bool) -> dict:
    outputs, inputs, size, _ = kernels.shape
    return {"inputs": inputs, "outputs": outputs, "size": size, "padding": padding, "pool": pool}
