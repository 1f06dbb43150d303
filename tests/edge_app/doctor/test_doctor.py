from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge_app.accelerator.library import LIBRARY, misfit
from edge_app.config import DEFAULT_MODEL, Config
from edge_app.delegate_probe import DelegateProbe, probe_delegate
from edge_app.doctor.camera import check_source
from edge_app.doctor.edgetpu import check_delegate, check_devices, find_accelerators
from edge_app.doctor.examine import examine
from edge_app.doctor.model import check_model, check_store
from edge_app.doctor.runtime import check_runtime
from edge_app.doctor.system import check_clock, check_disk, check_memory, check_temperature
from edge_app.model_store.store import Failure, ModelStore, Slot, StoreState

STOCK = "BuildLabel(COMPILER=6.3.0 20170516,DATE=redacted,TIME=redacted), RuntimeVersion(14)"
OTHER = "BuildLabel(COMPILER=12.2.0,DATE=redacted), RuntimeVersion(14)"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def usb_stick(root, speed="5000", ids=("18d1", "9302")):
    folder = root / "sys/bus/usb/devices/2-1"
    for name, value in zip(("idVendor", "idProduct", "busnum", "devnum", "speed"), (*ids, "2", "7", speed)):
        write(folder / name, f"{value}\n")
    write(root / "dev/bus/usb/002/007", "")


def pci_card(root, temp="52000", driver=True):
    write(root / "sys/bus/pci/devices/0000:01:00.0/vendor", "0x1ac1\n")
    write(root / "sys/bus/pci/devices/0000:01:00.0/device", "0x089a\n")
    if driver:
        write(root / "dev/apex_0", "")
        write(root / "sys/class/apex/apex_0/temp", f"{temp}\n")
        write(root / "sys/class/apex/apex_0/trip_point0_temp", "85000\n")


def one(findings, level, said, fix):
    found = [finding for finding in findings if finding.level == level]
    assert len(found) == 1, findings
    assert said in found[0].sentence
    assert fix in found[0].fix


@pytest.mark.parametrize(
    ("versions", "python", "level", "said", "fix"),
    [
        ({"numpy": "1.26.4"}, (3, 9), "error", "no TensorFlow Lite runtime", "pip install '.[cpu]'"),
        (
            {"tflite-runtime": "2.9.1", "numpy": "2.0.2"},
            (3, 9),
            "error",
            "cannot be imported with NumPy 2.0.2",
            "numpy<2",
        ),
        ({"ai-edge-litert": "1.0.1", "numpy": "2.1.0"}, (3, 11), "error", "ai-edge-litert 1.0.1 cannot", "numpy<2"),
        ({"ai-edge-litert": "2.3.0", "numpy": "2.1.0"}, (3, 11), "ok", "ai-edge-litert 2.3.0 with NumPy 2.1.0", ""),
        ({"ai-edge-litert": "2.3.0"}, (3, 11), "error", "NumPy is not installed", "numpy<2"),
        ({"tflite-runtime": "2.9.1", "numpy": "1.26.4"}, (3, 9), "ok", "tflite-runtime 2.9.1", ""),
        ({"numpy": "1.21"}, (3, 7), "error", "Python 3.7 is too old", "install Python 3.9"),
    ],
)
def test_the_runtime_and_its_numpy(versions, python, level, said, fix):
    one(check_runtime(versions, python), level, said, fix)


@pytest.mark.parametrize(
    ("library", "runtime", "fits"),
    [
        (STOCK, "tflite_runtime 2.7.0", True),
        (STOCK, "tflite_runtime 2.9.1", True),
        (STOCK, "tflite_runtime 2.10.0", False),
        (STOCK, "tflite_runtime 2.14.0", False),
        (STOCK, "ai_edge_litert 2.3.0", False),
        (STOCK, "tflite_runtime", False),
        (OTHER, "ai_edge_litert 2.3.0", True),
        (OTHER, "tflite_runtime 2.17.1", True),
    ],
)
def test_the_rule_on_library_and_runtime(library, runtime, fits):
    reason = misfit(library, runtime)
    assert (reason is None) == fits
    assert reason is None or "install tflite-runtime 2.9.1" in reason


