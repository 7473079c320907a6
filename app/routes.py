"""The addresses of the page and the API: requests in, responses and their status out."""

import torch
from flask import Flask, Response, abort, jsonify, request
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge

from app import uploads
from app.service import Service

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
DRAINED = 64 * 2**20  # bytes of an oversized body that are read and dropped


def create_app(service: Service | None = None) -> Flask:
    """Return the app with its models loaded, and limit PyTorch to one thread per prediction.

    Args:
        service: gives the answers; by default, one with the saved models of this repository.

    Raises:
        ModelFileError: the answering model cannot be loaded.
    """
    # An image of 28x28 is too small to be shared among cores; requests are served side by side.
    torch.set_num_threads(1)
    service = service or Service()
    app = Flask(__name__)
    app.request_class = uploads.Request
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = uploads.MAX_BYTES
    app.json.sort_keys = False  # keep the order in which an answer is written: it reads best

    @app.get("/")
    def page() -> Response:
        return app.send_static_file("index.html")

    @app.get("/healthz")
    def healthz() -> dict:
        return {"status": "ok"}

    @app.get("/api/models")
    def models() -> dict:
        return {"models": service.models()}

    @app.post("/api/predict")
    def predict() -> dict:
        if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            abort(403, "A browser may send requests only from this server's own page.")
        content = uploads.received(request)
        votes, explain = _choice("votes", "1"), _choice("explain", "0")
        return service.answer(uploads.read(content), votes=votes, explain=explain)

    app.after_request(_with_headers)
    app.register_error_handler(RequestEntityTooLarge, _too_large)
    app.register_error_handler(HTTPException, _as_json)
    app.register_error_handler(InternalServerError, _unexpected)
    return app


def _choice(name: str, default: str) -> bool:
    value = request.args.get(name, default)
    if value not in ("0", "1"):
        abort(400, f"{name} must be 0 or 1.")
    return value == "1"


def _with_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    if request.path.startswith("/api/"):
        response.headers["Cache-Control"] = "no-store"
    return response


def _as_json(error: HTTPException) -> tuple[Response, int]:
    return jsonify(error=error.description), error.code


def _too_large(error: RequestEntityTooLarge) -> tuple[Response, int]:
    if error.description == RequestEntityTooLarge.description:  # the body, which Flask did not read
        error.description = uploads.TOO_LARGE
        # Closing the connection while the body is still arriving would reset it, and the client
        # would never see the answer. So read the rest first, up to a limit.
        stream, left = request.environ["wsgi.input"], request.content_length or DRAINED
        left = min(left, DRAINED)  # beyond its length, Flask's own server would wait for ever
        while left > 0 and (chunk := stream.read(min(65536, left))):
            left -= len(chunk)
    return _as_json(error)


def _unexpected(_: InternalServerError) -> tuple[Response, int]:
    # Flask has logged the traceback, without the picture; the client sees nothing of it.
    return jsonify(error="Something went wrong on the server; the picture is not to blame."), 500
