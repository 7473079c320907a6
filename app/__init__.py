"""The draw-a-digit page and its API; they use the study, never the reverse.

Run them from the root of the repository: `make app`, or `flask --app "app:create_app()" run`.
"""

from __future__ import annotations

import torch
from flask import Flask

from app import routes
from app.service import Service
from app.uploads import MAX_BYTES


def create_app(service: Service | None = None) -> Flask:
    """Return the app with its models loaded, and limit PyTorch to one thread a prediction.

    Args:
        service: what answers; by default, one with the saved models of this repository.

    Raises:
        ModelFileError: the answering model cannot be loaded.
    """
    # An image of 28x28 is too small to be shared among cores; requests are served side by side.
    torch.set_num_threads(1)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    app.json.sort_keys = False  # keep the order in which an answer is written: it reads best
    app.json.compact = True
    routes.add_to(app, service or Service())
    return app