def fake_library(folder, version, body="return 0;"):
    """A libedgetpu of our own: says a version; ``body`` is what happens when its delegate is made."""
    source = folder / "fake.c"
    source.write_text(
        f'const char* edgetpu_version(void) {{ return "{version}"; }}\n'
        "void* edgetpu_list_devices(unsigned long* count) { *count = 1; return 0; }\n"
        "#include <stdlib.h>\n"
        "void* tflite_plugin_create_delegate(char** k, char** v, unsigned long n, void (*e)(const char*)) "
        f"{{ {body} }}\n"
        "void tflite_plugin_destroy_delegate(void* d) {}\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(folder / "libedgetpu.so.1"), str(source)], check=True)
    return folder


@pytest.mark.parametrize(
    ("version", "body", "said"),
    [
        (STOCK, "return 0;", "crashes with ai_edge_litert"),
        (OTHER, "abort();", "kills its process with signal 6"),
        (OTHER, "return 0;", "no Edge TPU answers"),
    ],
)
def test_a_library_that_does_not_fit_is_found_in_a_child(tmp_path, monkeypatch, version, body, said):
    if subprocess.run(["sh", "-c", "command -v cc"], capture_output=True, check=False).returncode:
        pytest.skip("there is no C compiler for the stand-in of libedgetpu")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(fake_library(tmp_path, version, body)))
    probe = probe_delegate()
    assert probe.fault is not None
    assert said in probe.fault
    assert (probe.library, probe.runtime_version, probe.devices) == (version, 14, 1)
    (finding,) = check_delegate(probe, present=True, needed=False)
    assert finding.level == "error"
    assert finding.fix


def test_the_process_that_holds_the_accelerator_refuses_what_the_probe_refuses(tmp_path, monkeypatch):
    if subprocess.run(["sh", "-c", "command -v cc"], capture_output=True, check=False).returncode:
        pytest.skip("there is no C compiler for the stand-in of libedgetpu")
    # A delegate that ends its process shows that it was not even made.
    monkeypatch.setenv("LD_LIBRARY_PATH", str(fake_library(tmp_path, STOCK, "abort();")))
    command = [sys.executable, "-m", "edge_app.accelerator.child", str(DEFAULT_MODEL), ""]
    done = subprocess.run(command, capture_output=True, input=b"", check=False)
    assert done.returncode == 0
    assert done.stdout[:1] == b"E"
    assert b"crashes with ai_edge_litert" in done.stdout


