"""The draw-a-digit page and its API.

The page uses the study (``mnist``, ``training``, ``evaluation``), never the reverse; run it from
the root of the repository.
"""

from __future__ import annotations

from flask import Flask

from app import routes
from app.service import Service
from app.uploads import MAX_BYTES


def create_app(service: Service | None = None) -> Flask:
    """Return the app, with every model loaded.

    Args:
        service: what answers; by default one with the models of this repository.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    app.json.sort_keys = False  # an answer reads best in the order it was written in
    app.json.compact = True
    routes.add_to(app, service or Service())
    return app
