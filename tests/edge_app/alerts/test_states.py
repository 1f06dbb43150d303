from __future__ import annotations

import pytest

from edge_app.alerts.config import AlertsConfig
from edge_app.alerts.sink import AlertSink
from edge_app.config import MetricsConfig
from edge_app.sinks import StatusNotice
from tests.edge_app.scenes import results_of
from tests.edge_app.storage.made import NOON, two_people

UNKNOWN = {"people": None, "occupancy": None, "violating_people": None, "violation": None}


@pytest.fixture
def sink():
    made = AlertSink(AlertsConfig(), {"door": MetricsConfig(), "yard": MetricsConfig()}, "run", lambda alerts: None)
    yield made
    made.close()


def test_a_camera_that_never_gave_a_picture_has_a_state_and_its_fault(sink):
    assert sink.states()["yard"] == {"utc_s": None, **UNKNOWN, "fault": "OFF"}
    sink.notice(StatusNotice("yard", "source", False, "the camera is gone", NOON))
    assert {camera: state["fault"] for camera, state in sink.states().items()} == {"door": "OFF", "yard": "ON"}


def test_figures_of_a_camera_that_fell_silent_are_unknown_and_not_those_of_before(sink, monkeypatch):
    result = two_people(frames=30)[-1]
    sink.accept("door", NOON, result)
    state = sink.states()["door"]
    assert (state["people"], state["violation"], state["utc_s"]) == (2, "ON", NOON)
    monkeypatch.setattr("edge_app.current.FRESH_S", -1.0)
    assert sink.states()["door"] == {"utc_s": NOON, **UNKNOWN, "fault": "OFF"}


@pytest.mark.parametrize("kind", ["source", "pipeline"])
def test_figures_of_a_camera_that_is_known_to_give_no_picture_are_unknown_at_once(sink, kind):
    sink.accept("door", NOON, two_people(frames=30)[-1])
    sink.notice(StatusNotice("door", kind, False, "the camera is gone", NOON))
    assert sink.states()["door"] == {"utc_s": NOON, **UNKNOWN, "fault": "ON"}
    sink.notice(StatusNotice("door", kind, True, "the camera is live", NOON))
    assert sink.states()["door"]["people"] == 2


def test_figures_go_on_while_something_else_is_broken(sink):
    sink.accept("door", NOON, two_people(frames=30)[-1])
    sink.notice(StatusNotice("door", "storage", False, "the disk is full", NOON))
    assert (sink.states()["door"]["people"], sink.states()["door"]["fault"]) == (2, "ON")


def test_without_a_calibration_people_are_counted_and_nothing_in_metres_is_known(sink):
    sink.use_places("yard", MetricsConfig(region_m=[(-1.0, 4.0), (1.0, 4.0), (1.0, 8.0)]))
    for camera in ("door", "yard"):
        sink.accept(camera, NOON, results_of([[0.0, 6.0], [1.0, 6.0]], camera=None)[-1])
    known = {"utc_s": NOON, **UNKNOWN, "people": 2, "fault": "OFF"}
    assert sink.states() == {"door": {**known, "occupancy": 2}, "yard": known}
