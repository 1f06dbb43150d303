"""The database file: opening it, and bringing its schema up to date."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edge_app.errors import UserError

# Each entry brings the schema one version further, in one transaction. Entries are never changed, only added.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE run (
            id TEXT PRIMARY KEY, started_utc_s REAL NOT NULL, version TEXT NOT NULL, fingerprints TEXT NOT NULL
        )""",
        """CREATE TABLE event (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, camera TEXT NOT NULL,
            start_utc_s REAL NOT NULL, end_utc_s REAL NOT NULL, duration_s REAL NOT NULL,
            id_a INTEGER NOT NULL, id_b INTEGER NOT NULL,
            min_distance_m REAL NOT NULL, mean_distance_m REAL NOT NULL, same_group INTEGER
        )""",
        "CREATE INDEX event_by_start ON event (start_utc_s, seq)",
        "CREATE INDEX event_by_camera ON event (camera, start_utc_s, seq)",
        """CREATE TABLE minute (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, camera TEXT NOT NULL,
            minute_utc_s INTEGER NOT NULL, watched_s REAL NOT NULL, people INTEGER NOT NULL,
            violating_people INTEGER NOT NULL, violating_pairs INTEGER NOT NULL, person_s REAL NOT NULL,
            exposed_person_s REAL NOT NULL, violating_pair_s REAL NOT NULL, occupancy_max INTEGER NOT NULL,
            density_per_m2 REAL, passed_in INTEGER, passed_out INTEGER, heat BLOB NOT NULL,
            closed INTEGER NOT NULL
        )""",
        "CREATE INDEX minute_by_time ON minute (minute_utc_s, seq)",
        "CREATE INDEX minute_unfinished ON minute (seq) WHERE closed = 0",
        """CREATE TABLE notice (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, camera TEXT NOT NULL, kind TEXT NOT NULL,
            ok INTEGER NOT NULL, sentence TEXT NOT NULL, utc_s REAL NOT NULL
        )""",
        "CREATE INDEX notice_by_time ON notice (utc_s, seq)",
    ),
    (
        """CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, uid TEXT NOT NULL, topic TEXT NOT NULL,
            payload TEXT NOT NULL, created_utc_s REAL NOT NULL, UNIQUE (channel, uid)
        )""",
        "CREATE INDEX outbox_by_channel ON outbox (channel, seq)",
        """CREATE TABLE alert (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, alert TEXT NOT NULL, rule TEXT NOT NULL,
            kind TEXT NOT NULL, camera TEXT NOT NULL, state TEXT NOT NULL, sentence TEXT NOT NULL, utc_s REAL NOT NULL
        )""",
        "CREATE INDEX alert_by_time ON alert (utc_s, seq)",
    ),
    ("CREATE INDEX minute_by_camera ON minute (camera, minute_utc_s, seq)",),
    ("ALTER TABLE run ADD COLUMN watched_utc_s REAL",),
    (
        # What needs metres is NULL where it was not measured; SQLite takes NOT NULL back in a new table only.
        """CREATE TABLE minute_anew (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, camera TEXT NOT NULL,
            minute_utc_s INTEGER NOT NULL, watched_s REAL NOT NULL, people INTEGER NOT NULL,
            violating_people INTEGER, violating_pairs INTEGER, person_s REAL,
            exposed_person_s REAL, violating_pair_s REAL, occupancy_max INTEGER,
            density_per_m2 REAL, passed_in INTEGER, passed_out INTEGER, heat BLOB NOT NULL,
            closed INTEGER NOT NULL
        )""",
        "INSERT INTO minute_anew SELECT * FROM minute ORDER BY seq",
        # A number of a row that was deleted is not given again, as before.
        "DELETE FROM sqlite_sequence WHERE name = 'minute_anew'",
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'minute_anew', seq FROM sqlite_sequence WHERE name = 'minute'",
        "DROP TABLE minute",
        "ALTER TABLE minute_anew RENAME TO minute",
        "CREATE INDEX minute_by_time ON minute (minute_utc_s, seq)",
        "CREATE INDEX minute_unfinished ON minute (seq) WHERE closed = 0",
        "CREATE INDEX minute_by_camera ON minute (camera, minute_utc_s, seq)",
    ),
)
SCHEMA_VERSION = len(MIGRATIONS)

_BUSY_S = 5.0


class DamagedHistoryError(UserError):
    """The file is no database, or a broken one."""


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether an error says that the file itself is broken; Python before 3.11 gives no code for it."""
    return "malformed" in str(error) or "not a database" in str(error)


def history_error(path: Path, error: sqlite3.DatabaseError) -> UserError:
    """Return what to raise for an error of the database when it is opened: only what is damaged may be set aside."""
    if is_damage(error):
        return DamagedHistoryError(
            f"history {path} cannot be used ({error}); bring back a backup with 'edge_app storage restore', or move "
            "the file away"
        )
    return UserError(
        f"history {path} cannot be used now ({error}); free space on its disk, and end other programs that write it"
    )


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the database, make it where it is missing, and bring its schema up to date.

    Raises:
        DamagedHistoryError: the file is no database, or a broken one.
        UserError: the file cannot be opened or is locked, the disk is full, or a newer version wrote it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # For its owner alone; what SQLite makes beside it gets the same rights.
        path.touch(mode=0o600)
        connection = sqlite3.connect(str(path), timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.OperationalError) as error:
        raise UserError(
            f"history {path} cannot be opened ({error}); give a writable folder with storage.folder"
        ) from error
    try:
        # One text that is not UTF-8 must not make all others unreadable.
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        # Has an effect only on a new file: deleted rows can be given back to the disk without rewriting all.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA journal_size_limit = 8388608")
        migrate(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise history_error(path, error) from error
    except UserError:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the database read-only.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(f"history {path} does not exist; nothing was stored yet, or storage.folder is another one")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
    connection.row_factory = sqlite3.Row
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply the migrations that the database does not have yet, each with its version number or not at all.

    Raises:
        UserError: the database is newer than this program.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise UserError(
            f"history {path} has schema {version}, but this version knows {SCHEMA_VERSION}; install the newer version "
            "or restore an older backup"
        )
    for number in range(version, SCHEMA_VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in MIGRATIONS[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
