from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
from click.testing import CliRunner

from edge_app.config import DEFAULT_MODEL, ModelConfig, load_config
from edge_app.detector import load_detector
from edge_app.errors import UserError
from edge_app.model_store.command import model_commands
from edge_app.model_store.fetch import fetch, hide_password
from edge_app.model_store.install import STEPS, install, roll_back
from edge_app.model_store.self_test import SelfTest
from edge_app.model_store.store import ModelStore, StoreState


def newer(parts, path, released):
    """The same model, released at another time: another bundle."""
    parts.index["released_utc"] = released
    return str(parts.pack(path))


@pytest.fixture
def tried(monkeypatch):
    """The self-test passes without being run: these tests are about what comes before and after it."""
    monkeypatch.setattr("edge_app.model_store.install.try_bundle", lambda *_: SelfTest("cpu", ()))


def prove(store):
    """What happens after some minutes of frames."""
    store.write_state(store.state().model_copy(update={"on_trial": False, "starts": 0}))


def test_an_installed_model_is_what_the_application_uses(good_bundle, store):
    assert ModelConfig().path == DEFAULT_MODEL
    steps = []
    done = install(str(good_bundle), store, on_step=steps.append)
    assert tuple(steps) == STEPS
    assert done.changed
    assert "people in 1 golden frames" in done.sentences[0]
    assert ModelConfig().path.parent == store.folder_of(done.bundle)
    assert load_config(None).model.path == ModelConfig().path
    assert load_detector(ModelConfig()).name == DEFAULT_MODEL.stem
    assert not install(str(good_bundle), store).changed


def test_the_last_good_model_is_kept_and_older_ones_go(parts, store, tmp_path, tried):
    first = install(newer(parts, tmp_path / "1", 1), store).bundle
    prove(store)
    second = install(newer(parts, tmp_path / "2", 2), store).bundle
    prove(store)
    third = install(newer(parts, tmp_path / "3", 3), store).bundle
    assert store.bundles() == sorted((second, third))
    assert first not in store.bundles()
    # The third never proved itself: the one before it stays the last good one.
    fourth = install(newer(parts, tmp_path / "4", 4), store).bundle
    assert store.bundles() == sorted((second, fourth))
    state = roll_back(store, "by hand")
    assert store.prune() == [fourth]
    assert state.current is not None
    assert state.current.bundle == second
    assert state.failures[-1].bundle == fourth
    assert roll_back(store, "by hand").current is None
    assert ModelConfig().path == DEFAULT_MODEL
    with pytest.raises(UserError, match="nothing to go back to"):
        roll_back(store, "by hand")


def test_an_older_bundle_is_not_taken_for_news(parts, store, tmp_path, tried):
    install(newer(parts, tmp_path / "2", 2), store)
    old = newer(parts, tmp_path / "1", 1)
    with pytest.raises(UserError, match="older than the model in use"):
        install(old, store)
    assert install(old, store, allow_older=True).changed


# Kills itself before a step; runs in a process of its own.
KILLED = """
import os, signal, sys
from edge_app.model_store import install
from edge_app.model_store.self_test import SelfTest
from edge_app.model_store.store import ModelStore
install.try_bundle = lambda *_: SelfTest("cpu", ())
source, step = sys.argv[1:]
install.install(source, ModelStore(), on_step=lambda now: os.kill(os.getpid(), signal.SIGKILL) if now == step else None)
"""


def uses(bundle):
    """Whether a new process of the application would use that bundle, and it loads."""
    path = ModelConfig().path
    load_detector(ModelConfig())
    return path.parent.name == bundle


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_before_each_step_leaves_a_working_model_and_the_next_try_succeeds(step, parts, store, tmp_path, tried):
    old = install(newer(parts, tmp_path / "1", 1), store).bundle
    prove(store)
    source = newer(parts, tmp_path / "2", 2)
    done = subprocess.run([sys.executable, "-c", KILLED, source, step], check=False)
    assert done.returncode == -signal.SIGKILL
    assert uses(old) == (step != "tidy")
    result = install(source, store)
    assert result.changed == (step != "tidy")
    assert uses(result.bundle)
    assert store.state().previous is not None
    assert store.state().previous.bundle == old
    assert store.bundles() == sorted((old, result.bundle))


