from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import ssl
import subprocess

import pytest
from click.testing import CliRunner

from edge_app.errors import UserError
from edge_app.live.monitoring import Monitoring, monitoring_pages
from edge_app.web.app import MOST_BODY_BYTES, create_app
from edge_app.web.security.accounts import Accounts
from edge_app.web.security.audit import AuditLog
from edge_app.web.security.command import password
from edge_app.web.security.hosts import TrustedHosts, host_of
from edge_app.web.security.rate_limit import RateLimit
from edge_app.web.security.sessions import Sessions
from edge_app.web.security.throttle import Throttle
from tests.edge_app.test_live import wait_until
from tests.edge_app.web.served import PASSWORD, Browser, form

PUBLIC = {"static", "login.login", "login.log_in", "login.first_password", "login.set_first_password"}


def every_route(app):
    """Yield (endpoint, method, path) of every route, with something in place of its variables."""
    for rule in app.url_map.iter_rules():
        values = dict.fromkeys(rule.arguments, "x")
        path = app.url_map.bind("localhost").build(rule.endpoint, values, method=next(iter(rule.methods or ())))
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule.endpoint, method, path


def test_nobody_gets_anything_without_a_login_beyond_this_machine(beyond):
    app = create_app(beyond.site)
    refused = 0
    for endpoint, method, path in every_route(app):
        if endpoint in PUBLIC:
            continue
        answer = app.test_client().open(path, method=method, environ_base={"REMOTE_ADDR": "192.0.2.7"})
        to_login = answer.status_code == 303 and answer.headers["Location"].startswith("/login?next=")
        assert answer.status_code == 401 or to_login, (method, path, answer.status)
        assert len(answer.data) < 3000
        refused += 1
    assert refused >= 8


def test_a_scraper_without_a_token_is_refused_and_not_led_to_the_login_page(beyond):
    app = create_app(beyond.site)
    app.register_blueprint(monitoring_pages(Monitoring({}, None, lambda: None)))
    assert app.test_client().get("/metrics").status_code == 401


def test_before_there_is_a_password_everything_leads_to_setting_it(dashboard):
    page = dashboard(host="0.0.0.0", allow_plain_http="true")
    client = Browser(page).client
    for endpoint, _, path in every_route(create_app(page.site)):
        if endpoint not in PUBLIC and endpoint != "pages.health":
            assert client.get(path).status_code in (303, 401, 405), path
    assert "/first-password" in client.get("/").headers["Location"]
    assert page.site.security.first_token in page.server.invitation


def test_the_first_password_needs_the_console_s_token_and_works_once(dashboard):
    page = dashboard(host="0.0.0.0", allow_plain_http="true")
    browser = page.browser()
    token = page.site.security.first_token
    fields = {"csrf_token": browser.token("/first-password"), "password": PASSWORD, "again": PASSWORD}
    wrong = browser.client.post("/first-password", data={**fields, "token": "guess"})
    assert wrong.status_code == 401
    assert "not the token that the console shows" in wrong.text
    short = {**fields, "token": token, "password": "short", "again": "short"}
    assert "10 to 256 characters" in browser.client.post("/first-password", data=short).text
    assert browser.client.post("/first-password", data={**fields, "token": token}).status_code == 303
    assert browser.get("/").status_code == 200
    other = page.browser()
    again = other.client.post("/first-password", data={**fields, "token": token, "csrf_token": other.token()})
    assert again.status_code == 403


def test_on_a_machine_of_one_s_own_no_login_is_asked_until_there_is_an_account(dashboard):
    page = dashboard()
    assert page.browser().get("/").status_code == 200
    page.site.security.accounts.set_password("admin", PASSWORD, "admin")
    assert page.browser().get("/").status_code == 303


@pytest.mark.parametrize("keys", [{"hosts": "[door.example]"}, {"behind_proxy": "true"}])
def test_behind_a_proxy_a_login_is_asked(dashboard, keys):
    assert dashboard(**keys).browser().get("/").status_code == 303


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_it_does_not_listen_beyond_this_machine_without_encryption(dashboard, host):
    with pytest.raises(UserError, match=r"set dashboard\.certificate"):
        dashboard(host=f"'{host}'")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", ""])
