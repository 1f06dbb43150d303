from __future__ import annotations

import http.server
import json
import os
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial

import pytest
from click.testing import CliRunner

from edge_app.config import DEFAULT_MODEL, ModelConfig, load_config
from edge_app.detector import load_detector
from edge_app.errors import UserError
from edge_app.model_store.command import model_commands
from edge_app.model_store.fetch import fetch, hide_password
from edge_app.model_store.install import STEPS, install, roll_back, verify_file
from edge_app.model_store.self_test import SelfTest
from edge_app.model_store.store import ModelStore, StoreState
from edge_app.model_store.verify import is_whole


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


def damage(store, bundle, how):
    model = store.path_of(store.state().current)
    if how == "changed":
        model.write_bytes(b"\0" + model.read_bytes()[1:])
    elif how == "lost":
        model.unlink()
    else:
        shutil.rmtree(store.folder_of(bundle))


@pytest.mark.parametrize("how", ["changed", "lost", "folder lost"])
def test_a_damaged_model_is_repaired_by_its_bundle(how, parts, store, tmp_path, tried):
    old = install(newer(parts, tmp_path / "1", 1), store).bundle
    prove(store)
    source = newer(parts, tmp_path / "2", 2)
    bundle = install(source, store).bundle
    prove(store)
    damage(store, bundle, how)
    assert install(source, store).changed
    assert uses(bundle)
    assert is_whole(bundle, store)
    assert store.state().previous.bundle == old
    assert not install(source, store).changed


def test_a_damaged_model_keeps_no_other_out_and_is_nothing_to_go_back_to(parts, store, tmp_path, tried):
    first = install(newer(parts, tmp_path / "1", 1), store).bundle
    prove(store)
    second = install(newer(parts, tmp_path / "2", 2), store).bundle
    prove(store)
    damage(store, second, "folder lost")
    third = install(newer(parts, tmp_path / "3", 3), store).bundle
    assert uses(third)
    assert store.state().previous.bundle == first


def test_a_damaged_model_before_is_replaced_when_it_is_installed_again(parts, store, tmp_path, tried):
    source = newer(parts, tmp_path / "1", 1)
    first = install(source, store).bundle
    damage(store, first, "lost")
    store.write_state(StoreState(previous=store.state().current))
    assert install(source, store).changed
    assert is_whole(first, store)


def test_what_is_damaged_or_strange_is_listed_so(good_bundle, store, tried):
    bundle = install(str(good_bundle), store).bundle
    ModelConfig().path.unlink()
    (store.folder / "installed" / "stray").mkdir()
    (store.folder / "installed" / "a file").write_text("")
    lines = CliRunner().invoke(model_commands, ["list"]).output.splitlines()
    assert lines[:3] == [
        "a file  damaged, install it again  not in use",
        f"{bundle}  damaged, install it again  in use (cpu), on trial",
        "stray  damaged, install it again  not in use",
    ]
    assert len(lines) == 5


@contextmanager
def files_of_at_most(size):
    """Writing beyond it fails, as on a full disk."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_a_full_disk_is_told(good_bundle, server, store, tried):
    with files_of_at_most(100_000):
        with pytest.raises(UserError, match=r"models in .* cannot be written .*; free space"):
            install(f"{server}/good.bundle", store)
        for act in (lambda: install(str(good_bundle), store), lambda: verify_file(good_bundle, store)):
            with pytest.raises(UserError, match=r"cannot be unpacked .*; free space"):
                act()
    assert store.state().current is None


def test_a_store_that_cannot_be_written_is_told_by_rollback(good_bundle, store, tried):
    install(str(good_bundle), store)
    (store.folder / "state.lock").unlink()
    (store.folder / "state.lock").mkdir()
    done = CliRunner().invoke(model_commands, ["rollback"], standalone_mode=False)
    assert isinstance(done.exception, UserError)
    assert "cannot be written" in str(done.exception)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_installs_belongs_to_the_owner_of_the_state_folder(good_bundle, store, tmp_path, tried):
    outside, private = tmp_path / "outside", tmp_path / "private"
    outside.write_text("")
    private.write_text("")
    (store.folder / "link").symlink_to(outside)
    (store.folder / "second name").hardlink_to(private)
    os.chown(store.folder.parent, 4711, 4712)
    run = partial(CliRunner().invoke, model_commands, standalone_mode=False)
    for command in (["trust", str(next(store.keys.glob("*.pub")))], ["install", str(good_bundle)], ["rollback"]):
        assert run(command).exception is None
        store.hold_trial().close()
        given = [store.folder, *(path for path in store.folder.rglob("*") if path.name not in ("link", "second name"))]
        assert {(path.stat().st_uid, path.stat().st_gid) for path in given} == {(4711, 4712)}
    assert {path.lstat().st_uid for path in (outside, private, store.folder / "link")} == {0}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_installs_for_itself_stays_its_own(good_bundle, store, tried):
    (store.folder / "lock").touch()
    os.chown(store.folder / "lock", 4711, 4712)
    install(str(good_bundle), store)
    assert (store.folder / "lock").stat().st_uid == 4711
    assert ModelConfig().path.stat().st_uid == 0


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


def test_a_connection_that_fails_on_the_way_is_told(server, tmp_path, monkeypatch):
    def fail(*_):
        raise ssl.SSLError(1, "record layer failure")

    monkeypatch.setattr("http.client.HTTPResponse.read", fail)
    with pytest.raises(UserError, match=r"cannot be fetched .*record layer failure"):
        fetch(f"{server}/good.bundle", tmp_path / "x")


@pytest.mark.parametrize("address", ["http://[bad", "HTTPS://user:secret@[bad/x", "http://", "http://host:port/x"])
def test_an_address_that_is_none_is_told(store, address):
    with pytest.raises(UserError) as caught:
        install(address, store)
    assert "secret" not in str(caught.value)


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
