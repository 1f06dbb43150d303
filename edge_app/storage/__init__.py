"""History: events, figures of each minute and notices in an SQLite file."""

from edge_app.storage.config import StorageConfig
from edge_app.storage.rows import Bucket, HeatMap, MinuteAggregate, StoredEvent
from edge_app.storage.store import EventPage, Store, TimeRange

__all__ = ["Bucket", "EventPage", "HeatMap", "MinuteAggregate", "StorageConfig", "Store", "StoredEvent", "TimeRange"]
