from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from edge_app.errors import UserError
from tests.edge_app.scenes import results_of
from tests.edge_app.test_live import FakeSource, wait_until
from tests.edge_app.web.served import ReconfigurablePipeline


def read_jpeg(answer):
    """Read one part of the multipart stream."""
    line = answer.readline()
    while not line.lower().startswith(b"content-length"):
        line = answer.readline()
    length = int(line.split(b":")[1])
    answer.readline()
    return answer.read(length)


def test_every_answer_has_security_headers(dashboard):
    page = dashboard()
    for path in (
        "/",
        "/api/v1/state",
        "/api/v1/ground",
        "/healthz",
        "/nothing",
        "/static/live.js",
    ):
        answer, _ = page.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"


def test_the_page_is_small_and_has_nothing_inline(dashboard):
    page = dashboard()
    sizes = 0
    for path in ("/", "/static/live.js", "/static/site.css", "/static/icon.svg"):
        answer, body = page.get(path)
        assert answer.status == 200
        sizes += len(body)
    assert sizes < 200_000
    html = page.get("/")[1].decode()
    assert "style=" not in html
    assert "onclick" not in html
    assert "People are hidden in this picture" in html


def test_a_port_that_is_taken_is_one_sentence(dashboard):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="give another --port"):
            dashboard(port=taken.getsockname()[1])


def test_the_state_says_who_is_where(dashboard):
    page = dashboard()
    wait_until(lambda: page.runner.state.latest() is not None)
    state = json.loads(page.get("/api/v1/state")[1])
    assert state["now"]["people"] == 2
    assert state["now"]["people_too_close"] == 2
    assert state["now"]["pairs_too_close"] == 1
    assert state["now"]["nearest_m"] == pytest.approx(1.0, abs=0.05)
    places = np.array([person["xy_m"] for person in state["now"]["positions"]])
    np.testing.assert_allclose(places, [[0.0, 6.0], [1.0, 6.0]], atol=0.05)
    assert state["banner"] is None


def test_what_is_not_known_is_null_and_since_when_is_said(dashboard):
    page = dashboard(pipeline=ReconfigurablePipeline(fail_on=range(8, 10**6)))
    wait_until(lambda: page.runner.state.health()["fault"] is not None)
    state = json.loads(page.get("/api/v1/state")[1])
    now = state["now"]
    assert state["health"]["current"] is False
    assert now["utc_s"] == pytest.approx(page.runner.state.latest().utc_s, abs=0.01)
    figures = ("people", "people_too_close", "pairs_too_close", "nearest_m")
    assert [now[figure] for figure in figures] == [None] * 4
    assert (now["positions"], now["close_pairs"]) == ([], [])
    page.runner.feed_status("ended", "the clip has ended")
    assert json.loads(page.get("/api/v1/state")[1])["now"]["people"] is None


def test_an_old_picture_says_nothing_of_now_though_nothing_is_known_to_be_broken(dashboard, monkeypatch):
    page = dashboard()
    wait_until(lambda: page.runner.state.latest() is not None)
    monkeypatch.setattr("edge_app.current.FRESH_S", -1.0)
    state = json.loads(page.get("/api/v1/state")[1])
    assert (state["health"]["current"], state["now"]["people"]) == (False, None)


def test_without_a_calibration_no_number_in_metres_is_known(dashboard):
    pipeline = ReconfigurablePipeline(camera=None)
    result = results_of([[0.0, 6.0], [1.0, 6.0]], camera=None)[-1]
    pipeline.process = lambda frame: replace(result, index=frame.index, time_s=frame.time_s)
    page = dashboard(pipeline=pipeline)
    wait_until(lambda: page.runner.state.latest() is not None)
    now = json.loads(page.get("/api/v1/state")[1])["now"]
    assert (now["people"], now["people_too_close"], now["pairs_too_close"], now["nearest_m"]) == (2, None, None, None)


def test_without_a_calibration_no_distance_is_shown(dashboard):
    page = dashboard(pipeline=ReconfigurablePipeline(camera=None))
    assert json.loads(page.get("/api/v1/ground")[1]) == {"calibrated": False, "threshold_m": 2.0}
    html = page.get("/")[1].decode()
    assert "no distances are claimed" in html
    assert "too close" not in html


class Moved(ReconfigurablePipeline):
    """Sees two people with a camera that looks elsewhere than when it was calibrated."""

    result = results_of([[0.0, 6.0], [1.0, 6.0]], camera=None)[-1]

    def process(self, frame):
        return replace(self.result, index=frame.index, time_s=frame.time_s)


def test_who_is_too_close_is_unknown_without_a_calibration_that_holds(dashboard):
    page = dashboard(pipeline=Moved())
    wait_until(lambda: page.runner.state.latest() is not None)
    now = json.loads(page.get("/api/v1/state")[1])["now"]
    assert (now["people"], now["people_too_close"], now["pairs_too_close"], now["nearest_m"]) == (2, None, None, None)
    document = json.loads(page.get("/api/v1/openapi.json")[1])["components"]["schemas"]["Now"]["properties"]
    assert all({"type": "null"} in document[name]["anyOf"] for name in ("people_too_close", "pairs_too_close"))


