"""The fleet's PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from edge_app.delivery.messages import AlertMessage, EventMessage, MinuteMessage, NoticeMessage
from edge_app.errors import UserError

FleetMessage = Union[EventMessage, MinuteMessage, NoticeMessage, AlertMessage]

# Each entry brings the schema one version further. Entries are never changed, only added.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE device (
        name text PRIMARY KEY, online boolean NOT NULL, status_utc timestamptz NOT NULL, last_message_utc timestamptz
    );
    CREATE TABLE event (
        id text PRIMARY KEY, device text NOT NULL, camera text NOT NULL, start_utc timestamptz NOT NULL,
        end_utc timestamptz NOT NULL, duration_s double precision NOT NULL, id_a bigint NOT NULL, id_b bigint NOT NULL,
        min_distance_m double precision NOT NULL, mean_distance_m double precision NOT NULL, same_group boolean,
        received_utc timestamptz NOT NULL
    );
    CREATE INDEX event_by_time ON event (start_utc);
    CREATE INDEX event_by_device ON event (device, camera, start_utc);
    CREATE TABLE minute (
        id text PRIMARY KEY, device text NOT NULL, camera text NOT NULL, minute_utc timestamptz NOT NULL,
        watched_s double precision NOT NULL, people bigint NOT NULL, violating_people bigint NOT NULL,
        violating_pairs bigint NOT NULL, person_s double precision NOT NULL, exposed_person_s double precision NOT NULL,
        violating_pair_s double precision NOT NULL, occupancy_max bigint NOT NULL, density_per_m2 double precision,
        passed_in bigint, passed_out bigint, cell_m double precision NOT NULL, heat jsonb NOT NULL,
        received_utc timestamptz NOT NULL
    );
    CREATE INDEX minute_by_time ON minute (minute_utc);
    CREATE INDEX minute_by_device ON minute (device, camera, minute_utc);
    CREATE TABLE notice (
        id text PRIMARY KEY, device text NOT NULL, camera text NOT NULL, about text NOT NULL, ok boolean NOT NULL,
        sentence text NOT NULL, utc timestamptz NOT NULL, received_utc timestamptz NOT NULL
    );
    CREATE INDEX notice_by_time ON notice (utc);
    CREATE TABLE alert (
        id text PRIMARY KEY, device text NOT NULL, camera text NOT NULL, alert text NOT NULL, rule text NOT NULL,
        about text NOT NULL, state text NOT NULL, sentence text NOT NULL, utc timestamptz NOT NULL,
        received_utc timestamptz NOT NULL
    );
    CREATE INDEX alert_by_time ON alert (utc);
    """,
    """
    CREATE TABLE refused (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, device text NOT NULL, id text NOT NULL,
        reason text NOT NULL, payload bytea NOT NULL, received_utc timestamptz NOT NULL
    );
    """,
    # What needs metres is null where it was not measured. What is stored already stays; no row is rewritten.
    """
    ALTER TABLE minute
        ALTER COLUMN violating_people DROP NOT NULL, ALTER COLUMN violating_pairs DROP NOT NULL,
        ALTER COLUMN person_s DROP NOT NULL, ALTER COLUMN exposed_person_s DROP NOT NULL,
        ALTER COLUMN violating_pair_s DROP NOT NULL, ALTER COLUMN occupancy_max DROP NOT NULL;
    """,
)
KINDS = ("event", "minute", "notice", "alert")
# Taken by whoever migrates, so that two that start at once do not collide.
_MIGRATION_LOCK = 736_114
# Whoever sends nothing but nonsense must not fill the disk.
_MOST_REFUSED = 1000


@dataclass(frozen=True)
class RefusedMessage:
    """A message that can never be stored where it belongs.

    Attributes:
        device: by its topic.
        id: of the message; empty where it has none that can be read.
        reason: one sentence.
        payload: as it came, or its beginning.
    """

    device: str
    id: str
    reason: str
    payload: bytes


@dataclass
class StoreResult:
    """What became of a batch.

    Attributes:
        new: how many were not there before.
        unfit: by place in the batch, why the database can never store the message.
        held: by place in the batch, why the message could not be stored this time; it is to be tried again.
    """

    new: int = 0
    unfit: dict[int, str] = field(default_factory=dict)
    held: dict[int, str] = field(default_factory=dict)


def load_psycopg() -> Any:
    """Return the PostgreSQL library.

    Raises:
        UserError: it is not installed.
    """
    try:
        import psycopg  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UserError(
            "the fleet's database needs psycopg; in this application's folder: pip install -e '.[fleet]'"
        ) from error
    return psycopg


