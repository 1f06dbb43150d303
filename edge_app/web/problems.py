"""Answers to what goes wrong: JSON for programs, a page for people, never a traceback."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, g, render_template, request
from werkzeug.exceptions import HTTPException

from edge_app.errors import UserError
from edge_app.masking import masked
from edge_app.web.site import UnknownCamera

log = logging.getLogger(__name__)

_SENTENCES = {
    401: "log in first",
    404: "there is nothing at this address",
    405: "this address does not take that method",
    413: "that is too large; send less",
    500: "something failed here; see the log",
}


def install_problems(app: Flask) -> None:
    """Answer every error of the application."""

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Any:
        status = error.code or 500
        if error.response is not None:
            return error.response
        is_own = error.description != type(error).description
        return _answer(status, str(error.description) if is_own else _SENTENCES.get(status, error.name.lower()), error)

    @app.errorhandler(UserError)
    def mistaken(error: UserError) -> Any:
        return _answer(404 if isinstance(error, UnknownCamera) else 400, masked(str(error)))

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Any:
        log.error("the dashboard failed at %s %s", request.method, request.path, exc_info=error)
        return _answer(500, _SENTENCES[500])


def _answer(status: int, sentence: str, error: Any = None) -> Any:
    headers = {"Retry-After": str(error.retry_after)} if getattr(error, "retry_after", None) else {}
    if request.path.startswith("/api/") or request.path == "/healthz":
        return {"error": sentence}, status, headers
    if g.get("visitor") is None and request.method == "HEAD":
        return "", status, headers
    return render_template("problem.html", status=status, sentence=sentence), status, headers