def test_health_tells_the_truth(dashboard):
    well = dashboard()
    wait_until(lambda: well.runner.state.latest() is not None)
    assert well.get("/healthz")[0].status == 200
    ill = dashboard(pipeline=ReconfigurablePipeline(fail_on=range(10**6)))
    wait_until(lambda: ill.runner.state.health()["fault"] is not None)
    answer, body = ill.get("/healthz")
    assert answer.status == 503
    assert json.loads(body)["ok"] is False
    state = json.loads(ill.get("/api/v1/state")[1])
    assert "the picture is withheld" in state["banner"]


def test_nothing_is_encoded_while_nobody_looks(dashboard):
    page = dashboard()
    wait_until(lambda: page.runner.state.latest() is not None and page.runner.state.latest().sequence > 10)
    assert page.picture.encoded == 0


def test_all_viewers_share_one_encoding_and_leave_when_they_leave(dashboard):
    page = dashboard()
    streams = [page.open_stream("/live.mjpg") for _ in range(4)]
    for _ in range(5):
        for _, answer in streams:
            assert read_jpeg(answer).startswith(b"\xff\xd8")
    assert page.picture.viewers == 4
    assert page.picture.encoded <= page.runner.state.latest().sequence
    for connection, answer in streams:
        answer.close()
        connection.close()
    wait_until(lambda: page.picture.viewers == 0, 20)


def test_viewers_at_different_moments_want_the_same_pictures(dashboard):
    # Fifty frames a second, and pictures for twelve: who looks in between waits for the next picture of all.
    page = dashboard()
    page.picture._interval_s = 1.0 / 12
    stopping = threading.Event()
    seen = [[] for _ in range(6)]

    def look(number):
        time.sleep(0.013 * number)
        seen[number].extend(page.picture.stream(stopping))

    viewers = [threading.Thread(target=look, args=(number,)) for number in range(6)]
    since_s = time.monotonic()
    for viewer in viewers:
        viewer.start()
    wait_until(lambda: all(len(pictures) >= 12 for pictures in seen))
    stopping.set()
    for viewer in viewers:
        viewer.join()
    assert page.picture.encoded <= 12 * (time.monotonic() - since_s) + 2


def test_a_viewer_who_does_not_read_stops_nobody(dashboard):
    page = dashboard()
    stalled = socket.create_connection((page.place.hostname, page.place.port))
    stalled.sendall(b"GET /live.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _, answer = page.open_stream("/live.mjpg")
    first = page.runner.state.latest()
    for _ in range(20):
        assert read_jpeg(answer).startswith(b"\xff\xd8")
    assert page.runner.state.latest().sequence >= (first.sequence if first else 0) + 15
    stalled.close()


def test_a_picture_that_cannot_be_made_is_withheld(dashboard, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError("drawing failed on purpose")

    monkeypatch.setattr("edge_app.web.picture.annotate", fail)
    page = dashboard()
    _, answer = page.open_stream("/live.mjpg")
    jpeg = read_jpeg(answer)
    assert page.picture._placeholder == jpeg
    assert page.picture.withheld >= 1
    assert page.picture.encoded == 0


def test_the_picture_of_a_camera_that_is_lost_is_taken_away_at_once(dashboard):
    page = dashboard(source=FakeSource(frames=10))
    _, answer = page.open_stream("/live.mjpg")
    wait_until(lambda: page.runner.state.health()["ended"])
    since_s = time.monotonic()
    while read_jpeg(answer) != page.picture._placeholder:
        pass
    assert time.monotonic() - since_s < 2.0


def test_viewers_beyond_the_limit_are_refused_and_pages_still_answer(dashboard):
    page = dashboard()
    streams = [page.open_stream("/api/v1/stream") for _ in range(16)]
    answer, _ = page.get("/live.mjpg")
    assert answer.status == 503
    assert page.get("/")[0].status == 200
    for connection, stream in streams:
        stream.close()
        connection.close()

    def accepted():
        connection, stream = page.open_stream("/api/v1/stream")
        status = stream.status
        stream.close()
        connection.close()
        return status == 200

    wait_until(accepted, 20)


def test_live_numbers_come_as_events(dashboard):
    page = dashboard()
    _, answer = page.open_stream("/api/v1/stream")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    line = answer.readline()
    assert json.loads(line.removeprefix(b"data: "))["source"] == "fake"


def test_the_server_stops_with_viewers_watching_and_no_error_in_the_log(dashboard, caplog):
    page = dashboard()
    page.open_stream("/live.mjpg")
    page.open_stream("/api/v1/stream")
    time.sleep(0.2)
    stopper = threading.Thread(target=page.server.stop)
    stopper.start()
    stopper.join(10.0)
    assert not stopper.is_alive()
    assert [record for record in caplog.records if record.name == "waitress"] == []
