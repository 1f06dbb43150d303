"""Every page in a real browser, as people use it."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from edge_app.calibration import load_camera
from edge_app.capture.feed import FeedPolicy
from edge_app.config import Config, load_config
from edge_app.delivery.post_office import WayOut
from edge_app.live import CameraSource
from edge_app.pipeline import Pipeline
from edge_app.records import Detections, Frame
from tests.edge_app.scenes import CAMERA, NoModel, results_of
from tests.edge_app.storage.made import WITHOUT_METRES, event, minute
from tests.edge_app.test_live import FakeSource, wait_until
from tests.edge_app.web.chromium import console, open_chromium
from tests.edge_app.web.first_page import measure
from tests.edge_app.web.history import put
from tests.edge_app.web.served import PASSWORD, Dashboard, ReconfigurablePipeline
from training.simulation.scenes import Crowd, random_scene, walking_people

PAGES = ("/", "/history", "/events/run-3", "/system", "/settings", "/settings/calibration", "/settings/places")


# One person, and no calibration with which to say where.
NOT_MEASURED = results_of([[0.0, 6.0]], camera=None)[-1]


class MovingSource(FakeSource):
    """Each frame is another shade."""

    def __iter__(self):
        for frame in super().__iter__():
            yield Frame(np.full((240, 320, 3), 40 + frame.index % 150, np.uint8), frame.index, frame.time_s)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    opened = open_chromium(tmp_path_factory.mktemp("profile"))
    opened.set_page_load_timeout(60)
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A dashboard with an admin, a moving picture and events of the last minutes."""
    page = Dashboard(tmp_path_factory.mktemp("pages"), source=MovingSource(fps=10.0))
    page.site.security.accounts.set_password("admin", PASSWORD, "admin")
    now = int(time.time()) // 60 * 60
    put(page.store, [event(i, camera="camera", start=now - 900 + 60 * i, seconds=2 + i) for i in range(5)],
        [minute(i, camera="camera", start=now - 60 * i) for i in range(20)])  # fmt: skip
    wait_until(lambda: page.runner.state.latest() is not None)
    yield page
    page.close()


@pytest.fixture(scope="module")
def two_cameras(tmp_path_factory):
    """A dashboard on a machine of one's own with two cameras, each with an event."""
    yaml = "cameras:\n  door:\n    source: {uri: rtsp://a/1}\n  hall:\n    source: {uri: rtsp://a/2}\n"
    page = Dashboard(tmp_path_factory.mktemp("two"), cameras=("door", "hall"), yaml=yaml)
    now = int(time.time()) // 60 * 60
    put(page.store, [event(i, camera=name, start=now - 300) for i, name in enumerate(("door", "hall"))],
        [minute(i, camera=name, start=now - 300) for i, name in enumerate(("door", "hall"))])  # fmt: skip
    wait_until(lambda: all(runner.state.latest() is not None for runner in page.runners))
    yield page
    page.close()


@pytest.fixture
def logged_in(driver, site):
    go(driver, site, "/settings/places")
    if "/login" in driver.current_url:
        log_in(driver)
        await_(lambda: "/login" not in driver.current_url)
    console(driver)
    return driver


def go(driver, site, path):
    driver.get(site.server.address.rstrip("/") + path if site.place else "")


def await_(condition):
    """Wait for what a click brings; the machine may be busy."""
    wait_until(condition, 60.0)


def find(driver, css):
    return driver.find_element("css selector", css)


def log_in(driver, password=PASSWORD):
    find(driver, "#name").clear()
    find(driver, "#name").send_keys("admin")
    find(driver, "#password").send_keys(password)
    find(driver, "main form button").click()


def text_of(driver, css):
    return driver.execute_script("return document.querySelector(arguments[0])?.textContent.trim() ?? null", css)


def test_a_wrong_password_is_said_and_the_right_one_leads_on(driver, site):
    go(driver, site, "/history")
    assert "/login?next=" in driver.current_url
    log_in(driver, "not the password")
    await_(lambda: "name or password is wrong" in (text_of(driver, "[role=alert]") or ""))
    log_in(driver)
    await_(lambda: driver.current_url.endswith("/history"))
    # The refused login itself; its status is what the console notes.
    assert ["401" in entry["message"] for entry in console(driver)] == [True]


def test_the_live_picture_and_the_numbers_change(logged_in, site):
    go(logged_in, site, "/")
    await_(lambda: text_of(logged_in, "#connection") == "live")
    assert find(logged_in, "#hiding").is_displayed()
    await_(lambda: text_of(logged_in, "#people") == "2")
    assert text_of(logged_in, "#nearest") == "1.0 m"
    shade = """const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;
        const pen = canvas.getContext('2d');
        pen.drawImage(document.getElementById('picture'), 10, 200, 1, 1, 0, 0, 1, 1);
        return pen.getImageData(0, 0, 1, 1).data[0];"""
    seen = set()
    await_(lambda: seen.add(logged_in.execute_script(shade)) or len(seen) >= 3)
    plan = """const canvas = document.getElementById('plan');
        return new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size;"""
    assert logged_in.execute_script(plan) > 5
    assert console(logged_in) == []