def test_a_machine_without_the_library_is_told_the_package(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    probe = probe_delegate()
    assert probe.fault == "libedgetpu.so.1 is not installed; install the package libedgetpu1-std (docs/install.md)"
    assert check_delegate(probe, present=False, needed=False)[0].level == "note"
    assert check_delegate(probe, present=True, needed=False)[0].level == "error"
    assert check_delegate(probe, present=False, needed=True)[0].level == "error"


def test_a_probe_that_hangs_is_given_up(tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    program.chmod(0o755)
    assert "does not answer" in str(probe_delegate(str(program), timeout_s=0.3).fault)


def test_an_edge_tpu_that_answers_is_said_with_its_runtime():
    probe = DelegateProbe("tflite_runtime 2.9.1", STOCK, 14, 1, None)
    assert check_delegate(probe, True, True)[0].sentence.endswith("(tflite_runtime 2.9.1, Edge TPU runtime 14)")
    assert LIBRARY == "libedgetpu.so.1"


def test_no_edge_tpu_is_a_note(tmp_path):
    one(check_devices(tmp_path), "note", "no Edge TPU is connected", "plug it in")


@pytest.mark.parametrize("ids", [("1a6e", "089a"), ("18d1", "9302")])
def test_a_stick_is_found_before_and_after_its_first_use(tmp_path, ids):
    usb_stick(tmp_path, ids=ids)
    (accelerator,) = find_accelerators(tmp_path)
    assert (accelerator.bus, accelerator.node, accelerator.speed) == ("USB", tmp_path / "dev/bus/usb/002/007", 5000)
    one(check_devices(tmp_path), "ok", "may be used", "")


def test_a_stick_on_usb_2_is_slow(tmp_path):
    usb_stick(tmp_path, speed="480")
    one(check_devices(tmp_path), "warning", "480 Mbit/s, USB 2", "USB 3 port")


def test_a_stick_that_may_not_be_used_needs_the_udev_rule(tmp_path):
    usb_stick(tmp_path)
    one(check_devices(tmp_path, lambda node: False), "error", "may not be used by this user", "plugdev")


def test_permissions_of_the_device_node_count(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    usb_stick(tmp_path)
    node = tmp_path / "dev/bus/usb/002/007"
    node.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    one(check_devices(tmp_path), "ok", "may be used", "")
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            os._exit(int([finding.level for finding in check_devices(tmp_path)] != ["error"]))
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_a_stick_that_is_not_mapped_into_the_container_is_told_so(tmp_path):
    usb_stick(tmp_path)
    (tmp_path / "dev/bus/usb/002/007").unlink()
    one(check_devices(tmp_path, lambda node: False), "error", "may not be used", "-v /dev/bus/usb:/dev/bus/usb")


def test_a_card_without_a_driver(tmp_path):
    pci_card(tmp_path, driver=False)
    one(check_devices(tmp_path), "error", "no /dev/apex_0", "gasket-dkms")


@pytest.mark.parametrize(
    ("temp", "level", "said"),
    [("88000", "warning", "slows down from 85"), ("-89700", "error", "does not answer")],
)
def test_the_temperature_of_a_card(tmp_path, temp, level, said):
    pci_card(tmp_path, temp)
    one(check_devices(tmp_path), level, said, "")


def test_a_missing_model_and_one_that_cannot_be_loaded(tmp_path):
    missing = check_model(tmp_path / "none.tflite")
    assert (missing.level, "model install" in missing.fix) == ("error", True)
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 40)
    finding = check_model(broken)
    assert (finding.level, finding.fix) == ("error", "the file is damaged or needs another runtime")


def test_a_model_that_fails_in_an_unknown_way_is_told_with_its_name(tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'Traceback (most recent call last):' >&2\necho 'OSError: lost' >&2\nexit 1\n")
    program.chmod(0o755)
    finding = check_model(DEFAULT_MODEL, str(program))
    assert finding.sentence == f"model {DEFAULT_MODEL.name} does not load (OSError: lost)"
    assert "runtime" in finding.fix


def test_the_model_that_ships_loads():
    assert check_model(DEFAULT_MODEL).level == "ok"


def test_what_the_store_of_models_says(tmp_path):
    store = ModelStore(tmp_path)
    assert [finding.level for finding in check_store(store)] == ["ok"]
    store.write_state(StoreState(failures=(Failure(bundle="m-1", utc_s=1.0, reason="it cannot be opened"),)))
    one(check_store(store), "warning", "m-1 was left again: it cannot be opened", "corrected bundle")
    store.write_state(StoreState(current=Slot(bundle="gone", variant="cpu")))
    one(check_store(store), "error", "gone is not installed", "model list")
    (tmp_path / "state.json").write_text("{")
    one(check_store(store), "error", "is damaged", "install your model again")


def test_cameras(tmp_path):
    assert check_source(None).level == "note"
    missing = check_source("/dev/video3", tmp_path)
    assert "no camera is there" in missing.sentence
    write(tmp_path / "dev/video0", "")
    assert check_source("0", tmp_path).level == "ok"
    assert "there are video0" in check_source("3", tmp_path).sentence
    assert "group video" in check_source("0", tmp_path, lambda path: False).fix
    assert check_source(str(tmp_path / "none.mp4")).level == "error"


def test_a_network_camera_is_asked_and_its_password_is_not_shown():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert check_source(f"rtsp://user:secret@127.0.0.1:{port}/live").level == "ok"
    gone = check_source(f"rtsp://user:secret@127.0.0.1:{port}/live")
    assert gone.level == "error"
    assert "secret" not in gone.sentence + gone.fix
    assert check_source("rtsp://:99999999/x").level == "error"
    torn = check_source("rtsp://user:secret@[bad/x")
    assert (torn.level, torn.sentence) == ("error", "source rtsp://[bad/x is no address")


def test_a_name_that_is_too_long_for_a_file_does_not_exist():
    assert check_source("x" * 300 + ".mp4").level == "error"


def test_each_of_several_cameras_is_checked_and_named(monkeypatch):
    monkeypatch.setattr("edge_app.doctor.examine.probe_delegate", lambda: DelegateProbe("none", "", 0, 0, None))
    sources = {"lobby": {"source": {"uri": "nowhere.mp4"}}, "yard": {"source": {"uri": str(DEFAULT_MODEL)}}}
    found = {one.check: one for one in examine(Config.model_validate({"cameras": sources}))}
    assert (found["camera lobby"].level, found["camera yard"].level) == ("error", "ok")
    assert "camera" not in found


def test_disk_memory_clock(tmp_path, monkeypatch):
    assert check_disk(tmp_path / "not" / "yet").level == "ok"
    usage = type("Usage", (), {"free": 100 << 20})()
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert check_disk(tmp_path).level == "error"
    write(tmp_path / "proc/meminfo", "MemTotal:  900000 kB\nMemAvailable:  90000 kB\n")
    assert check_memory(tmp_path).level == "warning"
    assert "past" in check_clock(0.0, tmp_path).sentence
    assert check_clock(1.8e9, tmp_path).level == "ok"
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert "not synchronised" in check_clock(1.8e9, tmp_path).sentence
    write(tmp_path / "run/systemd/timesync/synchronized", "")
    assert check_clock(1.8e9, tmp_path).level == "ok"


def test_heat_and_throttling(tmp_path):
    assert list(check_temperature(tmp_path)) == []
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "86000\n")
    write(tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "600000\n")
    write(tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "1500000\n")
    write(tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    sentences = [finding.sentence for finding in check_temperature(tmp_path)]
    assert sentences == [
        "the processor has 86 °C",
        "the processor is held to 600 of 1500 MHz",
        "the power supply is too weak (under-voltage)",
    ]


def test_a_package_that_everything_needs_is_told_without_a_traceback(tmp_path):
    # A folder in front of the installed packages, with a NumPy that is not there.
    (tmp_path / "numpy.py").write_text("raise ModuleNotFoundError(\"No module named 'numpy'\", name='numpy')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "edge_app", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("the package numpy is not installed")
    assert len(done.stderr.splitlines()) == 1


def test_the_command_tells_each_problem_with_its_fix_and_fails(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("model: {path: none.tflite}\nsource: {uri: none.mp4}\n")
    command = [sys.executable, "-m", "edge_app", "doctor", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    problems = [index for index, line in enumerate(lines) if line.startswith("PROBLEM")]
    assert len(problems) == 2
    assert all(lines[index + 1].strip().startswith("fix: ") for index in problems)
    assert lines[-1].startswith("2 problems")
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    content = json.loads(done.stdout)
    assert not content["ok"]
    assert {finding["check"] for finding in content["findings"]} >= {"runtime", "model", "camera", "disk", "clock"}
    assert Path(DEFAULT_MODEL).is_file()
