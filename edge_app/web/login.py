"""Logging in and out, and the first password."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.exceptions import TooManyRequests

from edge_app.errors import UserError
from edge_app.web.security.access import open_to_everyone, open_to_viewers, visitor
from edge_app.web.security.accounts import LONGEST_PASSWORD, SHORTEST_PASSWORD
from edge_app.web.security.guard import address, cookie_name, give_key, local_path, network
from edge_app.web.security.security import Security


def login_pages(security: Security) -> Blueprint:
    """Make the pages."""
    pages = Blueprint("login", __name__)

    @pages.get("/login")
    @open_to_everyone
    def login() -> Any:
        if security.first_token is not None:
            return redirect(url_for("login.first_password"), 303)
        return render_template("login.html", next=local_path(request.args.get("next", "/")), name="", mistake=None)

    @pages.post("/login")
    @open_to_everyone
    def log_in() -> Any:
        name = request.form.get("name", "")[:64].strip().lower()
        target = local_path(request.form.get("next", "/"))
        _slow_down(security, name)
        account = security.accounts.check(name, request.form.get("password", "")[: LONGEST_PASSWORD + 1])
        if account is None:
            security.by_address.fail(network())
            security.by_name.fail(name)
            security.audit.refuse("login failed", who=name, address=address())
            mistake = "name or password is wrong; try again"
            return render_template("login.html", next=target, name=name, mistake=mistake), 401
        security.by_address.succeed(network())
        security.by_name.succeed(name)
        _begin(security, account)
        return redirect(target, 303)

    @pages.post("/logout")
    @open_to_viewers
    def log_out() -> Any:
        security.sessions.end(request.cookies.get(cookie_name(request), ""))
        security.audit.write("logout", who=visitor().name, address=address())
        response = redirect(url_for("login.login"), 303)
        response.headers["Clear-Site-Data"] = '"cache"'
        return response

    @pages.get("/first-password")
    @open_to_everyone
    def first_password() -> Any:
        if security.first_token is None:
            return redirect(url_for("login.login"), 303)
        return render_template("first_password.html", mistake=None, shortest=SHORTEST_PASSWORD)

    @pages.post("/first-password")
    @open_to_everyone
    def set_first_password() -> Any:
        token = security.first_token
        if token is None:
            abort(403, "there is a password already; log in, or run 'python -m edge_app password set'")
        _slow_down(security, "")
        if not hmac.compare_digest(token.encode(), request.form.get("token", "").strip().encode()):
            security.by_address.fail(network())
            security.audit.refuse("first password refused", who="nobody", address=address())
            return _first_again("that is not the token that the console shows", 401)
        password = request.form.get("password", "")
        if password != request.form.get("again", ""):
            return _first_again("the two passwords differ; type the same one twice", 400)
        try:
            security.accounts.set_password("admin", password, "admin")
        except UserError as error:
            return _first_again(str(error), 400)
        security.audit.write("first password set", who="admin", address=address())
        _begin(security, security.accounts.find("admin"))
        return redirect(url_for("pages.live"), 303)

    return pages


def _first_again(mistake: str, status: int) -> Any:
    return render_template("first_password.html", mistake=mistake, shortest=SHORTEST_PASSWORD), status


def _begin(security: Security, account: Any) -> None:
    """Begin a session, under a new name: one that was planted in the browser before is worth nothing."""
    security.sessions.end(request.cookies.get(cookie_name(request), ""))
    give_key(security.sessions.begin(account))
    security.audit.write("login", who=account.name, address=address())


def _slow_down(security: Security, name: str) -> None:
    wait_s = max(security.by_address.wait_s(network()), security.by_name.wait_s(name) if name else 0)
    if wait_s > 0:
        security.audit.refuse("login delayed", who=name, address=address())
        raise TooManyRequests(f"too many wrong tries; wait {wait_s} seconds", retry_after=wait_s)