class ThreeInARow(ReconfigurablePipeline):
    """Sees three people side by side."""

    result = results_of([[0.0, 7.0], [0.3, 7.0], [0.7, 7.0]])[-1]

    def process(self, frame):
        return replace(self.result, index=frame.index, time_s=frame.time_s)


def test_no_distance_on_the_plan_is_written_over_another(driver, dashboard):
    page = dashboard(pipeline=ThreeInARow())
    go(driver, page, "/")
    await_(lambda: text_of(driver, "#people") == "3")
    driver.execute_script("""
        const pen = CanvasRenderingContext2D.prototype, { fillText, clearRect } = pen;
        window.drawn = [];
        pen.clearRect = function (...all) {
          [window.whole, window.drawn] = [window.drawn, []];
          clearRect.apply(this, all);
        };
        pen.fillText = function (text, x, y) {
          window.drawn.push([text, x, y, x + this.measureText(text).width]);
          fillText.call(this, text, x, y);
        };""")
    await_(lambda: len(driver.execute_script("return window.whole ?? []")) >= 4)
    labels = [one for one in driver.execute_script("return window.whole") if "." in one[0]]
    assert [text for text, *_ in labels] == ["0.3 m", "0.4 m", "0.7 m"]
    for number, (_, left, low, right) in enumerate(labels):
        for _, other_left, other_low, other_right in labels[:number]:
            assert right < other_left or other_right < left or abs(low - other_low) >= 12


def test_a_camera_without_pictures_is_not_called_live_nor_a_page_that_is_cut_off(driver, dashboard):
    page = dashboard(pipeline=ReconfigurablePipeline(fail_on=range(8, 10**6)))
    go(driver, page, "/")
    await_(lambda: text_of(driver, "#connection") == "no picture")
    pill = find(driver, "#connection")
    assert pill.get_attribute("class") == "pill lost"
    assert not find(driver, "#hiding").is_displayed()
    assert find(driver, "#banner").is_displayed()
    assert serious_findings(driver) == []
    page.server.stop()
    await_(lambda: text_of(driver, "#connection") == "page not connected")
    assert pill.get_attribute("class") == "pill lost"
    console(driver)  # the lost connection itself


class Trouble:
    """A camera and its pipeline that fail on demand, and work again."""

    def __init__(self, kind, **pipeline):
        self.kind, self.now = kind, False
        policy = FeedPolicy(is_live=True, stall_timeout_s=1.0, frozen_timeout_s=1.0)
        self.source = CameraSource("rtsp://door", lambda: self, policy)
        self.pipeline = ReconfigurablePipeline(**pipeline)
        self.pipeline.process, process = self.process, self.pipeline.process
        self.through = process

    def __iter__(self):
        if self.now and self.kind != "withheld":
            raise OSError("nothing answers")
        shade = 40
        for index in itertools.count():
            if self.now and self.kind == "gone":
                raise OSError("the cable was pulled")
            shade = shade if self.now and self.kind == "frozen" else 40 + index % 150
            yield Frame(np.full((240, 320, 3), shade, np.uint8), index, time.monotonic())
            time.sleep(0.05)

    def close(self):
        pass

    def process(self, frame):
        if self.now and self.kind == "withheld":
            raise RuntimeError("a fault on purpose")
        return self.through(frame)


NUMBERS = ("#people", "#too-close", "#pairs", "#nearest")


@pytest.mark.parametrize("kind", ["gone", "frozen", "withheld"])
def test_numbers_of_a_camera_without_a_picture_are_not_known_until_it_comes_back(driver, dashboard, kind):
    trouble = Trouble(kind)
    yaml = "cameras:\n  door:\n    source: {uri: rtsp://a/1}\n  hall:\n    source: {uri: rtsp://a/2}\n"
    page = dashboard(source=trouble.source, pipeline=trouble.pipeline, cameras=("door", "hall"), yaml=yaml)
    go(driver, page, "/")
    console(driver)  # of the page before, whose server has gone
    await_(lambda: [text_of(driver, number) for number in NUMBERS] == ["2", "2", "1", "1.0 m"])
    driver.execute_script("""
        const pen = CanvasRenderingContext2D.prototype, { arc, clearRect } = pen;
        window.dots = window.drawn = 0;
        pen.clearRect = function (...all) {
          [window.drawn, window.dots] = [window.dots, 0];
          clearRect.apply(this, all);
        };
        pen.arc = function (...all) { window.dots += 1; arc.apply(this, all); };""")
    await_(lambda: driver.execute_script("return window.drawn") == 2)
    trouble.now = True
    wait_until(lambda: not page.runner.state.health()["current"])
    time.sleep(0.5)  # frames on their way
    last = page.runner.state.latest()
    since = driver.execute_script("return new Date(1000 * arguments[0]).toTimeString().slice(0, 8)", last.utc_s)
    await_(lambda: [text_of(driver, number) for number in NUMBERS] == [f"–no picture since {since}"] * 4)
    assert text_of(driver, "#plan-unknown") == f"Nobody is drawn: no picture since {since}."
    assert text_of(driver, "#connection") == "no picture"
    assert "alarm" not in find(driver, "#too-close-card").get_attribute("class")
    await_(lambda: driver.execute_script("return window.drawn") == 0)
    assert serious_findings(driver) == []
    other = page.browser().get("/api/v1/state?camera=hall").get_json()
    assert (other["health"]["current"], other["now"]["people"]) == (True, 2)
    trouble.now = False
    await_(lambda: [text_of(driver, number) for number in NUMBERS] == ["2", "2", "1", "1.0 m"])
    await_(lambda: driver.execute_script("return window.drawn") == 2)
    assert not find(driver, "#plan-unknown").is_displayed()
    assert text_of(driver, "#connection") == "live"
    assert console(driver) == []


