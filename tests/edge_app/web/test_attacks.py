"""One test for each attack by its usual name, against the running server; test_access.py has the rules in detail."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket

import pytest

from edge_app.capture.source_hosts import why_refused
from edge_app.web.app import MOST_BODY_BYTES, create_app
from edge_app.web.security.rate_limit import RateLimit
from edge_app.web.security.throttle import Throttle
from tests.edge_app.web.served import PASSWORD, form
from tests.edge_app.web.test_access import PUBLIC, every_route

# Their views run for anyone; health refuses by itself, since the check of a container on this machine may ask.
OPEN = PUBLIC | {"pages.health"}
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}


def raw(page, request: bytes) -> bytes:
    """Send bytes as they are and return the whole answer."""
    with socket.create_connection((page.place.hostname, page.place.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def allowed_to_other_sites(answer):
    return [name for name, _ in answer.headers if name.startswith("Access-Control-")]


def recorded(app):
    """Make the application note which views are run, those that anyone may open aside."""
    run = []

    def noting(endpoint, view):
        @functools.wraps(view)
        def noted(*args, **kwargs):
            run.append(endpoint)
            return view(*args, **kwargs)

        return noted

    for endpoint, view in app.view_functions.items():
        if endpoint not in OPEN:
            app.view_functions[endpoint] = noting(endpoint, view)
    return run


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_unauthenticated_requests_are_refused_at_every_route_and_run_nothing(beyond, method):
    app = create_app(beyond.site)
    run = recorded(app)
    config = beyond.config_path.read_text()
    paths = sorted({path for endpoint, _, path in every_route(app) if endpoint not in PUBLIC})
    assert len(paths) >= 25
    for path in paths:
        answer = app.test_client().open(path, method=method, environ_base=ELSEWHERE)
        is_led_to_login = (
            method in ("GET", "HEAD")
            and answer.status_code == 303
            and answer.headers["Location"].startswith("/login?next=")
        )
        assert answer.status_code == 401 or is_led_to_login, (method, path, answer.status)
        assert "Allow" not in answer.headers, path
        assert allowed_to_other_sites(answer) == [], path
        assert b"rtsp" not in answer.data
    assert run == []
    assert beyond.config_path.read_text() == config


def test_options_without_a_session_tells_nothing_even_of_what_anyone_may_open(beyond):
    app = create_app(beyond.site)
    paths = {path for _, _, path in every_route(app)} | {"/nothing", "/static/site.css"}
    for path in sorted(paths):
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = app.test_client().options(path, headers=asked, environ_base=ELSEWHERE)
        assert answer.status_code == 401, (path, answer.status)
        assert not {"Allow", "Location", "Set-Cookie"} & set(dict(answer.headers)), path
        assert allowed_to_other_sites(answer) == [], path
    for target in ("*", "/login", "http://localhost/api/v1/config"):
        status, *headers = raw(
            beyond, f"OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        ).split(b"\r\n")
        assert status.split(b" ")[1] == b"401", target
        assert not [header for header in headers if header.lower().startswith((b"allow", b"access-control-"))]


def test_options_with_a_session_changes_nothing_and_allows_no_other_site(beyond):
    app = create_app(beyond.site)
    run = recorded(app)
    browser = beyond.browser()
    browser.log_in()
    client = app.test_client()
    client.set_cookie("edge_session", browser.cookie())
    for path in sorted({path for _, _, path in every_route(app)}):
        answer = client.options(path, headers={"Origin": "https://evil.example"}, environ_base=ELSEWHERE)
        assert (answer.status_code, answer.data) == (200, b""), path
        assert allowed_to_other_sites(answer) == [], path
    assert run == []


def test_brute_force_is_slowed_down_although_names_and_sessions_change(beyond):
    # Its clock stands still: on a busy machine the waits would be over before the next try.
    beyond.site.security.by_address = Throttle(free=5, longest_s=900.0, clock=lambda: 0.0)
    statuses = [
        beyond.browser().log_in(name=f"admin{number}", password=f"guess {number}").status_code for number in range(9)
    ]
    assert statuses == [401] * 5 + [429] * 4
    assert beyond.browser().log_in().status_code == 429


def test_who_asks_too_often_is_answered_later_and_others_are_not_held_up(beyond):
    beyond.site.security.requests = RateLimit(burst=300, per_s=20.0, clock=lambda: 0.0)
    client = create_app(beyond.site).test_client()
    asked = [client.get("/login", environ_base=ELSEWHERE) for _ in range(330)]
    assert {answer.status_code for answer in asked[:300]} == {200}
    assert asked[-1].status_code == 429
    assert int(asked[-1].headers["Retry-After"]) >= 1
    assert client.get("/login", environ_base={"REMOTE_ADDR": "192.0.2.8"}).status_code == 200


def test_a_bucket_of_requests_is_refilled_steadily():
    now = [0.0]
    limit = RateLimit(burst=3, per_s=2.0, clock=lambda: now[0])
    assert [limit.wait_s("a") for _ in range(5)] == [0, 0, 0, 1, 1]
    now[0] = 0.5
    assert [limit.wait_s("a") for _ in range(2)] == [0, 1]
    assert limit.wait_s("b") == 0
    now[0] = 100.0
    assert [limit.wait_s("a") for _ in range(4)] == [0, 0, 0, 1]


def test_session_fixation_is_worth_nothing(beyond):
    victim, attacker = beyond.browser(), beyond.browser()
    attacker.get("/login")
    planted = attacker.cookie()
    victim.client.set_cookie("edge_session", planted)
    assert victim.log_in().status_code == 303
    assert victim.cookie() != planted
    assert victim.get("/").status_code == 200
    assert attacker.get("/").status_code == 303


def test_csrf_a_page_elsewhere_changes_nothing(beyond):
    browser = beyond.browser()
    browser.log_in()
    before = beyond.config_path.read_text()
    change = {"changes": {"distance": {"threshold_m": 9}}}
    for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"X-CSRF-Token": beyond.browser().token()}):
        assert browser.client.patch("/api/v1/config", json=change, headers=headers).status_code == 403
    # What a form elsewhere can send: it is no JSON, and has no token.
    assert browser.client.post("/settings", data={"distance.threshold_m": "9"}).status_code == 403
    assert beyond.config_path.read_text() == before


@pytest.mark.parametrize("path", [
    "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/%2e%2e/config.py", "/..%2f..%2fetc/passwd",
    "/static//etc/passwd", "/static/..%5c..%5capp.py", "/static/%00", "/events/..%2f..%2fetc%2fpasswd",
    "/api/v1/events/../../../etc/passwd",
])  # fmt: skip
def test_path_traversal_leads_nowhere(dashboard, path):
    answer = raw(dashboard(), f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    # 308: a doubled slash is made a single one, on this very site.
    assert answer.split(b" ")[1] in (b"400", b"404", b"308"), answer[:200]
    assert b"import " not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize("host", [
    "169.254.169.254", "[::ffff:169.254.169.254]", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.43518",
    "[fe80::1]", "[fd00:ec2::254]", "100.100.100.200", "127.0.0.1", "127.1", "2130706433", "localhost", "0.0.0.0", "0",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "224.0.0.1", "255.255.255.255", "a:b@127.0.0.1", "x@y@169.254.169.254", "",
])  # fmt: skip
def test_ssrf_no_source_leads_to_this_device_or_a_cloud_s_secrets(host):
    assert why_refused(f"http://{host}/a") is not None
    assert why_refused(f"rtsp://{host}:554/a") is not None


@pytest.mark.parametrize("host", ["10.0.0.7", "192.168.1.20", "u:p@172.16.0.3", "[fd12::7]", "camera.invalid"])
def test_cameras_in_one_s_own_network_are_allowed(host):
    assert why_refused(f"rtsp://{host}/live") is None


@pytest.mark.parametrize("name", ["live.m3u8", "LIVE.M3U8", "live.mpd?x=1", "cam.sdp"])
def test_ssrf_a_playlist_is_not_set_over_the_network(name):
    assert "is a playlist" in (why_refused(f"https://10.0.0.7/{name}") or "")


def test_ssrf_a_name_that_means_this_device_is_refused(dashboard, monkeypatch):
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr("edge_app.capture.source_hosts.socket.getaddrinfo", lambda *_args, **_kw: answers)
    change = {"changes": {"source": {"uri": "http://rebound.example/metrics"}}}
    answer = dashboard().browser().send("PATCH", "/api/v1/config", change)
    assert answer.status_code == 400
    assert "leads to this device itself" in answer.get_json()["error"]


def test_an_oversized_body_or_header_is_refused_before_it_is_read(dashboard):
    page = dashboard()
    assert page.get("/login", **form(name="x" * (MOST_BODY_BYTES + 1000)))[0].status == 413
    chunked = b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    # A connection that is closed on us while we are still sending is refused as well.
    with contextlib.suppress(ConnectionError):
        assert b" 413 " in raw(page, chunked + chunk * 20 + b"0\r\n\r\n").split(b"\r\n")[0]
    with contextlib.suppress(ConnectionError, http.client.HTTPException):
        assert page.get("/login", {"X-Long": "x" * 70_000})[0].status == 431
    assert page.get("/login")[0].status == 200


@pytest.mark.parametrize("path", [
    "/?next=%0d%0aX-Evil:%201", "/login?next=/%0d%0aX-Evil:%201", "/history?camera=%0d%0aX-Evil:%201",
    "/api/v1/export/events?format=csv%0d%0aX-Evil:%201", "/%0d%0aX-Evil:%201",
])  # fmt: skip
def test_header_injection_makes_no_header(beyond, path):
    browser = beyond.browser()
    browser.log_in()
    answer = browser.get(path)
    assert "X-Evil" not in answer.headers
    data = {"name": "admin", "password": PASSWORD, "csrf_token": browser.token("/"), "next": path}
    assert "X-Evil" not in browser.client.post("/login", data=data).headers


def test_nothing_that_is_sent_is_run_as_script(beyond):
    evil = "<script>alert(1)</script>"
    browser = beyond.browser()
    assert evil not in browser.log_in(name=evil).text
    browser.log_in()
    for path in (f"/history?min_duration_s={evil}", f"/?camera={evil}", f"/events/{evil}", f"/{evil}"):
        assert evil not in browser.get(path).text
    answer = browser.send("PATCH", "/api/v1/config", {"changes": {evil: {"x": 1}}})
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.data)["error"]