def test_other_host_names_are_refused(dashboard, host):
    assert dashboard().get("/api/v1/state", {"Host": host})[0].status in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1", "[::1]", "[::1]:8080"])
def test_loopback_names_are_answered(dashboard, host):
    assert dashboard().get("/api/v1/cameras", {"Host": host})[0].status == 200


def test_beyond_this_machine_addresses_and_its_own_names_are_answered_but_no_others():
    hosts = TrustedHosts("0.0.0.0", ["door.example"])
    for name in ("192.168.1.5:8080", "[fe80::1]:8080", "door.example", socket.gethostname().lower()):
        assert name in hosts
    assert "evil.example" not in hosts
    assert "192.168.1.5" not in TrustedHosts("127.0.0.1", [])
    assert host_of("[::1]:80") == "::1"


def test_a_login_changes_the_cookie_and_what_was_planted_is_worth_nothing(beyond):
    browser = beyond.browser()
    browser.client.set_cookie("edge_session", "planted")
    token = browser.token()
    assert browser.cookie() == "planted"
    answer = browser.client.post("/login", data={"name": "admin", "password": PASSWORD, "csrf_token": token})
    assert answer.status_code == 303
    assert browser.cookie() != "planted"
    header = answer.headers["Set-Cookie"]
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    attacker = beyond.browser()
    attacker.client.set_cookie("edge_session", "planted")
    assert attacker.get("/").status_code == 303


def test_a_new_login_ends_the_session_before(beyond):
    browser = beyond.browser()
    browser.log_in()
    first = browser.cookie()
    token = browser.token("/")
    browser.client.post("/login", data={"name": "admin", "password": PASSWORD, "csrf_token": token})
    assert browser.cookie() != first
    thief = beyond.browser()
    thief.client.set_cookie("edge_session", first)
    assert thief.get("/").status_code == 303


def test_log_out_ends_the_session(beyond):
    browser = beyond.browser()
    browser.log_in()
    key = browser.cookie()
    assert browser.client.post("/logout", data={"csrf_token": browser.token("/")}).status_code == 303
    browser.client.set_cookie("edge_session", key)
    assert browser.get("/").status_code == 303


def test_a_changed_password_ends_sessions_in_the_running_dashboard(beyond):
    browser = beyond.browser()
    browser.log_in()
    assert browser.get("/").status_code == 200
    Accounts(beyond.folder).set_password("admin", "another long password", "admin")
    assert browser.get("/").status_code == 303


def test_sessions_end_when_they_are_idle_or_old(tmp_path):
    now = [0.0]
    accounts = Accounts(tmp_path)
    accounts.set_password("admin", PASSWORD, "admin")
    sessions = Sessions(accounts, clock=lambda: now[0])
    account = accounts.find("admin")
    idle = sessions.begin(account)
    now[0] = 11 * 3600
    assert sessions.find(idle) is not None
    now[0] += 13 * 3600
    assert sessions.find(idle) is None
    used = sessions.begin(account)
    start = now[0]
    while now[0] < start + 7 * 24 * 3600:
        assert sessions.find(used) is not None
        now[0] += 10 * 3600
    assert sessions.find(used) is None


def test_changes_need_the_page_s_token(beyond):
    browser = beyond.browser()
    browser.log_in()
    for token in ("", "0" * 64, beyond.browser().token()):
        answer = browser.client.post("/logout", headers={"X-CSRF-Token": token})
        assert answer.status_code == 403, token
    elsewhere = {"X-CSRF-Token": browser.token("/"), "Sec-Fetch-Site": "cross-site"}
    assert browser.client.post("/logout", headers=elsewhere).status_code == 403
    assert browser.get("/").status_code == 200
    assert b"refused: CSRF" in (beyond.folder / "refused.log").read_bytes()


def test_a_login_needs_the_page_s_token_too(beyond):
    assert beyond.browser().client.post("/login", data={"name": "admin", "password": PASSWORD}).status_code == 403


def test_guessing_is_slowed_down(beyond):
    beyond.site.security.by_address = Throttle(free=5, longest_s=900.0, clock=lambda: 0.0)
    browser = beyond.browser()
    statuses = [browser.log_in(password=f"wrong {number}").status_code for number in range(8)]
    assert statuses[:5] == [401] * 5
    assert statuses[5:] == [429] * 3
    refused = browser.log_in()
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    log = [json.loads(line)["action"] for line in (beyond.folder / "refused.log").read_text().splitlines()]
    assert log.count("login failed") == 5
    assert log.count("login delayed") == 4