def test_one_pair_is_named_as_one(driver, dashboard):
    go(driver, dashboard(), "/")
    await_(lambda: [text_of(driver, number) for number in NUMBERS[:3]] == ["2", "2", "1"])
    names = [text_of(driver, f"{number} + span") for number in NUMBERS[:3]]
    assert names == ["people in view", "people too close", "pair too close"]


def test_numbers_are_not_known_on_a_page_that_is_cut_off(driver, dashboard):
    page = dashboard()
    go(driver, page, "/")
    await_(lambda: text_of(driver, "#people") == "2")
    page.server.stop()
    await_(lambda: (text_of(driver, "#people .quiet") or "").startswith("no picture since"))
    assert find(driver, "#plan-unknown").is_displayed()
    assert text_of(driver, "#connection") == "page not connected"
    console(driver)  # the lost connection itself


def test_numbers_in_metres_are_not_known_while_no_calibration_holds(driver, dashboard):
    pipeline = ReconfigurablePipeline()
    pipeline.process = lambda frame: replace(NOT_MEASURED, index=frame.index, time_s=frame.time_s)
    page = dashboard(pipeline=pipeline)
    go(driver, page, "/")
    await_(lambda: text_of(driver, "#people") == "1")
    unknown = "–no calibration holds, so no distances are claimed"
    assert [text_of(driver, number) for number in NUMBERS[1:]] == [unknown] * 3
    assert text_of(driver, "#plan-unknown") == "Nobody is drawn: no calibration holds, so no distances are claimed."
    assert find(driver, "#plan-unknown").is_displayed()


def test_a_page_of_a_camera_without_calibration_shows_people_and_claims_no_distance(driver, dashboard):
    pipeline = ReconfigurablePipeline(camera=None)
    pipeline.process = lambda frame: replace(NOT_MEASURED, index=frame.index, time_s=frame.time_s)
    page = dashboard(pipeline=pipeline)
    go(driver, page, "/")
    console(driver)  # of the page before, whose server has gone
    await_(lambda: text_of(driver, "#people") == "1")
    assert [text_of(driver, number) for number in NUMBERS[1:]] == [None] * 3
    assert "no distances are claimed" in text_of(driver, "main .empty")
    assert "too close" not in text_of(driver, "main")
    assert console(driver) == []


def test_the_history_shows_the_stored_events(logged_in, site):
    go(logged_in, site, "/history?span=hour")
    assert text_of(logged_in, ".number strong") == "5"
    bars = logged_in.find_elements("css selector", "#events-chart .on-wide .bar rect")
    tall = [bar for bar in bars if float(bar.get_attribute("height")) > 0]
    assert len(tall) == 5
    assert len(logged_in.find_elements("css selector", "#events tbody tr")) == 5
    assert logged_in.find_elements("css selector", "svg.heat image")
    # The nonce lets the chart's own styles through.
    line = "return getComputedStyle(document.querySelector('#people-chart .series .line')).fill"
    assert logged_in.execute_script(line) in ("none", "rgba(0, 0, 0, 0)")
    find(logged_in, "#min_duration_s").send_keys("4.5")
    find(logged_in, "form.filter button").click()
    await_(lambda: len(logged_in.find_elements("css selector", "#events tbody tr")) == 2)
    find(logged_in, "#events a").click()
    await_(lambda: text_of(logged_in, ".number strong") == "6.0 s")
    assert console(logged_in) == []


def test_the_history_begins_with_the_last_hour_until_there_is_more(dashboard):
    page = dashboard()
    now = int(time.time()) // 60 * 60
    put(page.store, minutes=[minute(0, camera="camera", start=now - 600)])
    assert b"<option selected>hour" in page.get("/history")[1]
    assert b"<option selected>day" in page.get("/history?span=day")[1]
    put(page.store, minutes=[minute(1, camera="camera", start=now - 5 * 3600)])
    assert b"<option selected>day" in page.get("/history")[1]


