"""The addresses of the page and the API: requests in, responses and their status out."""

from __future__ import annotations

import json
import logging

from flask import Flask, Response, abort, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app import uploads
from app.service import Service
from study.pictures.preparation import prepare

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


def add_to(app: Flask, service: Service) -> None:
    """Add the addresses, the security headers and the JSON error handlers to ``app``."""

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
        votes, explain = _choice("votes", True), _choice("explain", False)
        try:
            prepared = prepare(uploads.read(_image_bytes()))
        except uploads.UploadTooLargeError as error:
            abort(413, str(error))
        except uploads.UploadError as error:
            abort(400, str(error))
        return service.answer(prepared, votes=votes, explain=explain)

    app.after_request(_with_headers)
    app.register_error_handler(RequestEntityTooLarge, _too_large)
    app.register_error_handler(HTTPException, _as_json)
    app.register_error_handler(Exception, _unexpected)


def _image_bytes() -> bytes:
    """The picture in the body; multipart is refused, because large parts go to disk."""
    if request.mimetype in ("image/png", "image/jpeg"):
        return request.get_data()
    if request.mimetype != "application/json":
        abort(
            415,
            "Send a PNG (Content-Type: image/png), a JPEG (image/jpeg), or JSON with the image "
            "in base64 (application/json).",
        )
    try:
        content = json.loads(request.get_data())
    except (ValueError, RecursionError):  # RecursionError: a thousand opening brackets
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("image"), str):
        abort(400, 'The body must be JSON such as {"image": "<base64 of a PNG or JPEG>"}.')
    return uploads.from_base64(content["image"])


def _choice(name: str, default: bool) -> bool:
    value = request.args.get(name, str(int(default)))
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
    # Closing the connection while the body is still arriving would reset it, and the client would
    # never see the answer. So read the rest first, up to a limit.
    stream, left = request.environ["wsgi.input"], DRAINED
    while left > 0 and (chunk := stream.read(min(65536, left))):
        left -= len(chunk)
    if error.description == RequestEntityTooLarge.description:
        error.description = f"The body is larger than {uploads.MAX_BYTES // 2**20} MB."
    return _as_json(error)


def _unexpected(error: Exception) -> tuple[Response, int]:
    # The traceback goes to the log, without the picture; the client sees nothing of it.
    logging.getLogger(__name__).error("unexpected error", exc_info=error)
    return jsonify(error="Something went wrong on the server; the picture is not to blame."), 500