@pytest.mark.parametrize("moment", ["written", "renamed"])
def test_a_kill_while_the_state_is_written_leaves_the_old_one_or_the_new_one(moment, store, monkeypatch):
    store.write_state(StoreState(starts=1))

    class Killed(BaseException):
        """Stands for the end of the process."""

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync" if moment == "written" else "edge_app.model_store.store._sync_folder", kill)
        with pytest.raises(Killed):
            store.write_state(StoreState(starts=2))
    assert store.state().starts == (1 if moment == "written" else 2)


def test_a_damaged_state_is_told_and_the_model_that_ships_is_used(store, caplog):
    (store.folder / "state.json").write_text("{")
    assert ModelConfig().path == DEFAULT_MODEL
    assert "is damaged; remove it" in caplog.text


def test_a_model_that_was_removed_by_hand_is_told_and_the_one_that_ships_is_used(good_bundle, store, caplog, tried):
    install(str(good_bundle), store)
    ModelConfig().path.unlink()
    assert ModelConfig().path == DEFAULT_MODEL
    assert "is missing; install it again" in caplog.text


def test_two_installations_at_once_do_not_mix(good_bundle, store):
    with store.lock(), pytest.raises(UserError, match="another installation is at work"):
        install(str(good_bundle), ModelStore())


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch, good_bundle):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGE_APP_STATE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set EDGE_APP_STATE to a folder of yours"):
        install(str(good_bundle), ModelStore())


@pytest.fixture
def server(good_bundle):
    """Serves the bundle's folder, and an address that leads to a file of this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/leads-away":
                self.send_response(302)
                self.send_header("Location", "file:///etc/passwd")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_):
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(good_bundle.parent)))
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


def test_a_bundle_comes_from_an_address(server, store, tried):
    assert install(f"{server}/good.bundle", store).changed


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nothing", "answers 404"),
        ("/leads-away", "file:///etc/passwd' is not allowed"),
    ],
)
def test_an_address_that_gives_no_bundle_is_told(server, store, path, said):
    with pytest.raises(UserError, match=said):
        install(server + path, store)


def test_an_address_that_gives_too_much_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr("edge_app.model_store.fetch.MAX_BUNDLE_BYTES", 1000)
    with pytest.raises(UserError, match="gives more than"):
        fetch(f"{server}/good.bundle", tmp_path / "x")


def test_a_password_in_an_address_is_not_shown(store):
    assert hide_password("https://user:secret@host:1/x?y") == "https://host:1/x?y"
    with pytest.raises(UserError) as caught:
        install("http://user:secret@127.0.0.1:1/x", store)
    assert "secret" not in str(caught.value)


def test_the_commands_from_trust_to_rollback(good_bundle, store, tmp_path):
    run = partial(CliRunner().invoke, model_commands, standalone_mode=False)
    key = next(store.keys.glob("*.pub"))
    text = key.read_text()
    key.unlink()
    assert "trusted: " in run(["trust", "-"], input=text).output
    assert "signed by" in run(["verify", str(good_bundle)]).output
    installed = run(["install", str(good_bundle)])
    assert "on trial for its first minutes" in installed.output
    assert "in use (cpu), on trial" in run(["list"]).output
    assert json.loads(run(["list", "--json"]).output)["current"]["variant"] == "cpu"
    assert "all right" in run(["verify"]).output
    labels = ModelConfig().path.parent / "labels.txt"
    labels.write_text("dog\n")
    assert "labels.txt of the installed model" in str(run(["verify"]).exception)
    assert f"{DEFAULT_MODEL.stem} is in use now" in run(["rollback"]).output
    assert "by hand" in run(["list"]).output
    assert "has no bundle" in str(run(["verify"]).exception)
    (tmp_path / "x.pub").write_text("ssh-ed25519 AAAA")
    assert "is not a public key" in str(run(["trust", str(tmp_path / "x.pub")]).exception)
    assert os.access(store.keys, os.R_OK)