@pytest.mark.parametrize("width", [360, 390])
def test_charts_fit_a_phone_and_can_be_read_there(logged_in, site, width):
    logged_in.set_window_size(500, 900)
    try:
        logged_in.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                  {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": True})  # fmt: skip
        for path in ("/history", "/events/run-3"):
            go(logged_in, site, path)
            texts = logged_in.execute_script("""
                return [...document.querySelectorAll(".chart")].map((chart) => {
                  const all = chart.getBoundingClientRect();
                  return [...chart.querySelectorAll("svg text")].map((text) => [text, text.getBoundingClientRect()])
                    .filter(([text, box]) => box.width && text.textContent)
                    .map(([text, box]) => [text.textContent, box.height, box.left >= all.left && box.right <= all.right
                      && box.top >= all.top && box.bottom <= all.bottom]);
                });""")
            assert all("at most" in [text for text, *_ in chart] for chart in texts[:1])
            assert all(any(":" in text for text, *_ in chart) for chart in texts)
            assert [one for chart in texts for one in chart if one[1] < 9 or not one[2]] == []
    finally:
        logged_in.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        logged_in.set_window_size(1360, 950)


def test_a_wrong_stretch_of_time_shows_the_message(logged_in, site):
    go(logged_in, site, "/history?min_duration_s=lots")
    assert "'min_duration_s'" in text_of(logged_in, "#mistake")


def test_settings_are_applied_and_wrong_ones_are_explained(logged_in, site):
    go(logged_in, site, "/settings")
    field = find(logged_in, "[name='distance.threshold_m']")
    field.clear()
    field.send_keys("-3")
    find(logged_in, "main form > button").click()
    await_(lambda: "'distance.threshold_m': input should be greater than 0" in (text_of(logged_in, "#mistake") or ""))
    field = find(logged_in, "[name='distance.threshold_m']")
    assert (field.get_attribute("value"), field.get_attribute("aria-invalid")) == ("-3", "true")
    field.clear()
    field.send_keys("1.5")
    threads = find(logged_in, "[name='model.threads']")
    threads.clear()
    threads.send_keys("3")
    find(logged_in, "main form > button").click()
    await_(lambda: text_of(logged_in, "#outcome") is not None)
    outcome = text_of(logged_in, "#outcome")
    assert "In force now: distance.threshold_m." in outcome
    assert "Needs restart: model.threads." in outcome
    assert site.pipeline.config.distance.threshold_m == 1.5
    assert load_config(site.config_path).model.threads == 3


def test_an_empty_setting_is_refused_by_its_name_and_nothing_is_changed(logged_in, site):
    before = site.config_path.read_text()
    go(logged_in, site, "/settings")
    find(logged_in, "[name='events.min_duration_s']").clear()
    threads = find(logged_in, "[name='model.threads']")
    threads.clear()
    threads.send_keys("2")
    find(logged_in, "main form > button").click()
    await_(lambda: "'events.min_duration_s' is empty" in (text_of(logged_in, "#mistake") or ""))
    assert site.config_path.read_text() == before
    marked = logged_in.find_elements("css selector", "[aria-invalid=true]")
    assert [field.get_attribute("name") for field in marked] == ["events.min_duration_s"]
    assert marked[0].get_attribute("value") == ""
    await_(lambda: logged_in.execute_script("return document.activeElement.name") == "events.min_duration_s")
    assert find(logged_in, "[name='model.threads']").get_attribute("value") == "2"
    assert serious_findings(logged_in) == []
    console(logged_in)  # the refusal's own status


def click_at(driver, pixel):
    """Click a pixel of the still picture."""
    canvas = find(driver, "#picture")
    width, height = (driver.execute_script(f"return arguments[0].{side}", canvas) for side in ("width", "height"))
    box = driver.execute_script("const b = arguments[0].getBoundingClientRect(); return [b.width, b.height]", canvas)
    from selenium.webdriver import ActionChains

    # Offsets are from the middle.
    x, y = pixel[0] * box[0] / width - box[0] / 2, pixel[1] * box[1] / height - box[1] / 2
    ActionChains(driver).move_to_element_with_offset(canvas, round(x), round(y)).click().perform()


GROUND = np.array([[-1.0, 4.0], [1.0, 4.0], [2.0, 8.0], [-2.0, 8.0]])


def test_clicking_points_gives_the_expected_camera(logged_in, site):
    go(logged_in, site, "/settings/calibration")
    await_(lambda: logged_in.execute_script("return document.getElementById('picture').width") == 320)
    for pixel in CAMERA.ground_to_image(GROUND):
        click_at(logged_in, pixel)
    await_(lambda: len(logged_in.find_elements("css selector", "#points tbody tr")) == 4)
    for row, (x, y) in zip(logged_in.find_elements("css selector", "#points tbody tr"), GROUND):
        for field, value in zip(row.find_elements("css selector", "input"), (x, y)):
            field.send_keys(f"{value:g}")
    await_(lambda: "pixels" in text_of(logged_in, "#rms"))
    assert "m in 9 of 10 cases" in text_of(logged_in, "#gap")
    find(logged_in, "#keep").click()
    await_(lambda: "In force now: calibration." in (text_of(logged_in, "#outcome") or ""))
    camera = load_camera(load_config(site.config_path).calibration)
    # A click lands on a whole pixel of the screen, here a third of one of the picture.
    found = camera.image_to_ground(CAMERA.ground_to_image(GROUND))
    np.testing.assert_allclose(found, GROUND, atol=0.15)
    assert console(logged_in) == []


def set_points(driver, ground_m, said_m):
    """Click where ground is and type what it is said to be, metres."""
    await_(lambda: driver.execute_script("return document.getElementById('picture').width") == 320)
    for pixel in CAMERA.ground_to_image(np.asarray(ground_m)):
        click_at(driver, pixel)
    for row, said in zip(driver.find_elements("css selector", "#points tbody tr"), said_m):
        for field, value in zip(row.find_elements("css selector", "input"), said):
            field.send_keys(f"{value:g}")


def spread_of_marker(driver, pixel):
    """Return the mean distance of the marker's orange from its own middle, pixels."""
    half = 8
    corner = np.round(pixel).astype(int) - half
    size = 2 * half + 1
    data = """return [...document.getElementById('picture').getContext('2d').getImageData(
        arguments[0], arguments[1], arguments[2], arguments[2]).data]"""
    read = np.array(driver.execute_script(data, *corner.tolist(), size), float).reshape(size, size, 4)
    orange = np.maximum(read[..., 0] - read[..., 2], 0.0)
    places = np.argwhere(orange > 0).astype(float)
    weights = orange[orange > 0]
    middle = np.average(places, axis=0, weights=weights)
    return np.average(np.linalg.norm(places - middle, axis=1), weights=weights)


def test_a_point_that_does_not_fit_is_seen_in_the_table_which_stays_in_its_card(logged_in, site):
    ground = np.vstack([GROUND, [[0.0, 5.5], [0.5, 7.0], [-0.8, 6.2]]])
    said = ground.copy()
    said[-1] += 30.0
    logged_in.set_window_size(1280, 950)
    try:
        go(logged_in, site, "/settings/calibration")
        set_points(logged_in, ground, said)
        await_(lambda: text_of(logged_in, "#points tr.left-out .off .badge") == "left out")
        left_out = [row.text.split()[0] for row in logged_in.find_elements("css selector", "#points .left-out")]
        assert left_out == ["7"]
        wide = "const t = document.querySelector('#points').parentElement; return t.scrollWidth - t.clientWidth"
        assert logged_in.execute_script(wide) <= 0
        # The point is a large crossed-out ring where the others are filled: its colour lies farther from its middle.
        fits, wrong = (spread_of_marker(logged_in, pixel) for pixel in CAMERA.ground_to_image(ground)[[0, -1]])
        assert 1.3 * fits < wrong, (fits, wrong)
        assert serious_findings(logged_in) == []
    finally:
        logged_in.set_window_size(1360, 950)


def test_metres_that_are_missing_or_no_number_are_marked_and_nothing_can_be_used_until_then(logged_in, site):
    from selenium.webdriver import Keys

    go(logged_in, site, "/settings/calibration")
    keep = find(logged_in, "#keep")
    assert not keep.is_enabled()
    set_points(logged_in, GROUND[:3], GROUND[:3])
    await_(lambda: text_of(logged_in, "#needed") == "1 more point is needed.")
    assert not keep.is_enabled()
    click_at(logged_in, CAMERA.ground_to_image(GROUND)[3])
    await_(lambda: text_of(logged_in, "#needed") == "Point 4 still needs x and y in metres.")
    assert logged_in.find_elements("css selector", "#points [aria-invalid]") == []
    x, y = logged_in.find_elements("css selector", "#points tbody tr:last-child input")
    x.send_keys("abc\t")
    y.send_keys("8")
    await_(lambda: text_of(logged_in, "#needed") == 'Point 4: "abc" is no number of metres.')
    assert x.get_attribute("aria-invalid") == "true"
    assert not keep.is_enabled()
    x.send_keys(Keys.BACKSPACE * 3)
    await_(lambda: text_of(logged_in, "#needed") == "Point 4 still needs x in metres.")
    y.click()
    assert x.get_attribute("aria-invalid") == "true"
    assert serious_findings(logged_in) == []
    x.send_keys("-2")
    await_(keep.is_enabled)
    assert x.get_attribute("aria-invalid") is None
    assert not find(logged_in, "#needed").is_displayed()
    find(logged_in, "#hfov").send_keys("wide")
    await_(lambda: '"wide" is no number of degrees' in text_of(logged_in, "#needed"))
    assert not keep.is_enabled()


def test_points_on_a_line_show_the_message(logged_in, site):
    go(logged_in, site, "/settings/calibration")
    await_(lambda: logged_in.execute_script("return document.getElementById('picture').width") == 320)
    from selenium.webdriver import Keys

    canvas = find(logged_in, "#picture")
    # By keyboard this time.
    for _ in range(4):
        canvas.send_keys(Keys.ARROW_LEFT * 8, Keys.ENTER)
    for index, field in enumerate(logged_in.find_elements("css selector", "#points input")):
        field.send_keys(str(index))
    await_(lambda: "one line" in (text_of(logged_in, "#mistake") or ""))


def test_unhiding_people_for_a_calibration_is_noted(logged_in, site):
    go(logged_in, site, "/settings/calibration")
    find(logged_in, "#unhidden").click()
    await_(lambda: "unhidden picture" in (site.folder / "audit.log").read_text())


def test_a_region_is_drawn_saved_and_applied(logged_in, site):
    go(logged_in, site, "/settings/places")
    await_(lambda: logged_in.execute_script("return document.getElementById('picture').width") == 320)
    for number, pixel in enumerate(site.pipeline.camera.ground_to_image(GROUND), 1):
        click_at(logged_in, pixel)
        await_(lambda: len(logged_in.find_elements("css selector", "#corners tbody tr")) == number)  # noqa: B023
    assert 10.0 < float(text_of(logged_in, "#area").split()[1]) < 14.0
    find(logged_in, "#save").click()
    await_(lambda: "metrics.region_m" in (text_of(logged_in, "#outcome") or ""))
    np.testing.assert_allclose(site.pipeline.config.metrics.region_m, GROUND, atol=0.2)
    assert load_config(site.config_path).metrics.region_m == site.pipeline.config.metrics.region_m
    field = find(logged_in, "#corners input")
    field.clear()
    field.send_keys("far\t")
    await_(lambda: "no number of metres" in (text_of(logged_in, "#mistake") or ""))
    assert console(logged_in) == []


def serious_findings(driver):
    """Return what axe finds that keeps people out, in light and dark."""
    axe = pytest.importorskip("axe_core_python.selenium", reason="axe-core-python is not installed").Axe
    serious = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        time.sleep(0.2)
        found = axe().run(driver, options={"resultTypes": ["violations"]})
        serious += [
            (scheme, one["id"], [node["html"][:150] for node in one["nodes"]])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    return serious


@pytest.mark.parametrize("path", ["/login", *PAGES])
def test_pages_are_accessible_and_the_console_stays_empty(logged_in, site, path):
    go(logged_in, site, path)
    assert serious_findings(logged_in) == []
    assert console(logged_in) == []


def test_what_was_not_measured_is_a_dash_that_is_read_out(driver, dashboard):
    page = dashboard()
    now = int(time.time()) // 60 * 60
    put(page.store, [], [minute(i, camera="camera", start=now - 60 * i, **WITHOUT_METRES, heat={}) for i in (1, 2)])
    go(driver, page, "/history?span=hour")
    dash = "[role=img][aria-label='not measured']"
    # People on average and at most, and for how long too close.
    assert [one.text for one in driver.find_elements("css selector", f".number strong {dash}")] == ["–"] * 3
    find(driver, "details summary").click()
    cells = [cell.text for cell in driver.find_elements("css selector", "details tbody tr:first-child td")][1:]
    assert cells == ["1 min 0 s", "–", "–", "0", "–"]
    assert len(driver.find_elements("css selector", f"details tbody {dash}")) == 6
    assert "For 2 min 0 s of the time watched there was no calibration" in find(driver, "main").text
    assert serious_findings(driver) == []
    assert console(driver) == []


def test_the_first_page_is_small_and_quick(driver, two_cameras):
    go(driver, two_cameras, "/")
    figures = measure(driver, two_cameras.server.address, rounds=3)
    assert figures["bytes"] < 200_000
    assert figures["requests"] <= 6
    assert figures["complete_ms"] < 1000


def test_nothing_scrolls_sideways_on_a_phone(logged_in, site):
    logged_in.set_window_size(500, 900)
    try:
        logged_in.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                  {"width": 375, "height": 800, "deviceScaleFactor": 2, "mobile": True})  # fmt: skip
        for path in PAGES:
            go(logged_in, site, path)
            wide = logged_in.execute_script("return document.documentElement.scrollWidth")
            assert wide <= 376, path
    finally:
        logged_in.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        logged_in.set_window_size(1360, 950)


def test_one_of_several_cameras_is_picked_on_the_live_page(driver, two_cameras):
    go(driver, two_cameras, "/")
    names = [link.text for link in driver.find_elements("css selector", ".cameras a")]
    assert (names, text_of(driver, ".cameras [aria-current]")) == (["door", "hall"], "door")
    driver.find_elements("css selector", ".cameras a")[1].click()
    await_(lambda: text_of(driver, ".cameras [aria-current]") == "hall")
    await_(lambda: text_of(driver, "#people") == "2")
    await_(lambda: two_cameras.site.camera("hall").picture.viewers == 1)
    assert two_cameras.site.camera("door").picture.viewers == 0
    assert console(driver) == []


def test_the_history_of_one_camera_and_the_state_of_both_are_shown(driver, two_cameras):
    go(driver, two_cameras, "/history?span=hour")
    assert len(driver.find_elements("css selector", "#events tbody tr")) == 2
    find(driver, "#camera option[value=hall], #camera option:last-child").click()
    find(driver, "form.filter button").click()
    await_(lambda: len(driver.find_elements("css selector", "#events tbody tr")) == 1)
    assert text_of(driver, "#events tbody td:nth-child(2)") == "hall"
    find(driver, "#events a").click()
    await_(lambda: "camera hall" in (text_of(driver, ".source") or ""))
    go(driver, two_cameras, "/system")
    titles = [title.text for title in driver.find_elements("css selector", "#system h2")]
    assert titles[:2] == ["Camera door", "Camera hall"]
    # Both rows are of the same minute.
    assert "2 rows of figures (one a minute for each camera" in text_of(driver, "#system")
    assert console(driver) == []


def test_a_line_is_drawn_for_one_of_several_cameras(driver, two_cameras):
    go(driver, two_cameras, "/settings/places?camera=hall")
    await_(lambda: driver.execute_script("return document.getElementById('picture').width") == 320)
    find(driver, "input[value=line]").click()
    for number, pixel in enumerate(CAMERA.ground_to_image(GROUND[:2]), 1):
        click_at(driver, pixel)
        await_(lambda: len(driver.find_elements("css selector", "#corners tbody tr")) == number)  # noqa: B023
    find(driver, "#save").click()
    await_(lambda: "In force now" in (text_of(driver, "#outcome") or ""))
    saved = load_config(two_cameras.config_path).for_each_camera()
    assert saved["door"].metrics.line_m is None
    np.testing.assert_allclose(saved["hall"].metrics.line_m, GROUND[:2], atol=0.2)


@pytest.mark.parametrize("path", ["/?camera=hall", "/history", "/system", "/settings/places?camera=hall"])
def test_pages_of_several_cameras_are_accessible(driver, two_cameras, path):
    go(driver, two_cameras, path)
    assert serious_findings(driver) == []


def test_log_out(logged_in, site):
    go(logged_in, site, "/")
    find(logged_in, ".logout button").click()
    await_(lambda: "/login" in logged_in.current_url)
    go(logged_in, site, "/history")
    assert "/login" in logged_in.current_url


class WalkingPipeline(ReconfigurablePipeline):
    """Sees nobody until ``walk`` is set, then people who walk before an uncalibrated camera, time-lapsed."""

    def __init__(self):
        super().__init__(camera=None)
        random = np.random.default_rng(5)
        self.scene = random_scene(random)
        pipeline = Pipeline(Config(), NoModel(), None)
        frames = walking_people(self.scene, Crowd(people=12, seconds=120.0), random)
        self.results = [
            pipeline.interpret(number, one.time_s, Detections(one.tracks.bbox, one.tracks.score))
            for number, one in enumerate(frames)
        ]
        self.nobody = Pipeline(Config(), NoModel(), None).interpret(0, 0.0, Detections.empty())
        self.walk = threading.Event()
        self._number = 0

    def process(self, frame):
        if not self.walk.is_set():
            return replace(self.nobody, index=frame.index, time_s=frame.time_s)
        laps, number = divmod(self._number, len(self.results))
        self._number += 1
        result = self.results[number]
        return replace(result, index=frame.index, time_s=1000.0 + laps * 120.0 + result.time_s)


class LargeSource(FakeSource):
    """Frames of the walking people's camera."""

    def __init__(self, width, height, fps):
        super().__init__(fps=fps)
        self.width, self.height = width, height

    def __iter__(self):
        for frame in super().__iter__():
            yield Frame(np.full((self.height, self.width, 3), 90, np.uint8), frame.index, frame.time_s)


def test_self_calibration_shows_its_progress_until_it_is_sure_and_is_put_in_force(driver, dashboard, monkeypatch):
    monkeypatch.setattr("edge_app.web.self_calibration._FIT_EVERY_S", 0.5)
    monkeypatch.setattr("edge_app.web.self_calibration._SHORTEST_S", 0.0)
    pipeline = WalkingPipeline()
    camera = pipeline.scene.camera
    source = LargeSource(camera.image_width, camera.image_height, fps=30.0)
    page = dashboard(source=source, pipeline=pipeline)
    wait_until(lambda: page.runner.state.latest() is not None)
    go(driver, page, "/settings/calibration")
    console(driver)
    await_(lambda: driver.execute_script("return document.getElementById('picture').width") == camera.image_width)
    assert text_of(driver, "#self-state") == "not begun"
    assert not find(driver, "#self-use").is_enabled()
    find(driver, "#hfov").send_keys(f"{pipeline.scene.hfov_deg:.1f}")
    find(driver, "#self-begin").click()
    await_(lambda: text_of(driver, "#self-state").endswith("frames; nobody was seen whole so far"))
    assert text_of(driver, "#self-state").startswith("watching, ")
    assert text_of(driver, "#self-camera") == "–"
    assert not find(driver, "#self-use").is_enabled()
    assert serious_findings(driver) == []
    pipeline.walk.set()
    await_(lambda: text_of(driver, "#self-state").endswith("frames; sure"))
    people, walks = (int(number) for number in text_of(driver, "#self-people").split(", "))
    assert people >= 8
    assert walks > 0
    height_m = float(text_of(driver, "#self-camera").split(" m high")[0])
    assert height_m == pytest.approx(camera.position_m[2], rel=0.3)
    assert 0.0 < float(text_of(driver, "#self-sigma").removesuffix(" %")) < 15.0
    assert serious_findings(driver) == []
    find(driver, "#self-use").click()
    await_(lambda: "In force now: calibration." in (text_of(driver, "#outcome") or ""))
    await_(lambda: text_of(driver, "#self-state").startswith("stopped, "))
    # On the ground where people walk, the distances of what was kept are true.
    kept = load_camera(load_config(page.config_path).calibration)
    here = pipeline.scene.region_m[::50]
    ends = [kept.image_to_ground(camera.ground_to_image(here + shift)) for shift in (0.0, 1.0)]
    gaps_m = np.hypot(*(ends[0] - ends[1]).T)
    assert np.nanmedian(np.abs(gaps_m / np.sqrt(2) - 1)) < 0.2
    assert console(driver) == []


def test_the_first_password_is_set_on_its_page_with_the_console_s_token(driver, dashboard):
    page = dashboard(hosts="[door.example]")
    console(driver)
    go(driver, page, "/history")
    assert "/first-password" in driver.current_url
    assert text_of(driver, "h1") == "Set the first password"
    assert driver.find_elements("css selector", "nav") == []
    assert driver.execute_script("return document.activeElement.id") == "token"
    assert serious_findings(driver) == []
    assert console(driver) == []

    def send(token, password, again):
        for field, value in (("token", token), ("password", password), ("again", again)):
            find(driver, f"#{field}").send_keys(value)
        find(driver, "main form button").click()

    send("a guess", PASSWORD, PASSWORD)
    await_(lambda: "not the token that the console shows" in (text_of(driver, "[role=alert]") or ""))
    assert serious_findings(driver) == []
    send(page.site.security.first_token, PASSWORD, f"{PASSWORD}!")
    await_(lambda: "the two passwords differ" in (text_of(driver, "[role=alert]") or ""))
    assert driver.execute_script("return document.getElementById('password').value") == ""
    send(page.site.security.first_token, PASSWORD, PASSWORD)
    await_(lambda: text_of(driver, ".logout button") == "Log out admin")
    await_(lambda: text_of(driver, "#people") == "2")
    # The two refusals themselves; their statuses are what the console notes.
    noted = [entry["message"] for entry in console(driver)]
    assert [next(status for status in ("401", "400") if f"status of {status}" in one) for one in noted] == [
        "401",
        "400",
    ]
    find(driver, ".logout button").click()
    await_(lambda: "/login" in driver.current_url)
    go(driver, page, "/first-password")
    assert "/login" in driver.current_url


def problem_shown(driver, status, sentence):
    """Check a page that says what did not work; the console notes its status and nothing else."""
    assert (driver.title, text_of(driver, "h1")) == (status, "That did not work")
    assert text_of(driver, "main p") == sentence
    # The text keeps the card's own distance from its edges, 16 pixels and the border.
    edges = driver.execute_script(
        """const [card, first, last] = ["main .card", "main p", "main p:last-child"].map(
             (one) => document.querySelector(one).getBoundingClientRect());
           return [first.top - card.top, card.bottom - last.bottom];"""
    )
    assert edges == pytest.approx([17.0, 17.0], abs=1.0)
    assert serious_findings(driver) == []
    noted = [entry["message"] for entry in console(driver)]
    assert len(noted) == 1, noted
    assert f"status of {status}" in noted[0]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/nothing", "There is nothing at this address."),
        ("/events/nothing", "There is no such event; it may be older than history is kept."),
    ],
)
def test_a_page_that_is_not_there_says_so_and_leads_back(logged_in, site, path, sentence):
    go(logged_in, site, path)
    problem_shown(logged_in, "404", sentence)
    find(logged_in, "main a").click()
    await_(lambda: text_of(logged_in, "#people") == "2")
    assert logged_in.current_url.rstrip("/") == site.server.address.rstrip("/")


