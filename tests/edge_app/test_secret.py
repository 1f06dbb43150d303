from __future__ import annotations

import io
import logging

import pytest

from edge_app.errors import UserError
from edge_app.json_logs import JsonFormatter
from edge_app.masking import MaskingFilter, masked
from edge_app.secret import read_secret


def test_a_secret_comes_from_the_environment_or_a_file_and_is_masked(monkeypatch, tmp_path):
    monkeypatch.setenv("W_SECRET", "correct horse")
    (tmp_path / "secret").write_text("battery staple\n")
    assert read_secret("env:W_SECRET", "k") == "correct horse"
    assert read_secret(f"file:{tmp_path}/secret", "k") == "battery staple"
    assert masked("with correct horse and battery staple") == "with **** and ****"


def test_user_and_password_in_an_address_are_masked_without_being_known():
    assert masked("rtsp://admin:hunter2@10.0.0.3/live") == "rtsp://****@10.0.0.3/live"


@pytest.mark.parametrize(("text", "said"), [
    ("rtsp://user:pa:secret@wo/rd@cam/1", "rtsp://****@cam/1"), ("rtsp://user:secret@10.0.0.1/live", "rtsp://****@10.0.0.1/live"),
    ("http://:secret@cam/", "http://****@cam/"), ('{"password": "x y", "a": 1}', '{"password": ****, "a": 1}'),
    ("Authorization: Bearer abc.def", "Authorization: ****"), ("token=abc&x=1", "token=****&x=1"),
    ("http://cam:8080/a", "http://cam:8080/a"),
])  # fmt: skip
def test_secrets_are_masked(text, said):
    shown = masked(text)
    assert said in shown
    assert "secret" not in shown


@pytest.mark.parametrize("form", [logging.Formatter("%(message)s"), JsonFormatter()])
def test_a_log_line_and_its_traceback_are_masked(monkeypatch, form):
    # JSON would escape the quote, and a search of the finished line miss it.
    monkeypatch.setenv("W_SECRET", 'correct "horse')
    secret = read_secret("env:W_SECRET", "k")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(MaskingFilter())
    handler.setFormatter(form)
    log = logging.Logger("masked")
    log.addHandler(handler)
    try:
        raise ValueError(f"cannot log in with {secret}")
    except ValueError:
        log.exception("the value %s was refused", secret, stack_info=True)
    assert "horse" not in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert stream.getvalue().count("****") >= 2


def test_a_log_line_that_does_not_fit_its_values_shows_none_of_them(capsys):
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.addFilter(MaskingFilter())
    log = logging.Logger("masked")
    log.addHandler(handler)
    log.warning("%d people", "hunter2")
    assert stream.getvalue() == "a log line of masked does not fit its values\n"
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize("reference", ["env:W_NOTHING", "file:/nowhere/secret", "file:/dev/null"])
def test_a_secret_that_is_not_there_is_said_with_its_key(reference, monkeypatch):
    monkeypatch.delenv("W_NOTHING", raising=False)
    with pytest.raises(UserError, match=r"mqtt\.password"):
        read_secret(reference, "mqtt.password")