class FleetDatabase:
    """One connection to the fleet's database. For one thread."""

    def __init__(self, url: str) -> None:
        """Connect, and bring the schema up to date.

        Raises:
            psycopg.OperationalError: the database is not there.
            UserError: the library is missing, or the schema is newer than this program.
        """
        self._psycopg = load_psycopg()
        self._connection = self._psycopg.connect(url, connect_timeout=5, autocommit=True)
        try:
            self._migrate()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def store(self, messages: Iterable[FleetMessage]) -> StoreResult:
        """Store messages, in one transaction where all can be stored; those that are there already stay as they are.

        Raises:
            psycopg.OperationalError, psycopg.InterfaceError: the database is gone; some may be stored.
        """
        batch = list(messages)
        try:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                return StoreResult(sum(self._insert(cursor, kind, batch) for kind in KINDS))
        except self._unfit_errors():
            pass
        except (self._psycopg.OperationalError, self._psycopg.InterfaceError):
            raise
        except self._psycopg.Error:
            self._raise_if_gone()
        return self._store_singly(batch)

    def set_status(self, online: Mapping[str, bool]) -> dict[str, str]:
        """Store which devices came or went, now.

        Returns:
            By device, why its name can never be stored.

        Raises:
            psycopg.Error: the database is gone or refuses whatever the name is.
        """
        unfit = {}
        try:
            self._set_status(online)
        except self._unfit_errors():
            for name, state in online.items():
                try:
                    self._set_status({name: state})
                except self._unfit_errors() as error:
                    self._raise_if_gone()
                    unfit[name] = _one_line(error)
        return unfit

    def set_aside(self, messages: Iterable[RefusedMessage]) -> None:
        """Keep what cannot be stored, so that a person can look at it: the latest thousand.

        Raises:
            psycopg.Error: the database is gone.
        """
        rows = [(_plain(m.device), _plain(m.id), _plain(m.reason), m.payload) for m in messages]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO refused (device, id, reason, payload, received_utc) "
                "VALUES (%s, %s, %s, %s, clock_timestamp())",
                rows,
            )
            cursor.execute(
                "DELETE FROM refused WHERE number <= (SELECT max(number) FROM refused) - %s", (_MOST_REFUSED,)
            )

    def query(self, sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, list(parameters))
            return list(cursor.fetchall())

    def _store_singly(self, batch: list[FleetMessage]) -> StoreResult:
        """Store one after the other, so that one message does not hold up the others."""
        result = StoreResult()
        for place, message in enumerate(batch):
            try:
                with self._connection.transaction(), self._connection.cursor() as cursor:
                    result.new += self._insert(cursor, message.kind, [message])
            except self._unfit_errors() as error:
                self._raise_if_gone()
                result.unfit[place] = _one_line(error)
            except self._psycopg.Error as error:
                self._raise_if_gone()
                result.held[place] = _one_line(error)
        return result

    def _unfit_errors(self) -> tuple[type[Exception], ...]:
        """Return what is raised for values that no later try can store."""
        psycopg = self._psycopg
        # Too long for an index is an OperationalError to psycopg; what Python cannot encode is none of its errors.
        too_much = psycopg.errors.ProgramLimitExceeded
        return (psycopg.DataError, psycopg.IntegrityError, too_much, UnicodeEncodeError)

    def _raise_if_gone(self) -> None:
        if self._connection.closed:
            raise self._psycopg.OperationalError("the connection to the database is lost")

    def _set_status(self, online: Mapping[str, bool]) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                """INSERT INTO device (name, online, status_utc) VALUES (%s, %s, now())
                ON CONFLICT (name) DO UPDATE SET online = excluded.online, status_utc = excluded.status_utc""",
                list(online.items()),
            )

    def _insert(self, cursor: Any, kind: str, messages: list[FleetMessage]) -> int:
        rows = [_row(message) for message in messages if message.kind == kind]
        if not rows:
            return 0
        values = ", ".join(_placeholder(name) for name in rows[0])
        names = ", ".join(_column(name) for name in rows[0])
        cursor.executemany(
            f"INSERT INTO {kind} ({names}, received_utc) VALUES ({values}, clock_timestamp()) "
            "ON CONFLICT (id) DO NOTHING",
            rows,
        )
        new = int(cursor.rowcount)
        cursor.executemany(
            """INSERT INTO device (name, online, status_utc, last_message_utc) VALUES (%s, true, now(), now())
            ON CONFLICT (name) DO UPDATE SET last_message_utc = now()""",
            [(device,) for device in sorted({message.device for message in messages if message.kind == kind})],
        )
        return new

    def _migrate(self) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            cursor.execute("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)")
            cursor.execute("SELECT max(version) FROM schema_version")
            version = int(cursor.fetchone()[0] or 0)
            if version > len(MIGRATIONS):
                raise UserError(
                    f"the fleet's database has schema {version}, but this version knows {len(MIGRATIONS)}; install the "
                    "newer version"
                )
            for number in range(version, len(MIGRATIONS)):
                cursor.execute(MIGRATIONS[number])
                cursor.execute("INSERT INTO schema_version VALUES (%s)", (number + 1,))


def _row(message: FleetMessage) -> dict[str, Any]:
    """Return the values of a message by field name; the heat map as JSON text."""
    row = message.model_dump(exclude={"version", "kind", "heat"})
    if isinstance(message, MinuteMessage):
        row["heat"] = message.model_dump_json(include={"heat"}).removeprefix('{"heat":').removesuffix("}")
    return row


def _column(field: str) -> str:
    return field.removesuffix("_s") if field.endswith("utc_s") else field


def _placeholder(field: str) -> str:
    value = f"%({field})s"
    if field.endswith("utc_s"):
        return f"to_timestamp({value})"
    return f"{value}::jsonb" if field == "heat" else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _plain(text: str) -> str:
    """Return text that PostgreSQL takes: no zero characters, no halves of surrogate pairs."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