def test_a_page_that_fails_says_so_without_telling_why(logged_in, site, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError("on purpose, with a /secret/path")

    monkeypatch.setattr("edge_app.storage.store.Store.events", fail)
    go(logged_in, site, "/history")
    problem_shown(logged_in, "500", "Something failed here; see the log.")
    assert "on purpose" not in logged_in.page_source
    assert "Traceback" not in logged_in.page_source
    monkeypatch.undo()
    go(logged_in, site, "/history")
    assert text_of(logged_in, "h1") == "History"


def test_a_stranger_who_asks_for_nothing_is_told_to_log_in(driver, dashboard):
    page = dashboard(hosts="[door.example]")
    page.site.security.accounts.set_password("admin", PASSWORD, "admin")
    driver.delete_all_cookies()
    console(driver)
    go(driver, page, "/nothing")
    problem_shown(driver, "401", "Log in first, or send an API token as 'Authorization: Bearer …'.")
    find(driver, "main a").click()
    await_(lambda: text_of(driver, "h1") == "Log in")


def test_one_row_and_one_event_of_history_are_told_as_one(dashboard):
    page, start = dashboard(), int(time.time()) // 60 * 60 - 300
    put(page.store, [event(0, start=start)], [minute(0, start=start)])
    browser = page.browser()
    assert "<dd>1 event, 1 row of figures (one a minute" in browser.get("/system").get_data(as_text=True)
    assert "<strong>1</strong><span>event</span>" in browser.get("/history?span=hour").get_data(as_text=True)


def test_trouble_of_a_way_out_is_on_the_system_page_and_in_the_api(dashboard):
    ways = [WayOut("mqtt", 7, "the MQTT broker b cannot be reached"), WayOut("webhook-1", None, None)]
    browser = dashboard(ways_out=lambda: ways).browser()
    html = browser.get("/system").get_data(as_text=True)
    assert '<p class="mistake">The MQTT broker b cannot be reached</p>' in html
    assert "<dt>mqtt</dt><dd>in trouble, 7 waiting</dd>" in html
    assert "<dt>webhook-1</dt><dd>works, unknown how many waiting</dd>" in html
    assert browser.get("/api/v1/system").get_json()["delivery"] == [
        {"channel": "mqtt", "waiting": 7, "trouble": "the MQTT broker b cannot be reached"},
        {"channel": "webhook-1", "waiting": None, "trouble": None},
    ]
    ways.clear()
    assert "Delivery" not in browser.get("/system").get_data(as_text=True)