def test_the_wait_doubles_up_to_its_limit_and_is_forgotten():
    now = [0.0]
    throttle = Throttle(free=3, longest_s=10.0, clock=lambda: now[0])
    waits = []
    for _ in range(9):
        throttle.fail("a")
        waits.append(throttle.wait_s("a"))
    assert waits == [0, 0, 1, 2, 4, 8, 10, 10, 10]
    assert throttle.wait_s("b") == 0
    now[0] = 11.0
    assert throttle.wait_s("a") == 0
    throttle.succeed("a")
    throttle.fail("a")
    assert throttle.wait_s("a") == 0


def test_a_viewer_sees_and_changes_nothing(beyond):
    browser = beyond.browser()
    browser.log_in("guest")
    assert browser.get("/").status_code == 200
    assert browser.get("/api/v1/state").status_code == 200
    app = create_app(beyond.site)
    token = browser.client.get("/api/v1/session").get_json()["csrf_token"]
    for endpoint, method, path in every_route(app):
        if method != "GET" and endpoint not in (*PUBLIC, "login.log_out"):
            answer = browser.client.open(path, method=method, json={}, headers={"X-CSRF-Token": token})
            assert answer.status_code == 403, (method, path)


def test_a_program_comes_in_with_a_token_and_needs_no_csrf(beyond):
    token = beyond.site.security.accounts.make_token("grafana", "viewer")
    client = beyond.browser().client
    good = client.get("/api/v1/session", headers={"Authorization": f"Bearer {token}"}).get_json()
    assert (good["name"], good["role"], good["csrf_token"]) == ("grafana", "viewer", None)
    assert client.get("/api/v1/state", headers={"Authorization": "Bearer nonsense"}).status_code == 401
    assert token not in (beyond.folder / "accounts.json").read_text()


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", "/\r\nX: 1"]
)
def test_a_login_never_leads_elsewhere(beyond, target):
    browser = beyond.browser()
    data = {"name": "admin", "password": PASSWORD, "csrf_token": browser.token(), "next": target}
    answer = browser.client.post("/login", data=data)
    assert answer.headers["Location"] == "/"
    assert "X" not in answer.headers


def test_header_injection_ends_in_no_header(beyond):
    answer = beyond.get("/?next=%0d%0aX-Evil:%201&x%0d%0aX-Evil:%201")[0]
    assert answer.headers["X-Evil"] is None
    assert "\n" not in answer.headers["Location"]


def test_a_body_that_is_too_large_is_refused(dashboard):
    page = dashboard()
    answer, _ = page.get("/login", **form(name="x" * (MOST_BODY_BYTES + 1000)))
    assert answer.status == 413


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/%2e%2e/config.py", "/..%2f..%2fetc/passwd"]
)
def test_no_path_leads_out_of_the_static_folder(dashboard, path):
    answer, body = dashboard().get(path)
    assert answer.status == 404
    assert b"import" not in body


def test_accounts_are_readable_by_their_owner_only_and_hold_no_password(tmp_path):
    accounts = Accounts(tmp_path)
    accounts.set_password("admin", PASSWORD, "admin")
    assert accounts.path.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in accounts.path.read_text()
    assert "scrypt:" in accounts.path.read_text()
    accounts.path.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        Accounts(tmp_path).find("admin")


def test_a_broken_accounts_file_lets_nobody_in(tmp_path, dashboard):
    page = dashboard()
    page.site.security.accounts.set_password("admin", PASSWORD, "admin")
    accounts = page.folder / "accounts.json"
    accounts.write_text("{")
    for path in ("/", "/login", "/api/v1/state"):
        answer = page.browser().get(path)
        assert answer.status_code == 503
        assert "see the log" in answer.text


def test_the_last_admin_stays_while_viewers_remain(tmp_path):
    accounts = Accounts(tmp_path)
    accounts.set_password("admin", PASSWORD, "admin")
    accounts.set_password("guest", PASSWORD, "viewer")
    with pytest.raises(UserError, match="last admin"):
        accounts.remove("admin")
    accounts.remove("guest")
    accounts.remove("admin")
    assert len(accounts) == 0


