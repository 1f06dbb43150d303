"""Puts events, minutes and alerts into a history that nobody else writes."""

from __future__ import annotations

from edge_app.storage import Store
from edge_app.storage.schema import open_for_writing
from edge_app.storage.statements import add_alert, add_event, put_minute


def put(store: Store, events=(), minutes=(), alerts=()):
    minutes_put = (put_minute(one, closed=True) for one in minutes)
    put_all(store, [*map(add_event, events), *minutes_put, *map(add_alert, alerts)])


def put_all(store: Store, statements):
    connection = open_for_writing(store.path)
    connection.execute("BEGIN")
    for statement in statements:
        connection.execute(statement.sql, statement.parameters)
    connection.execute("COMMIT")
    connection.close()
