"""The sinks that a configuration asks for, ready to take results."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Optional, Union

from edge_app.alerts.rules import SETTLE_S, Alert, LeftOpen
from edge_app.alerts.sink import AlertSink
from edge_app.config import Config, MetricsConfig
from edge_app.delivery.messages import Message, alert_message, event_message, minute_messages, notice_message
from edge_app.delivery.post_office import PostOffice
from edge_app.masking import mask_secrets_in_logs
from edge_app.sinks import ResultSink, StatusNotice
from edge_app.storage.rows import MinuteAggregate, StoredAlert, StoredEvent
from edge_app.storage.sink import StorageSink
from edge_app.storage.statements import Statement, add_alert
from edge_app.storage.store import LeftBehind


@contextmanager
def open_sinks(
    config: Config, metrics: Optional[Mapping[str, MetricsConfig]] = None, post: Optional[PostOffice] = None
) -> Iterator[list[ResultSink]]:
    """Open storage, alerts and the ways out for a live run, and close them in order at the end.

    Args:
        config: the configuration.
        metrics: region and line of each camera; default: those of the one camera named ``camera``.
        post: all ways out of this configuration; default: a new one.

    Raises:
        UserError: something configured cannot be used.
    """
    if not config.storage.enabled:
        yield []
        return
    mask_secrets_in_logs()
    places = metrics if metrics is not None else {"camera": config.metrics}
    post = post or PostOffice(config)
    with ExitStack() as stack:

        def hear(notice: StatusNotice) -> None:
            alerts.notice(notice)

        storage = StorageSink(
            config.storage,
            places,
            lambda uid, thing: post.put(_messages(post.device, uid, thing)),
            hear,
        )
        stack.callback(storage.close)

        def tell(told: Iterable[Alert]) -> None:
            for alert in told:
                storage.writer.put(_alert_statements(post, alert))

        left = _left_open(storage.left_behind)
        alerts = AlertSink(config.alerts, places, storage.run, tell, left, _settle_s(config))
        stack.callback(alerts.close)
        storage.start()
        post.open(storage.writer, alerts.states)
        stack.callback(post.close)
        yield [storage, alerts]


def _left_open(left: LeftBehind) -> LeftOpen:
    alerts = tuple(
        Alert(row.alert, row.rule, row.kind, row.camera, "firing", row.sentence, row.utc_s) for row in left.alerts
    )
    return LeftOpen(alerts, left.last_told_utc_s, time.time() - left.watched_utc_s)


def _settle_s(config: Config) -> float:
    """Return how long a camera's fault may take to be noticed again: by then it stalls, or its picture is frozen."""
    sources = [camera.source for camera in config.for_each_camera().values()]
    return SETTLE_S + max(max(2 * source.stall_timeout_s, source.frozen_timeout_s) for source in sources)


def _messages(device: str, uid: str, thing: Union[StoredEvent, StatusNotice, MinuteAggregate]) -> list[Message]:
    if isinstance(thing, StoredEvent):
        return [event_message(device, thing)]
    if isinstance(thing, MinuteAggregate):
        return list(minute_messages(device, thing))
    return [notice_message(device, uid, thing)]


def _alert_statements(post: PostOffice, alert: Alert) -> list[Statement]:
    message = alert_message(post.device, alert)
    row = StoredAlert(
        message.uid, alert.alert, alert.rule, alert.kind, alert.camera, alert.state, alert.sentence, alert.utc_s,
    )  # fmt: skip
    return [add_alert(row), *post.put([message] if not alert.untold else [])]
