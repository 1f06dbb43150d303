from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_app.calibration import load_camera
from edge_app.calibration.self_calibrator import SelfCalibration
from edge_app.config import Config, load_config
from edge_app.errors import UserError
from edge_app.storage import Store
from edge_app.storage.wiring import open_sinks
from edge_app.web.app import create_app
from edge_app.web.self_calibration import LiveSelfCalibration
from tests.edge_app.scenes import CAMERA
from tests.edge_app.storage.made import NOON, WITHOUT_METRES, alert, event, minute
from tests.edge_app.test_live import wait_until
from tests.edge_app.web.history import put
from tests.edge_app.web.served import ReconfigurablePipeline
from tests.edge_app.web.test_access import every_route

FROM, TO = "2026-01-01T11:00:00Z", "2026-01-01T14:00:00Z"


def with_picture(page):
    wait_until(lambda: all(runner.state.latest() is not None for runner in page.runners))
    return page


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_a_change_without_account_or_token_works_as_documented(dashboard):
    page = with_picture(dashboard())
    (commands,) = re.findall(r"```\n(CSRF=.*?)```", Path("docs/dashboard.md").read_text(), re.DOTALL)
    commands = commands.replace("http://localhost:8080", f"http://{page.place.netloc}")
    done = subprocess.run(
        ["bash", "-c", commands], cwd=page.folder, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["live"] == ["distance.threshold_m"]
    assert load_config(page.config_path).distance.threshold_m == 1.5


def test_every_operation_is_in_the_document_and_every_model_resolves(dashboard):
    page = dashboard()
    document = page.browser().get("/api/v1/openapi.json").get_json()
    told = {
        (method.upper(), re.sub(r"{\w+}", "x", path)) for path, item in document["paths"].items() for method in item
    }
    real = {
        (method, path.removeprefix("/api/v1"))
        for endpoint, method, path in every_route(create_app(page.site))
        if endpoint.startswith("api.")
    }
    assert told == real
    assert document["openapi"] == "3.1.0"
    for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert reference in document["components"]["schemas"]


def test_events_come_by_page_and_filter(dashboard):
    page = dashboard(cameras=("door", "hall"))
    events = [event(number, start=NOON + 60 * number, seconds=1.0 + number) for number in range(5)]
    put(page.store, [*events, event(9, camera="hall", same_group=True)])
    browser = page.browser()
    first = browser.get("/api/v1/events?camera=door&limit=2").get_json()
    assert [one["uid"] for one in first["events"]] == ["run-4", "run-3"]
    assert first["total"] == 5
    second = browser.get(f"/api/v1/events?camera=door&limit=2&cursor={first['next_cursor']}").get_json()
    assert [one["uid"] for one in second["events"]] == ["run-2", "run-1"]
    assert [one["uid"] for one in browser.get("/api/v1/events?together=true").get_json()["events"]] == ["run-9"]
    assert browser.get("/api/v1/events?min_duration_s=4.5").get_json()["total"] == 1
    assert browser.get("/api/v1/events?max_distance_m=0.5").get_json()["total"] == 0
    assert browser.get("/api/v1/events?max_distance_m=0.8").get_json()["total"] == 6
    assert browser.get(f"/api/v1/events?from={TO}").get_json()["total"] == 0
    assert browser.get(f"/api/v1/events?from={NOON + 30}&to={NOON + 90}").get_json()["total"] == 1
    assert browser.get("/api/v1/events/run-9").get_json()["camera"] == "hall"
    assert browser.get("/api/v1/events/nothing").status_code == 404


def test_figures_over_time_heat_and_notices(dashboard):
    page = dashboard()
    put(page.store, [event(0, camera="camera")], [minute(0, camera="camera"), minute(1, "camera", int(NOON) + 60)])
    browser = page.browser()
    (bucket,) = browser.get(f"/api/v1/series?from={FROM}&to={TO}").get_json()["series"]
    assert (bucket["events"], bucket["watched_s"], bucket["occupancy_max"]) == (1, 120.0, 3)
    heat = browser.get("/api/v1/heat").get_json()
    assert (heat["cell_m"], heat["x_m"], heat["y_m"]) == (0.5, 0.0, -1.0)
    assert np.array(heat["person_s"]).tolist() == [[0, 60], [0, 0], [120, 0]]
    assert browser.get("/api/v1/notices").get_json() == {"notices": []}


def test_what_was_not_measured_is_null_and_the_document_says_so(dashboard):
    page = dashboard()
    put(page.store, [], [minute(0, camera="camera", **WITHOUT_METRES, heat={})])
    browser = page.browser()
    (bucket,) = browser.get("/api/v1/series").get_json()["series"]
    document = browser.get("/api/v1/openapi.json").get_json()["components"]["schemas"]["Bucket"]
    named = ("occupancy_mean", "occupancy_max", "person_s", "exposed_person_s", "violating_pair_s")
    for name in named:
        assert bucket[name] is None
        assert {"type": "null"} in document["properties"][name]["anyOf"]
    assert (bucket["watched_s"], bucket["counted_s"], bucket["measured_s"]) == (60.0, 0.0, 0.0)
    (row,) = browser.get("/api/v1/export/minutes?format=json").get_json()
    assert (row["people"], row["violating_people"], row["exposed_person_s"]) == (3, None, None)


def test_exports_are_files_of_a_stretch_of_time_and_are_noted(dashboard):
    page = dashboard()
    put(page.store, [event(0, camera="camera"), event(1, camera="camera", start=NOON + 10_000)])
    browser = page.browser()
    answer = browser.get(f"/api/v1/export/events?from={FROM}&to={TO}")
    assert answer.headers["Content-Disposition"] == "attachment; filename=events.csv"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["uid"] for row in rows] == ["run-0"]
    assert len(browser.get("/api/v1/export/events?format=json").get_json()) == 2
    assert browser.get("/api/v1/export/minutes?format=json").get_json() == []
    assert '"action": "export"' in (page.folder / "audit.log").read_text()


