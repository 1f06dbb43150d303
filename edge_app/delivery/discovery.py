"""What Home Assistant is told so that it makes sensors by itself.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import json
import re
from typing import Any

from edge_app import __version__

# name, kind of entity, field of the state message, further keys
_ENTITIES: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("People", "sensor", "people", {"state_class": "measurement", "icon": "mdi:account-group"}),
    ("Occupancy", "sensor", "occupancy", {"state_class": "measurement", "icon": "mdi:account-multiple"}),
    ("People too close", "sensor", "violating_people", {"state_class": "measurement", "icon": "mdi:account-alert"}),
    ("Too close", "binary_sensor", "violation", {"device_class": "problem"}),
    ("Fault", "binary_sensor", "fault", {"device_class": "problem", "entity_category": "diagnostic"}),
)


def discovery_messages(
    discovery_prefix: str, device: str, camera: str, state_topic: str, status_topic: str
) -> list[tuple[str, str]]:
    """Return topic and payload of every sensor of a camera; they are to be published retained."""
    node = _identifier(f"edge-social-distancing-{device}-{camera}")
    found = []
    for name, component, field, more in _ENTITIES:
        payload: dict[str, Any] = {
            "name": name,
            "unique_id": f"{node}-{field}",
            "state_topic": state_topic,
            "value_template": f"{{{{ value_json.{field} }}}}",
            "availability_topic": status_topic,
            "payload_available": "online",
            "payload_not_available": "offline",
            "device": {
                "identifiers": [node],
                "name": f"{device} {camera}",
                "model": "Edge Social Distancing",
                "sw_version": __version__,
            },
            **more,
        }
        found.append((f"{discovery_prefix}/{component}/{node}/{field}/config", json.dumps(payload)))
    return found


def _identifier(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)