@pytest.mark.parametrize(("name", "password_", "said"), [
    ("Admin!", PASSWORD, "small letters"), ("admin", "short", "10 to 256"), ("admin", "adminadmin", "easy to guess"),
    ("admin", "aaaaaaaaaaaa", "easy to guess"), ("admin", "x" * 300, "10 to 256"),
])  # fmt: skip
def test_a_poor_name_or_password_is_refused(tmp_path, name, password_, said):
    with pytest.raises(UserError, match=said):
        Accounts(tmp_path).set_password(name, password_, "admin")


def test_passwords_and_tokens_on_the_command_line(tmp_path):
    config = tmp_path / "site.yaml"
    config.write_text("dashboard:\n  folder: state\n")
    options = ["--config", str(config)]
    runner = CliRunner()
    asked = runner.invoke(password, ["set", *options], input=f"{PASSWORD}\n{PASSWORD}\n")
    assert "admin (admin) may log in" in asked.output
    assert PASSWORD not in asked.output
    secret = tmp_path / "secret"
    secret.write_text("another good password\n")
    runner.invoke(password, ["set", "guest", "--role", "viewer", "--file", str(secret), *options])
    token = runner.invoke(password, ["token", "grafana", "--role", "viewer", *options]).output.strip()
    accounts = Accounts(tmp_path / "state")
    assert accounts.check("admin", PASSWORD).role == "admin"
    assert accounts.check("guest", "another good password").role == "viewer"
    assert accounts.check_token(token).name == "grafana"
    listed = runner.invoke(password, ["list", *options]).output
    assert listed.splitlines() == ["account admin (admin)", "account guest (viewer)", "token grafana (viewer)"]
    runner.invoke(password, ["remove", "grafana", *options])
    assert Accounts(tmp_path / "state").check_token(token) is None


def test_the_audit_log_cannot_be_forged(beyond):
    browser = beyond.browser()
    browser.log_in(name='x"}\n{"action": "login", "who": "admin')
    lines = (beyond.folder / "refused.log").read_text().splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["login failed"]
    for name in ("audit.log", "refused.log"):
        assert (beyond.folder / name).stat().st_mode & 0o077 == 0


