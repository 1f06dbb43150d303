"""Stands in front of every route: host name, login, role, CSRF; and behind every answer: its security headers."""

from __future__ import annotations

import ipaddress
import logging
import secrets
from typing import Any, Optional
from urllib.parse import urlencode, urlsplit

from flask import Flask, Request, Response, abort, current_app, g, redirect, request, url_for
from werkzeug.exceptions import TooManyRequests

from edge_app.errors import UserError
from edge_app.web.security.access import Visitor, access_of
from edge_app.web.security.hosts import is_loopback
from edge_app.web.security.security import Security

log = logging.getLogger(__name__)

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PAGE_METHODS = frozenset({"GET", "HEAD"})
# Who asks for these is no person: a login page would be taken for the answer.
_FOR_PROGRAMS = ("/api/", "/metrics")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}


def install_guard(app: Flask, security: Security) -> None:
    """Guard every route of the application, those that are added later too."""

    @app.before_request
    def guard() -> Any:
        if request.host not in security.hosts:
            abort(Response("this dashboard does not answer to that host name; see dashboard.hosts\n", 403,
                           mimetype="text/plain"))  # fmt: skip
        wait_s = 0 if is_local() else security.requests.wait_s(network())
        if wait_s > 0:
            raise TooManyRequests(f"too many requests; wait {wait_s} seconds", retry_after=wait_s)
        _check_accounts(security)
        view = current_app.view_functions.get(request.endpoint or "")
        access = "everyone" if request.endpoint == "static" else access_of(view)
        g.visitor = _who_asks(security)
        # Flask answers OPTIONS by itself; without a session it would tell which methods an address takes.
        if g.visitor is None and (access != "everyone" or request.method == "OPTIONS"):
            return _send_to_login(security)
        if g.visitor is not None and g.visitor.role != "admin" and _needs_admin(access):
            abort(403, "only an admin may do that; log in as one")
        _check_origin(security)
        return None

    @app.after_request
    def add_headers(response: Response) -> Response:
        return _secured(response, security)

    @app.context_processor
    def page_values() -> dict[str, Any]:
        return {
            "csrf_token": lambda: security.sessions.csrf_token(browser_key()),
            "style_nonce": style_nonce,
            "visitor": g.get("visitor"),
            "has_login": security.needs_login(),
        }


def style_nonce() -> str:
    """Return what allows this answer's own inline styles, those of its charts."""
    if "style_nonce" not in g:
        g.style_nonce = secrets.token_urlsafe(16)
    nonce: str = g.style_nonce
    return nonce


def browser_key() -> str:
    """Return the value of the browser's cookie; one is given to it if it has none."""
    key = request.cookies.get(cookie_name(request), "")
    if "browser_key" not in g:
        g.browser_key = key or secrets.token_urlsafe(32)
    found: str = g.browser_key
    return found


def give_key(key: str) -> None:
    """Give the browser another cookie value with this answer: a login must never keep one from before."""
    g.browser_key = key


def cookie_name(asked: Request) -> str:
    """Return the cookie's name; over HTTPS one that only this very host can set."""
    return "__Host-edge_session" if asked.is_secure else "edge_session"


def local_path(target: str) -> str:
    """Return ``target`` if it is a path of this site, else the first page: no redirect leads elsewhere."""
    parts = urlsplit(target)
    is_path = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return target if is_path and target.isprintable() and "\\" not in target else url_for("pages.live")


def _check_accounts(security: Security) -> None:
    """Let nobody in while the accounts can't be read: they may say that a login is needed."""
    try:
        len(security.accounts)
    except UserError as error:
        log.error("%s", error)
        abort(Response("the accounts cannot be read, see the log\n", 503, mimetype="text/plain"))


def _who_asks(security: Security) -> Optional[Visitor]:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        entry = security.accounts.check_token(token.strip())
        return Visitor(entry.name, entry.role, by_cookie=False) if entry is not None else None
    if not security.needs_login():
        return Visitor("local", "admin", by_cookie=True)
    session = security.sessions.find(request.cookies.get(cookie_name(request), ""))
    return Visitor(session.name, session.role, by_cookie=True) if session is not None else None


def _send_to_login(security: Security) -> Any:
    if request.path.startswith(_FOR_PROGRAMS) or request.method not in _PAGE_METHODS or request.endpoint is None:
        abort(401, "log in first, or send an API token as 'Authorization: Bearer …'")
    page = "login.first_password" if security.first_token is not None else "login.login"
    return redirect(f"{url_for(page)}?{urlencode({'next': request.full_path.rstrip('?')})}", 303)


def _needs_admin(access: str) -> bool:
    return access == "admins" or (access == "readers" and request.method not in _SAFE_METHODS)


def _check_origin(security: Security) -> None:
    """Refuse changes that a page elsewhere made the browser ask for."""
    if request.method in _SAFE_METHODS or (g.visitor is not None and not g.visitor.by_cookie):
        return
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    key = request.cookies.get(cookie_name(request), "")
    token = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
    if site not in ("same-origin", "none") or not security.sessions.is_csrf_token(key, token):
        security.audit.refuse("refused: CSRF", who=_name(), address=address(), path=request.path)
        abort(403, "this page is out of date or the request came from elsewhere; load the page again")


def _secured(response: Response, security: Security) -> Response:
    nonce = f" 'nonce-{g.style_nonce}'" if "style_nonce" in g else ""
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'{nonce}; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    response.headers["Content-Security-Policy"] = policy
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    name = cookie_name(request)
    if "browser_key" in g and g.browser_key != request.cookies.get(name):
        # Lax, not strict: the link in an alert must find its reader logged in. Changes need the CSRF token anyway.
        response.set_cookie(
            name, g.browser_key, secure=request.is_secure, httponly=True, samesite="Lax", path="/"
        )  # fmt: skip
    return response


def address() -> str:
    """Return the network address of who asks."""
    return request.remote_addr or "unknown"


def network() -> str:
    """Return the address of who asks, or of IPv6 the network that one subscriber has."""
    try:
        found = ipaddress.ip_address(address())
    except ValueError:
        return address()
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def is_local() -> bool:
    """Tell whether who asks is on this very machine."""
    return is_loopback(address())


def _name() -> str:
    return g.visitor.name if g.get("visitor") is not None else "nobody"