@pytest.mark.parametrize("kind", ["events", "minutes", "notices", "alerts"])
def test_an_export_of_what_cannot_be_read_is_one_sentence(dashboard, kind):
    page = dashboard()
    page.store.path.write_bytes(b"no database" * 1000)
    answer = page.browser().get(f"/api/v1/export/{kind}")
    assert answer.status_code == 400
    assert "cannot be read (file is not a database)" in answer.get_json()["error"]


def test_alerts_are_exported_as_events_are(dashboard):
    page = dashboard()
    put(page.store, [], [], [alert(0), alert(1, NOON + 10_000)])
    browser = page.browser()
    rows = list(csv.DictReader(io.StringIO(browser.get(f"/api/v1/export/alerts?from={FROM}&to={TO}").text)))
    assert [(row["uid"], row["state"], row["utc"]) for row in rows] == [("a0", "firing", "2026-01-01T12:00:00.000Z")]
    assert len(browser.get("/api/v1/export/alerts?format=json&camera=door").get_json()) == 2
    assert browser.get("/api/v1/openapi.json").get_json()["paths"]["/export/alerts"]["get"]["responses"]["200"]
    assert "/api/v1/export/alerts?format=csv" in browser.get("/history").text


@pytest.mark.parametrize(("path", "said"), [
    ("events?limit=0", "query: 'limit': input should be greater than or equal to 1, not '0'"),
    ("events?limit=٣x", "'limit'"), ("events?limt=3", "query: unknown key 'limt' (did you mean 'limit'?)"),
    ("events?limit=1&limit=2", "'limit' is given twice"), ("events?cursor=x", "'cursor'"),
    ("events?from=2026-01-01T00:00:00", "'from': input should have timezone info"),
    ("events?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "'from' must be before 'to'"),
    ("events?min_duration_s=nan", "'min_duration_s'"), ("series?bucket_s=90", "multiple of 60"),
    ("state?x=1", "unknown key 'x'"), ("cameras?x=1", "unknown key 'x'"),
    ("export/events?format=xls", "'csv' or 'json'"),
    ("events?from=1e300", "'from'"), ("events?from=-1e18", "'from'"),
])  # fmt: skip
def test_a_wrong_query_is_one_sentence(dashboard, path, said):
    answer = dashboard().browser().get(f"/api/v1/{path}")
    assert answer.status_code == 400
    assert said in answer.get_json()["error"]
    assert "\n" not in answer.get_json()["error"]


def test_an_unknown_camera_is_one_sentence(dashboard):
    answer = dashboard().browser().get("/api/v1/state?camera=camra")
    assert answer.status_code == 404
    assert answer.get_json()["error"] == "there is no camera 'camra' (did you mean 'camera'?); see /api/v1/cameras"


def test_a_change_is_in_force_and_in_the_file_with_its_comments_and_a_backup(dashboard):
    page = dashboard(yaml="distance:\n  threshold_m: 2.0  # as the rules say\n")
    before = page.config_path.read_text()
    answer = page.browser().send("PATCH", "/api/v1/config", {"changes": {"distance": {"threshold_m": 1.5}}})
    assert answer.get_json() == {"live": ["distance.threshold_m"], "needs_restart": []}
    assert page.pipeline.config.distance.threshold_m == 1.5
    after = page.config_path.read_text()
    assert after == before.replace("2.0", "1.5")
    assert (page.folder / "site.yaml.bak").read_text() == before
    assert load_config(page.config_path).distance.threshold_m == 1.5
    log = [json.loads(line) for line in (page.folder / "audit.log").read_text().splitlines()]
    assert log[-1]["change"] == {"distance.threshold_m": 1.5}


def test_what_cannot_change_while_it_runs_says_so(dashboard):
    page = dashboard()
    change = {"changes": {"model": {"score_threshold": 0.5}, "events": {"max_gap_s": 3}}}
    answer = page.browser().send("PATCH", "/api/v1/config", change)
    assert answer.get_json() == {"live": ["events.max_gap_s"], "needs_restart": ["model.score_threshold"]}


def test_null_brings_the_default_back(dashboard):
    page = dashboard(yaml="distance:\n  threshold_m: 3.0\n")
    assert (
        page.browser().send("PATCH", "/api/v1/config", {"changes": {"distance": {"threshold_m": None}}}).status_code
        == 200
    )
    assert page.site.settings.config.distance.threshold_m == 2.0


@pytest.mark.parametrize(("changes", "said"), [
    ({"distance": {"threshold_m": -1}}, "site.yaml: 'distance.threshold_m': input should be greater than 0, not -1"),
    ({"distance": {"treshold_m": 1}}, "unknown key 'distance.treshold_m' (did you mean 'threshold_m'?)"),
    ({"events": {"open_probability": 0.1}}, "close_probability must not be above open_probability"),
    ({"metrics": {"region_m": [[0, 0], [1, 1]]}}, "'metrics.region_m'"),
    ({"metrics": {"region_m": [[0, 0], [1, 1], [2, 2]]}}, "has no area"),
    ({"dashboard": {"host": "0.0.0.0"}}, "in the configuration file only"),
    ({"model": {"path": "/etc/passwd"}}, "'model.path' can be changed in the configuration file only"),
    ({"distanc": {"threshold_m": 1}}, "did you mean 'distance'"),
    ({"privacy": {"people": "show"}}, "people can be shown by the configuration file only"),
    ({"model": {"low_score_threshold": 0.3}}, "people who are found with a lower score are not hidden"),
    ({"model": {"low_score_threshold": "0.3"}}, "people who are found with a lower score are not hidden"),
    ({"source": {"uri": "file:///etc/passwd"}}, "files and GStreamer descriptions go into the configuration file"),
    ({"source": {"uri": "../../etc/passwd"}}, "files and GStreamer"), ({"source": {"uri": 7}}, "files and GStreamer"),
    ({"source": {"uri": "filesrc location=/etc/passwd ! fakesink"}}, "files and GStreamer"),
    ({"source": {"uri": "rtsp://a/b\nx"}}, "files and GStreamer"), ({"source": {"uri": "gopher://a"}}, "GStreamer"),
    ({"source": {"uri": "http://169.254.169.254/latest/meta-data"}}, "no camera; give another address"),
    ({}, "nothing to change"), ({"distance": {}}, "nothing to change"),
])  # fmt: skip
def test_a_wrong_change_is_one_sentence_and_changes_nothing(dashboard, changes, said):
    page = dashboard()
    before = page.config_path.read_text()
    answer = page.browser().send("PATCH", "/api/v1/config", {"changes": changes})
    assert answer.status_code == 400
    assert said in answer.get_json()["error"]
    assert page.config_path.read_text() == before
    assert page.pipeline.config is None


def test_a_source_is_changed_for_the_next_start_and_its_password_is_not_shown(dashboard):
    page = dashboard()
    browser = page.browser()
    answer = browser.send("PATCH", "/api/v1/config", {"changes": {"source": {"uri": "rtsp://u:hunter2@10.0.0.7/a"}}})
    assert answer.get_json()["needs_restart"] == ["source.uri", "source.only_cameras"]
    assert load_config(page.config_path).source.only_cameras
    mine = {"changes": {"source": {"only_cameras": False}}}
    assert browser.send("PATCH", "/api/v1/config", mine).status_code == 400
    assert "hunter2" in page.config_path.read_text()
    assert "hunter2" not in browser.get("/api/v1/config").text
    assert "hunter2" not in (page.folder / "audit.log").read_text()


def test_a_file_that_cannot_be_written_leaves_everything_as_it_was(dashboard, monkeypatch):
    page = dashboard()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge_app.web.settings.write_atomically", full)
    answer = page.browser().send("PATCH", "/api/v1/config", {"changes": {"distance": {"threshold_m": 1.5}}})
    assert answer.status_code == 400
    assert "No space left on device" in answer.get_json()["error"]
    assert page.pipeline.config.distance.threshold_m == 2.0
    assert page.site.settings.config.distance.threshold_m == 2.0


def test_each_of_several_cameras_has_its_own_place(dashboard):
    cameras = "cameras:\n  door:\n    source: {uri: rtsp://a/1}\n  hall:\n    source: {uri: rtsp://a/2}\n"
    page = dashboard(cameras=("door", "hall"), yaml=cameras)
    line = {"metrics": {"line_m": [[0, 0], [1, 0]]}}
    answer = page.browser().send("PATCH", "/api/v1/config", {"camera": "hall", "changes": line})
    assert answer.get_json() == {"live": ["cameras.hall.metrics.line_m"], "needs_restart": []}
    assert page.pipelines[0].config is None  # its open events and figures go on
    assert page.pipelines[1].config.metrics.line_m == ((0, 0), (1, 0))
    states = [page.browser().get(f"/api/v1/state?camera={name}").get_json()["camera"] for name in ("door", "hall")]
    assert states == ["door", "hall"]


def test_hiding_people_in_another_way_leaves_the_pipeline_alone(dashboard):
    page = dashboard()
    answer = page.browser().send("PATCH", "/api/v1/config", {"changes": {"privacy": {"people": "blur"}}})
    assert answer.get_json() == {"live": ["privacy.people"], "needs_restart": []}
    assert page.pipeline.config is None
    page.browser().send("PATCH", "/api/v1/config", {"changes": {"distance": {"threshold_m": 1.5}}})
    assert page.pipeline.config.distance.threshold_m == 1.5


def test_what_one_camera_refuses_is_in_force_at_none(dashboard, monkeypatch):
    cameras = "cameras:\n  door:\n    source: {uri: rtsp://a/1}\n  hall:\n    source: {uri: rtsp://a/2}\n"
    page = dashboard(cameras=("door", "hall"), yaml=cameras)

    def refuse(config):
        if config.distance.threshold_m == 1.5:
            raise UserError("that does not fit the hall; take another")

    monkeypatch.setattr(page.pipelines[1], "reconfigure", refuse)
    answer = page.browser().send("PATCH", "/api/v1/config", {"changes": {"distance": {"threshold_m": 1.5}}})
    assert answer.get_json() == {"error": "that does not fit the hall; take another"}
    assert page.pipelines[0].config.distance.threshold_m == 2.0


def test_a_region_reaches_stored_figures_and_alerts_while_it_runs(dashboard, tmp_path):
    alerts = {"rules": [{"name": "full", "kind": "occupancy", "above": 1, "sustained_s": 0, "clear_s": 0}]}
    config = Config.model_validate({"storage": {"folder": tmp_path, "min_free_mb": 0, "commit_s": 0.02},
                                    "alerts": alerts})  # fmt: skip
    with open_sinks(config) as sinks:
        page = dashboard(sinks=sinks)
        store = Store(config.storage.path)
        wait_until(lambda: any(alert.state == "firing" for alert in store.alerts()))
        # Only one of the two people is in there.
        region = {"metrics": {"region_m": [[-0.5, 4.0], [0.5, 4.0], [0.5, 8.0], [-0.5, 8.0]]}}
        assert page.browser().send("PATCH", "/api/v1/config", {"changes": region}).status_code == 200
        wait_until(lambda: any(alert.state == "recovered" for alert in store.alerts()))
        wait_until(lambda: store.minutes()[-1].density_per_m2 is not None)
        assert store.minutes()[-1].occupancy_max == 1
        page.close()


GROUND = np.array([[-1.0, 4.0], [1.0, 4.0], [2.0, 8.0], [-2.0, 8.0], [0.5, 6.0]])


def clicked(wrong=None):
    pixels = CAMERA.ground_to_image(GROUND)
    if wrong is not None:
        pixels[wrong] += 60
    return [{"px": px, "m": m} for px, m in zip(pixels.tolist(), GROUND.tolist())]


def test_points_become_a_calibration_that_is_previewed_kept_and_in_force(dashboard):
    page = with_picture(dashboard(pipeline=ReconfigurablePipeline(camera=None)))
    browser = page.browser()
    preview = browser.send("POST", "/api/v1/calibration/preview", {"points": clicked()}).get_json()
    assert preview["rms_px"] < 0.1
    assert all(preview["used"])
    assert len(preview["grid"]) > 5
    matrix = np.array(preview["image_to_world"])
    ground = np.column_stack([CAMERA.ground_to_image(GROUND), np.ones(5)]) @ matrix.T
    np.testing.assert_allclose(ground[:, :2] / ground[:, 2:], GROUND, atol=0.01)
    assert not page.browser().get("/api/v1/ground").get_json()["calibrated"]
    kept = browser.send("PUT", "/api/v1/calibration", {"points": clicked()}).get_json()
    assert kept == {"live": ["calibration"], "needs_restart": [], "file": "camera_calibration_1.yaml"}
    camera = load_camera(page.folder / kept["file"])
    np.testing.assert_allclose(camera.image_to_ground(CAMERA.ground_to_image(GROUND)), GROUND, atol=0.01)
    assert load_config(page.config_path).calibration == page.folder / kept["file"]
    assert browser.get("/api/v1/ground").get_json()["calibrated"]
    assert browser.send("PUT", "/api/v1/calibration", {"points": clicked()}).get_json()["file"].endswith("_2.yaml")


def test_a_wrong_point_is_found_and_too_few_are_refused(dashboard):
    browser = with_picture(dashboard()).browser()
    points = clicked(wrong=2)
    extra = {"px": CAMERA.ground_to_image(np.array([[0.0, 5.0]]))[0].tolist(), "m": [0.0, 5.0]}
    preview = browser.send("POST", "/api/v1/calibration/preview", {"points": [*points, extra]}).get_json()
    assert preview["used"] == [True, True, False, True, True, True]
    few = browser.send("POST", "/api/v1/calibration/preview", {"points": points[:3]})
    assert few.status_code == 400
    assert "at least 4" in few.get_json()["error"]
    on_a_line = [{"px": [10 * i, 10 * i], "m": [i, 0]} for i in range(5)]
    assert (
        "on one line" in browser.send("POST", "/api/v1/calibration/preview", {"points": on_a_line}).get_json()["error"]
    )


def test_places_are_mapped_both_ways(dashboard):
    browser = with_picture(dashboard()).browser()
    pixels = CAMERA.ground_to_image(np.array([[0.5, 6.0]]))[0].tolist()
    mapped = browser.send("POST", "/api/v1/calibration/map", {"px": [pixels, [160, 0]], "m": [[0.5, 6.0]]}).get_json()
    np.testing.assert_allclose(mapped["m"][0], [0.5, 6.0], atol=0.01)
    assert mapped["m"][1] is None
    np.testing.assert_allclose(mapped["px"][0], pixels, atol=0.1)


def test_before_the_first_picture_nothing_can_be_calibrated(dashboard):
    from tests.edge_app.test_live import FakeSource

    browser = dashboard(source=FakeSource(frames=0)).browser()
    assert browser.get("/api/v1/calibration/still").status_code == 409
    answer = browser.send("POST", "/api/v1/calibration/preview", {"points": clicked()})
    assert "no picture yet" in answer.get_json()["error"]


def test_self_calibration_says_how_far_it_is(dashboard, monkeypatch):
    monkeypatch.setattr("edge_app.web.self_calibration._FIT_EVERY_S", 0.2)
    page = with_picture(dashboard())
    browser = page.browser()
    assert browser.get("/api/v1/calibration/self").get_json()["running"] is False
    assert browser.send("PUT", "/api/v1/calibration/self", {}).status_code == 409
    begun = browser.send("POST", "/api/v1/calibration/self", {"hfov_deg": 70}).get_json()
    assert begun["running"] is True
    wait_until(lambda: browser.get("/api/v1/calibration/self").get_json()["frames"] > 5)
    said = browser.get("/api/v1/calibration/self").get_json()
    assert said["unsure"]
    assert said["fault"] is None
    assert "hfov" in browser.send("POST", "/api/v1/calibration/self", {"hfov_deg": 500}).get_json()["error"]


@pytest.mark.parametrize(
    ("watched_s", "unsure"), [(30.0, "watched for 30 s so far; it goes on for 90 s more"), (120.0, "")]
)
def test_self_calibration_is_not_sure_before_it_has_watched_for_two_minutes(watched_s, unsure):
    calibration = LiveSelfCalibration.__new__(LiveSelfCalibration)
    seen = SelfCalibration(CAMERA, 60.0, 3.0, 20.0, 0.0, {}, 0.05, 8, 9, "", np.zeros((0, 7)))
    calibration._calibrator = SimpleNamespace(result=lambda: seen)
    assert calibration._fitted(watched_s).unsure == unsure


def test_the_system_says_how_it_does_and_its_log_is_for_admins(beyond):
    browser = beyond.browser()
    browser.log_in("guest")
    said = browser.get("/api/v1/system").get_json()
    assert said["cpus"] >= 1
    assert said["history"]["events"] == 0
    assert (said["inference"]["kind"], said["inference"]["problem"]) == ("CPU", "unplugged")
    page = browser.get("/system").text
    for words in ("CPU, 2 threads", "ai_edge_litert 2.1", "stands in for the Edge TPU (usb:0)", "unplugged"):
        assert words in page
    assert browser.get("/api/v1/log").status_code == 403


def test_without_history_its_operations_say_so(dashboard):
    page = dashboard()
    page.site.store = None
    answer = page.browser().get("/api/v1/events")
    assert answer.status_code == 404
    assert "storage.enabled" in answer.get_json()["error"]