def test_nobody_without_an_account_pushes_anything_out_of_the_audit_log(beyond):
    beyond.site.security.requests = RateLimit(burst=10_000, per_s=10_000)
    beyond.browser().log_in()
    before = (beyond.folder / "audit.log").read_bytes()
    app = create_app(beyond.site)
    client = app.test_client()
    for number in range(300):
        elsewhere = {"REMOTE_ADDR": f"192.0.2.{number % 200}"}
        assert client.post("/login", data={"name": "admin"}, environ_base=elsewhere).status_code == 403
    for endpoint, method, path in every_route(app):
        if endpoint != "static":
            client.open(path, method=method, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    for number in range(100):
        beyond.browser().log_in(password=f"wrong {number}")
    assert (beyond.folder / "audit.log").read_bytes() == before
    assert (beyond.folder / "refused.log").stat().st_size < 4000


def test_what_is_refused_often_is_counted_and_told_once_its_minute_is_over(tmp_path):
    now = [0.0]
    audit = AuditLog(tmp_path, lambda: now[0])
    for number in range(105):
        audit.refuse("login failed", who="admin", address=f"192.0.2.{number % 7}")
    audit.refuse("refused: CSRF", who="nobody", address="192.0.2.1")
    now[0] = 61.0
    audit.write("login", who="admin", address="192.0.2.1")
    audit.close()
    lines = [json.loads(line) for line in (tmp_path / "refused.log").read_text().splitlines()]
    assert [line["action"] for line in lines] == ["login failed"] * 5 + ["refused: CSRF", "login failed"]
    assert (lines[-1]["more"], lines[-1]["addresses"]) == (100, 7)
    assert [json.loads(line)["action"] for line in (tmp_path / "audit.log").read_text().splitlines()] == ["login"]


def test_what_was_counted_is_told_once_its_minute_is_over_though_nothing_else_happens(tmp_path, monkeypatch):
    monkeypatch.setattr("edge_app.web.security.audit._WINDOW_S", 0.3)
    audit = AuditLog(tmp_path)

    def lines():
        return [json.loads(line) for line in (tmp_path / "refused.log").read_text().splitlines()]

    for time_round in (1, 2):
        for _ in range(8):
            audit.refuse("login failed", who="admin", address="192.0.2.1")
        wait_until(lambda expected=6 * time_round: len(lines()) == expected, 5.0)
        assert lines()[-1]["more"] == 3
    audit.close()
    assert len(lines()) == 12


def test_every_file_of_the_audit_log_is_its_owner_s_only_after_rotation_and_from_earlier_versions_too(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("edge_app.web.security.audit._BYTES", 2000)
    old_mask = os.umask(0o022)
    try:
        for name in ("audit.log", "audit.log.1", "refused.log", "refused.log.1"):
            (tmp_path / name).write_text("{}\n")
        audit = AuditLog(tmp_path)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        assert modes == dict.fromkeys(("audit.log", "audit.log.1", "refused.log", "refused.log.1"), 0o600)
        for number in range(60):
            audit.write("login", who="admin", address="192.0.2.1")
            audit.refuse(f"{number}", who="x" * 200, address="192.0.2.1")
        audit.close()
    finally:
        os.umask(old_mask)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["audit.log", *(f"audit.log.{n}" for n in range(1, 5)), "refused.log", "refused.log.1"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_what_was_counted_is_told_when_the_log_is_closed(tmp_path):
    audit = AuditLog(tmp_path)
    for _ in range(8):
        audit.refuse("login failed", who="admin", address="192.0.2.1")
    audit.close()
    assert json.loads((tmp_path / "refused.log").read_text().splitlines()[-1])["more"] == 3


def test_the_source_s_password_is_nowhere(dashboard):
    from tests.edge_app.test_live import FakeSource

    source = FakeSource()
    source.name = "rtsp://user:hunter2@10.0.0.9/live"
    page = dashboard(source=source)
    for path in ("/", "/api/v1/state", "/api/v1/cameras", "/healthz"):
        body = page.get(path)[1]
        assert b"hunter2" not in body
    assert b"10.0.0.9" in page.get("/api/v1/cameras")[1]


def certificate(folder):
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
               "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
               "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed, so no certificate can be made")
    return {"certificate": str(folder / "cert.pem"), "certificate_key": str(folder / "key.pem")}


def test_an_own_certificate_serves_https_while_a_silent_visitor_waits(dashboard, tmp_path):
    pytest.importorskip("cheroot")
    files = certificate(tmp_path)
    page = dashboard(host="0.0.0.0", **files)
    assert page.server.address.startswith("https://")
    port = page.place.port
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    trust = ssl.create_default_context(cafile=files["certificate"])
    connection = http.client.HTTPSConnection("localhost", port, context=trust, timeout=5)
    connection.request("GET", "/first-password")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["Strict-Transport-Security"]
    assert answer.headers["Set-Cookie"].startswith("__Host-edge_session=")
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert connection.sock.version() in ("TLSv1.2", "TLSv1.3")
    for one in silent:
        one.close()
    connection.close()


def test_a_client_that_leaves_a_stream_over_https_is_no_error(dashboard, tmp_path, capfd, caplog):
    pytest.importorskip("cheroot")
    caplog.set_level(logging.DEBUG, "edge_app.web.tls_server")
    files = certificate(tmp_path)
    page = dashboard(**files)
    trust = ssl.create_default_context(cafile=files["certificate"])
    for _ in range(3):
        connection = http.client.HTTPSConnection("localhost", page.place.port, context=trust, timeout=5)
        connection.request("GET", "/live.mjpg")
        answer = connection.getresponse()
        assert answer.read(100)
        answer.close()
        connection.close()
    wait_until(lambda: "a client went away" in caplog.text)
    assert "Traceback" not in caplog.text
    assert "Traceback" not in capfd.readouterr().err


def test_a_certificate_that_is_none_is_one_sentence(dashboard, tmp_path):
    (tmp_path / "no.pem").write_text("nothing")
    with pytest.raises(UserError, match="give PEM files that belong together"):
        dashboard(certificate=str(tmp_path / "no.pem"), certificate_key=str(tmp_path / "no.pem"))
