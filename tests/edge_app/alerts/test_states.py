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
    monkeypatch.setattr("edge_app.alerts.sink._STALE_S", -1.0)
    assert sink.states()["door"] == {"utc_s": NOON, **UNKNOWN, "fault": "OFF"}


def test_who_is_too_close_or_in_a_region_is_unknown_without_a_calibration_that_holds():
    region = MetricsConfig(region_m=[(-0.5, 4.0), (0.5, 4.0), (0.5, 8.0)])
    places = {"door": MetricsConfig(), "yard": region}
    sink = AlertSink(AlertsConfig(), places, "run", lambda alerts: None)
    for camera in places:
        sink.accept(camera, NOON, results_of([[0.0, 6.0], [1.0, 6.0]], frames=30, camera=None)[-1])
    states = sink.states()
    sink.close()
    unknown = {**UNKNOWN, "utc_s": NOON, "fault": "OFF"}
    assert states["door"] == {**unknown, "people": 2, "occupancy": 2}
    assert states["yard"] == {**unknown, "people": 2}
