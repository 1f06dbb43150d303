from __future__ import annotations

import json
import socketserver
import threading

import pytest

from edge_app.alerts.rules import Alert
from edge_app.delivery.apprise_sender import AppriseSender
from edge_app.delivery.messages import alert_message
from edge_app.delivery.outbox import Waiting
from edge_app.delivery.worker import NotDeliveredError
from edge_app.errors import UserError
from tests.edge_app.delivery.test_webhook import Receiver
from tests.edge_app.storage.made import NOON

pytest.importorskip("apprise", reason="Apprise is not installed (extra: alerts)")


def waiting(state="firing"):
    alert = Alert(
        "run-a3", "too-long", "violation", "front door", state, "two people have been too close for 10 s", NOON
    )
    return Waiting(1, "run-1", "", alert_message("entrance", alert).payload, NOON)


class MailServer(socketserver.ThreadingTCPServer):
    """Speaks as much SMTP as a mail needs, and keeps what it is given."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self):
        self.mails = []
        server = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(b"220 test\r\n")
                for line in self.rfile:
                    word = line[:4].upper()
                    if word == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        server.mails.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
                    self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 well\r\n")
                    if word == b"QUIT":
                        return

        super().__init__(("127.0.0.1", 0), Session)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


def test_an_alert_goes_out_by_mail():
    server = MailServer()
    port = server.server_address[1]
    AppriseSender(f"mailto://127.0.0.1:{port}/?from=edge@example.org&to=me@example.org&mode=insecure", "k").send(
        waiting()
    )
    server.shutdown()
    server.server_close()
    (mail,) = server.mails
    assert "entrance / front door: too-long" in mail
    assert "two people have been too close for 10 s" in mail


def test_a_recovery_says_that_it_is_over():
    receiver = Receiver(200)
    AppriseSender(receiver.url.replace("http://", "json://"), "k").send(waiting("recovered"))
    receiver.close()
    said = json.loads(receiver.requests[0][2])
    assert said["title"] == "entrance / front door: too-long over"
    assert said["type"] == "success"


def test_a_service_that_is_down_is_tried_again():
    with pytest.raises(NotDeliveredError, match="Apprise"):
        AppriseSender("json://127.0.0.1:9/", "k").send(waiting())


def test_an_address_that_apprise_does_not_know_is_said_without_the_address():
    with pytest.raises(UserError, match=r"alerts\.receivers\.apprise\.0") as error:
        AppriseSender("nothing-such://hunter2", "alerts.receivers.apprise.0")
    assert "hunter2" not in str(error.value)
