from __future__ import annotations

import hmac
import http.server
import json
import socket
import threading
import time

import pytest

from edge_app.delivery import webhook
from edge_app.delivery.outbox import Waiting
from edge_app.delivery.webhook import Webhook, checked_address, signature
from edge_app.delivery.worker import DeliveryWorker, NotDeliveredError, RefusedError
from tests.edge_app.test_live import wait_until

MESSAGE = Waiting(1, "run-1", "", '{"kind":"alert","where":"Tür"}', 0.0)


class Receiver:
    """A web server on loopback that answers with the given statuses in turn, the last one for ever."""

    def __init__(self, *statuses, headers=None):
        self.requests = []
        answers = list(statuses)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), body))
                self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?a=1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver():
    made = []

    def make(*statuses, **more):
        made.append(Receiver(*statuses, **more))
        return made[-1]

    yield make
    for server in made:
        server.close()


def hook(url, secret=None, timeout_s=2.0, give_up_h=1.0):
    return Webhook(url, secret, timeout_s, give_up_h)


def test_a_message_is_posted_with_its_id_and_a_signature_that_can_be_checked(receiver):
    server = receiver(204)
    hook(server.url, secret="correct horse").send(MESSAGE)
    ((path, headers, body),) = server.requests
    assert path == "/hook?a=1"
    assert json.loads(body)["where"] == "Tür"
    assert headers["X-Edge-Delivery"] == "run-1"
    expected = hmac.new(b"correct horse", headers["X-Edge-Timestamp"].encode() + b"." + body, "sha256").hexdigest()
    assert headers["X-Edge-Signature"] == f"sha256={expected}"


def test_the_signature_is_the_one_worked_out_by_hand():
    # printf '1.{}' | openssl dgst -sha256 -hmac k
    assert signature("k", "1", b"{}") == "3dd49b2593d0f9a349e9e71c4bde3e2b862c2be4003fe9b4ba81332029310158"
    assert signature("k", "2", b"{}") != signature("k", "1", b"{}")


def test_a_redirect_is_not_followed(receiver):
    inner = receiver(200)
    outer = receiver(307, headers={"Location": inner.url})
    with pytest.raises(RefusedError, match="redirects are not followed"):
        hook(outer.url).send(MESSAGE)
    assert inner.requests == []


@pytest.mark.parametrize(("status", "error"), [(400, RefusedError), (404, RefusedError), (429, NotDeliveredError),
                                               (500, NotDeliveredError), (503, NotDeliveredError)])  # fmt: skip
def test_what_cannot_be_mended_is_refused_and_the_rest_is_tried_again(receiver, status, error):
    with pytest.raises(error, match=str(status)):
        hook(receiver(status).url).send(MESSAGE)


def test_a_receiver_that_does_not_answer_times_out():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(NotDeliveredError, match="cannot be reached"):
            hook(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.2).send(MESSAGE)


def test_nobody_there_is_tried_again():
    with pytest.raises(NotDeliveredError, match="cannot be reached"):
        hook("http://127.0.0.1:9/").send(MESSAGE)


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1", "::ffff:169.254.169.254"])
def test_addresses_where_clouds_keep_secrets_are_not_connected_to(address, monkeypatch):
    resolved = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))]
    monkeypatch.setattr(webhook.socket, "getaddrinfo", lambda *a, **k: resolved)
    with pytest.raises(RefusedError, match="must not be connected to"):
        checked_address("innocent.example", 80)


def test_a_worker_tries_again_until_the_receiver_is_well_and_sends_each_message_once_in_order(receiver, outbox, post):
    server = receiver(500, 500, 503, 200)
    post(range(5), channel="hook")
    worker = DeliveryWorker("hook", hook(server.url), outbox, first_pause_s=0.02)
    worker.start()
    wait_until(lambda: worker.delivered == 5)
    worker.stop()
    taken = [headers["X-Edge-Delivery"] for _, headers, _ in server.requests]
    assert taken == ["run-0"] * 3 + [f"run-{i}" for i in range(5)]
    wait_until(lambda: outbox.waiting("hook", 0, 10) == [])


def test_a_message_that_is_refused_does_not_hold_up_the_others(receiver, outbox, post, caplog):
    server = receiver(400, 200)
    post(range(3), channel="hook")
    worker = DeliveryWorker("hook", hook(server.url), outbox, first_pause_s=0.02)
    worker.start()
    wait_until(lambda: worker.delivered == 2)
    worker.stop()
    assert worker.given_up == 1
    assert "run-0 is given up" in caplog.text


def test_what_was_not_delivered_waits_for_the_next_start(receiver, outbox, post):
    post(range(2), channel="hook")
    gone = DeliveryWorker("hook", hook("http://127.0.0.1:9/"), outbox, first_pause_s=0.02)
    gone.start()
    wait_until(lambda: gone.trouble is not None)
    gone.stop()
    server = receiver(200)
    again = DeliveryWorker("hook", hook(server.url), outbox)
    again.start()
    wait_until(lambda: again.delivered == 2)
    again.stop()


def test_a_message_is_given_up_after_its_time(outbox, post):
    post(range(1), channel="hook")
    worker = DeliveryWorker("hook", hook("http://127.0.0.1:9/", give_up_h=1e-9), outbox, first_pause_s=0.02)
    worker.start()
    wait_until(lambda: worker.given_up == 1)
    worker.stop()


def test_a_clock_that_is_set_forward_gives_no_message_up(outbox, post, monkeypatch):
    post(range(2), channel="hook")
    wait_until(lambda: len(outbox.waiting("hook", 0, 9)) == 2)
    a_year_on = time.time() + 365 * 86400
    monkeypatch.setattr("time.time", lambda: a_year_on)
    worker = DeliveryWorker("hook", hook("http://127.0.0.1:9/", give_up_h=24), outbox, first_pause_s=0.02)
    worker.start()
    wait_until(lambda: worker._failures >= 3)
    worker.stop()
    assert worker.given_up == 0
    assert len(outbox.waiting("hook", 0, 9)) == 2


def test_a_message_whose_time_is_over_by_the_clock_goes_after_an_hour_of_a_run_that_is_restarted_daily(
    outbox, post, monkeypatch
):
    post(range(1), channel="hook")
    wait_until(lambda: len(outbox.waiting("hook", 0, 9)) == 1)
    two_days_on = time.time() + 2 * 86400
    monkeypatch.setattr("time.time", lambda: two_days_on)
    monkeypatch.setattr("edge_app.delivery.worker._TRIED_S", 0.1)
    worker = DeliveryWorker("hook", hook("http://127.0.0.1:9/", give_up_h=24), outbox, first_pause_s=0.02)
    worker.start()
    wait_until(lambda: worker.given_up == 1)
    worker.stop()
