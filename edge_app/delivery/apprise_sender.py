"""E-mail, chat and the rest through Apprise."""

from __future__ import annotations

import json
from typing import Any

from edge_app.delivery.outbox import Waiting
from edge_app.delivery.worker import NotDeliveredError
from edge_app.errors import UserError

_GIVE_UP_S = 24 * 3600.0


class AppriseSender:
    """Sends an alert as title and text to one Apprise address."""

    give_up_s = _GIVE_UP_S

    def __init__(self, address: str, key: str) -> None:
        """Load Apprise.

        Args:
            address: such as ``mailtos://user:password@example.org``; it is secret as a whole.
            key: the configuration key, for messages.

        Raises:
            UserError: Apprise is not installed, or does not know such an address.
        """
        try:
            import apprise  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise UserError(
                f"'{key}' needs Apprise; in this application's folder: pip install -e '.[alerts]'"
            ) from error
        # Names may be given in messages, but files and the like are never attached or fetched.
        self._service: Any = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Edge Social Distancing"))
        if not self._service.add(address):
            raise UserError(f"'{key}' holds no address that Apprise knows; see its list of services")
        self._kinds = {"firing": apprise.NotifyType.WARNING, "recovered": apprise.NotifyType.SUCCESS}

    def send(self, message: Waiting) -> None:
        """Send it; see ``Sender``."""
        said = json.loads(message.payload)
        where = " / ".join(name for name in (said["device"], said["camera"]) if name)
        title = f"{where}: {said['rule']} {'over' if said['state'] == 'recovered' else ''}".strip()
        if not self._service.notify(body=said["sentence"], title=title, notify_type=self._kinds[said["state"]]):
            raise NotDeliveredError("Apprise could not deliver; its own lines in the log say why")
