"""The sinks that a configuration asks for, ready to take results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Optional

from edge_app.config import Config, MetricsConfig
from edge_app.sinks import ResultSink
from edge_app.storage.sink import StorageSink


@contextmanager
def open_sinks(config: Config, metrics: Optional[Mapping[str, MetricsConfig]] = None) -> Iterator[list[ResultSink]]:
    """Open storage for a live run, and close it in order at the end.

    Args:
        config: the configuration.
        metrics: region and line of each camera; default: those of the one camera named ``camera``.

    Raises:
        UserError: something configured cannot be used.
    """
    if not config.storage.enabled:
        yield []
        return
    storage = StorageSink(config.storage, metrics if metrics is not None else {"camera": config.metrics})
    try:
        yield [storage]
    finally:
        storage.close()
