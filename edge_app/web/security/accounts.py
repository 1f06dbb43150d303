"""Accounts and API tokens, in one small file that only its owner can read. Passwords and tokens are hashed."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Optional

from werkzeug.security import check_password_hash, generate_password_hash

from edge_app.atomic_file import write_atomically
from edge_app.errors import UserError

Role = Literal["viewer", "admin"]

FILE_NAME = "accounts.json"
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 256
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
# scrypt with 32 MiB: what Werkzeug and OWASP recommend, and still bearable on a board with 1 GB as one check at a time.
_METHOD = "scrypt:32768:8:1"


@dataclass(frozen=True)
class Account:
    """Somebody who can log in; ``password_hash`` is Werkzeug's format with method, salt and digest."""

    name: str
    role: Role
    password_hash: str


@dataclass(frozen=True)
class ApiToken:
    """A program that may use the API; the token itself is random, so that a plain digest hides it."""

    name: str
    role: Role
    sha256: str


class Accounts:
    """The accounts file, read again whenever it changes; safe for many threads."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._lock = threading.Lock()
        self._checking = threading.Lock()
        self._stamp: Optional[tuple[int, int, int]] = None
        self._users: dict[str, Account] = {}
        self._tokens: dict[str, ApiToken] = {}
        # Checked when the name is unknown, so that both take the same time.
        self._nobody = ""

    def __len__(self) -> int:
        """How many people can log in."""
        with self._lock:
            self._refresh()
            return len(self._users)

    def find(self, name: str) -> Optional[Account]:
        """Return an account."""
        with self._lock:
            self._refresh()
            return self._users.get(name)

    def check(self, name: str, password: str) -> Optional[Account]:
        """Return the account if name and password fit; takes as long if they don't."""
        account = self.find(name)
        # One at a time: many at once would take 32 MiB each.
        with self._checking:
            if not self._nobody:
                self._nobody = generate_password_hash(secrets.token_urlsafe(), _METHOD)
            stored = account.password_hash if account is not None else self._nobody
            fits = check_password_hash(stored, password[: LONGEST_PASSWORD + 1])
        return account if fits else None

    def check_token(self, token: str) -> Optional[ApiToken]:
        """Return the token's entry if it is known."""
        digest = _digest(token)
        with self._lock:
            self._refresh()
            return next((one for one in self._tokens.values() if hmac.compare_digest(one.sha256, digest)), None)

    def set_password(self, name: str, password: str, role: Role) -> None:
        """Make an account, or give it another password and role; its sessions end.

        Raises:
            UserError: the name or the password will not do, or the file cannot be written.
        """
        _check_name(name)
        check_password_rules(name, password)
        account = Account(name, role, generate_password_hash(password, _METHOD))
        with self._lock:
            self._refresh()
            self._save({**self._users, name: account}, self._tokens)

    def remove(self, name: str) -> None:
        """Remove an account or a token.

        Raises:
            UserError: there is none of that name, or it is the last admin while others remain.
        """
        with self._lock:
            self._refresh()
            users = {key: account for key, account in self._users.items() if key != name}
            tokens = {key: token for key, token in self._tokens.items() if key != name}
            if len(users) + len(tokens) == len(self._users) + len(self._tokens):
                raise UserError(f"there is no account or token '{name}'; 'password list' shows them")
            if users and not any(account.role == "admin" for account in users.values()):
                raise UserError(f"'{name}' is the last admin; make another admin first")
            self._save(users, tokens)

    def make_token(self, name: str, role: Role) -> str:
        """Make an API token and return it; only its digest is kept.

        Raises:
            UserError: the name will not do, or the file cannot be written.
        """
        _check_name(name)
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._refresh()
            if name in self._users:
                raise UserError(f"'{name}' is an account; give the token another name")
            self._save(self._users, {**self._tokens, name: ApiToken(name, role, _digest(token))})
        return token

    def listing(self) -> list[tuple[str, str, Role]]:
        """Return (kind, name, role) of every account and token."""
        with self._lock:
            self._refresh()
            rows: list[tuple[str, str, Role]] = [("account", one.name, one.role) for one in self._users.values()]
            return rows + [("token", one.name, one.role) for one in self._tokens.values()]

    def _refresh(self) -> None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._stamp, self._users, self._tokens = None, {}, {}
            return
        except OSError as error:
            raise UserError(f"accounts {self.path} cannot be read ({error.strerror}); mend its permissions") from error
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp != self._stamp:
            self._users, self._tokens = _read(self.path)
            self._stamp = stamp

    def _save(self, users: dict[str, Account], tokens: dict[str, ApiToken]) -> None:
        content: dict[str, Any] = {
            "accounts_file": 1,
            "users": [asdict(one) for one in users.values()],
            "tokens": [asdict(one) for one in tokens.values()],
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self.path, json.dumps(content, indent=2) + "\n", mode=0o600)
        except OSError as error:
            raise UserError(
                f"accounts {self.path} cannot be written ({error.strerror}); give a writable dashboard.folder"
            ) from error
        self._stamp = None


def check_password_rules(name: str, password: str) -> None:
    """Refuse passwords that are guessed first.

    Raises:
        UserError: it is too short, too long, or one character or the name over and over.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UserError(f"the password needs {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; think of a sentence")
    if len(set(password)) < 4 or password.lower().replace(name, "") == "":
        raise UserError("the password is too easy to guess; use several words that are not your name")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UserError("a name is 1 to 32 small letters, digits, dots, hyphens or underscores; give another")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _read(path: Path) -> tuple[dict[str, Account], dict[str, ApiToken]]:
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise UserError(f"accounts {path} can be read by others; run 'chmod 600 {path}'")
        content = json.loads(path.read_text(encoding="utf-8"))
        users = {row["name"]: Account(row["name"], _role(row), row["password_hash"]) for row in content["users"]}
        tokens = {row["name"]: ApiToken(row["name"], _role(row), row["sha256"]) for row in content["tokens"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        # Never taken for an empty file: then everybody on this machine would be an admin.
        raise UserError(f"accounts {path} cannot be read; restore it, or remove it and set passwords again") from error
    return users, tokens


def _role(row: dict[str, Any]) -> Role:
    if row["role"] not in ("viewer", "admin"):
        raise ValueError(row["role"])
    role: Role = row["role"]
    return role
