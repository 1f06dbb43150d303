from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_app.model_store.store import ModelStore
from tests.edge_app.model_store.bundles import Parts
from tests.edge_app.model_store.conftest import KEY, good_bundle  # noqa: F401 - a fixture
from training.bundle.command import deploy

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """A real SSH server on a loopback port, which lets this user in with a key of its own; returns options for ssh."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("openssh-server is not installed")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # the server's empty folder, which its start script makes
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host", "PidFile": "none", "UsePAM": "no",
        "AuthorizedKeysFile": folder / "authorized", "StrictModes": "no", "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
    }  # fmt: skip
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=(folder / "log").open("wb"))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    options = (
        f"-p {port} -i {folder}/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    )
    check = subprocess.run(["ssh", *shlex.split(options), "-o", "BatchMode=yes", "127.0.0.1", "true"], check=False)
    if check.returncode != 0:
        server.terminate()
        pytest.skip(f"the SSH server lets nobody in: {(folder / 'log').read_text()[-200:]}")
    yield options
    server.terminate()
    server.wait()


@pytest.fixture
def there(tmp_path):
    """How the application starts on the device, with a state of its own."""
    state = tmp_path / "state"
    command = f"env EDGE_APP_STATE={state} PYTHONPATH={Path.cwd()} {sys.executable} -m edge_app"
    return command, ModelStore(state / "models")


@pytest.fixture
def public_key(tmp_path):
    from edge_app.model_store.signing import public_key_of

    path = tmp_path / "release.pub"
    path.write_text(public_key_of(KEY, "tests").line() + "\n")
    return path


def run(*arguments):
    return CliRunner().invoke(deploy, [str(argument) for argument in arguments], standalone_mode=False)


HOST = f"{getpass.getuser()}@127.0.0.1"


def test_a_bundle_is_installed_over_a_real_connection_and_the_application_started_again(
    device, there, public_key, good_bundle, tmp_path  # noqa: F811
):  # fmt: skip
    command, store = there
    restart = f"touch {tmp_path}/restarted"
    done = run(HOST, good_bundle, "--command", command, "--ssh", device, "--trust", public_key, "--restart", restart)
    assert done.exception is None, done.exception
    assert "people in 1 golden frames" in done.output
    assert done.output.endswith(f"{HOST}: done\n")
    assert store.state().current is not None
    assert (tmp_path / "restarted").exists()


def test_a_bundle_that_the_device_refuses_is_told_in_its_words(device, there, public_key, good_bundle, tmp_path):  # noqa: F811
    command, store = there
    parts = Parts.of(good_bundle, KEY)
    parts.files["labels.txt"] = b"people\n"
    bad = parts.pack(tmp_path / "bad.bundle")
    done = run(HOST, bad, "--command", command, "--ssh", device, "--trust", public_key, "--restart", "false")
    assert "labels.txt in the bundle is not the file that was signed" in str(done.exception)
    assert store.state().current is None
    assert "trusts no key yet" in str(
        run(HOST, bad, "--command", command.replace("state", "other"), "--ssh", device).exception
    )


@pytest.mark.parametrize(
    ("host", "file", "said"),
    [
        ("-oProxyCommand=id", "README.md", "is not a host"),
        ("a host", "README.md", "is not a host"),
        ("127.0.0.1", "none.bundle", "make it with 'training bundle'"),
    ],
)
def test_wrong_use_is_one_sentence(host, file, said):
    assert said in str(run("--", host, file).exception)


def test_a_device_that_is_not_there_is_told():
    if shutil.which("ssh") is None:
        pytest.skip("openssh-client is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert "cannot be reached over ssh" in str(run("127.0.0.1", "README.md", "--ssh", f"-p {port}").exception)
