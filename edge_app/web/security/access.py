"""Marks on views that say who may use them. Unmarked ones: everybody who is logged in may read, admins may change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from flask import g

from edge_app.web.security.accounts import Role

View = TypeVar("View", bound=Callable[..., Any])
Access = Literal["everyone", "viewers", "readers", "admins"]


@dataclass(frozen=True)
class Visitor:
    """Who asks.

    Attributes:
        name: of the account or token; ``local`` on a machine of one's own without accounts.
        role: what they may do.
        by_cookie: whether the browser sends the proof by itself, so that a page elsewhere could make it do so.
    """

    name: str
    role: Role
    by_cookie: bool


def open_to_everyone(view: View) -> View:
    """Let people in who have not logged in."""
    return _mark(view, "everyone")


def open_to_viewers(view: View) -> View:
    """Let viewers use the view whatever its method."""
    return _mark(view, "viewers")


def admins_only(view: View) -> View:
    """Let only admins use the view, reading included."""
    return _mark(view, "admins")


def access_of(view: Any) -> Access:
    """Return a view's mark."""
    access: Access = getattr(view, "access", "readers")
    return access


def visitor() -> Visitor:
    """Return who asks; the guard has let them in."""
    found: Visitor = g.visitor
    return found


def _mark(view: View, access: Access) -> View:
    view.access = access  # type: ignore[attr-defined]
    return view
