from __future__ import annotations

import io
import logging

import pytest

from edge_app.errors import UserError
from edge_app.secret import MaskingFormatter, masked, read_secret


def test_a_secret_comes_from_the_environment_or_a_file_and_is_masked(monkeypatch, tmp_path):
    monkeypatch.setenv("W_SECRET", "correct horse")
    (tmp_path / "secret").write_text("battery staple\n")
    assert read_secret("env:W_SECRET", "k") == "correct horse"
    assert read_secret(f"file:{tmp_path}/secret", "k") == "battery staple"
    assert masked("with correct horse and battery staple") == "with **** and ****"


def test_user_and_password_in_an_address_are_masked_without_being_known():
    assert masked("rtsp://admin:hunter2@10.0.0.3/live") == "rtsp://****@10.0.0.3/live"


def test_a_log_line_and_its_traceback_are_masked(monkeypatch):
    monkeypatch.setenv("W_SECRET", "correct horse")
    secret = read_secret("env:W_SECRET", "k")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(MaskingFormatter(logging.Formatter("%(message)s")))
    log = logging.Logger("masked")
    log.addHandler(handler)
    try:
        raise ValueError(f"cannot log in with {secret}")
    except ValueError:
        log.exception("the password %s was refused", secret)
    assert "correct horse" not in stream.getvalue()
    assert stream.getvalue().count("****") >= 2


@pytest.mark.parametrize("reference", ["env:W_NOTHING", "file:/nowhere/secret", "file:/dev/null"])
def test_a_secret_that_is_not_there_is_said_with_its_key(reference, monkeypatch):
    monkeypatch.delenv("W_NOTHING", raising=False)
    with pytest.raises(UserError, match=r"mqtt\.password"):
        read_secret(reference, "mqtt.password")
