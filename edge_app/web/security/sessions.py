"""Sessions of people who have logged in: kept here, the browser only holds a random name for one."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from edge_app.web.security.accounts import Account, Accounts, Role

_IDLE_S = 12 * 3600.0
_LONGEST_S = 7 * 24 * 3600.0
# Oldest ones end when there are more.
_MOST = 200


@dataclass
class Session:
    """One login.

    Attributes:
        name, role: of the account at login.
        password_hash: of the account at login; the session ends when it changes.
        started_s, seen_s: monotonic clock.
    """

    name: str
    role: Role
    password_hash: str
    started_s: float
    seen_s: float


class Sessions:
    """All sessions of this process; a restart ends them."""

    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = accounts
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._secret = secrets.token_bytes(32)

    def begin(self, account: Account) -> str:
        """Begin a session under a name that nobody knew before, and return that name."""
        key = secrets.token_urlsafe(32)
        now_s = self._clock()
        with self._lock:
            while len(self._sessions) >= _MOST:
                del self._sessions[min(self._sessions, key=lambda one: self._sessions[one].seen_s)]
            self._sessions[key] = Session(account.name, account.role, account.password_hash, now_s, now_s)
        return key

    def find(self, key: str) -> Optional[Session]:
        """Return a session that still holds: not idle for long, and its account as it was."""
        now_s = self._clock()
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            account = self._accounts.find(session.name)
            is_old = now_s - session.seen_s > _IDLE_S or now_s - session.started_s > _LONGEST_S
            if (
                is_old
                or account is None
                or (account.password_hash, account.role)
                != (
                    session.password_hash,
                    session.role,
                )
            ):
                del self._sessions[key]
                return None
            session.seen_s = now_s
            return session

    def end(self, key: str) -> None:
        """End a session, if there is one."""
        with self._lock:
            self._sessions.pop(key, None)

    def csrf_token(self, key: str) -> str:
        """Return what a form must send back beside the cookie ``key``; a page elsewhere can't know it."""
        return hmac.new(self._secret, key.encode(), hashlib.sha256).hexdigest()

    def is_csrf_token(self, key: str, token: str) -> bool:
        """Tell whether a form came from a page of ours."""
        return bool(key) and hmac.compare_digest(self.csrf_token(key).encode(), token.encode())
