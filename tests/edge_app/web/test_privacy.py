"""Nobody's picture gets out: a marked person, and everything that answers and is written is searched for the mark."""

from __future__ import annotations

import base64
import io
import re
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge_app.analysis import AnalysisOptions, analyze
from edge_app.calibration import save_camera
from edge_app.capture.feed import FeedPolicy
from edge_app.config import Config, parse_config
from edge_app.live import LiveState
from edge_app.live.inference_thread import InferenceThread
from edge_app.live.live_pipeline import LivePipeline
from edge_app.live.runner import CameraSource, LiveRunner
from edge_app.manifest import InputSpec
from edge_app.motion_gate import MotionGate, MotionGateConfig
from edge_app.preprocess import InputGeometry
from edge_app.records import Detections, Frame, Tracks
from edge_app.render import annotate
from edge_app.render.privacy import hide_people
from edge_app.storage.backup import back_up
from edge_app.tiles.config import TilesConfig
from edge_app.tiles.tiled_detector import with_tiles
from edge_app.web.app import create_app
from edge_app.web.picture import LivePicture
from tests.edge_app.scenes import CAMERA
from tests.edge_app.storage.made import event, minute
from tests.edge_app.synthetic import boxes_of_people
from tests.edge_app.test_live import RESULTS, FakeSource, wait_until
from tests.edge_app.web.history import put
from tests.edge_app.web.served import ReconfigurablePipeline
from tests.edge_app.web.test_access import every_route
from tests.edge_app.web.test_api import GROUND

# Fine stripes of two colours that no overlay has; whatever blurs or pixelates mixes them to grey.
BOX = (100, 60, 160, 200)
_MAGENTA, _GREEN = (255, 0, 255), (0, 255, 0)


def marked_picture(box=BOX):
    picture = np.full((240, 320, 3), 90, np.uint8)
    left, top, right, bottom = box
    person = np.zeros((bottom - top, right - left, 3), np.uint8)
    # Bands of four pixels survive a JPEG.
    person[(np.arange(bottom - top) // 4 % 2 == 0)] = _MAGENTA
    person[(np.arange(bottom - top) // 4 % 2 == 1)] = _GREEN
    picture[top:bottom, left:right] = person
    return picture


def has_mark(picture):
    """Tell whether stripes are to be seen: strong magenta beside strong green."""
    wide = picture.astype(int)
    magenta = (wide[..., 0] > 170) & (wide[..., 2] > 170) & (wide[..., 1] < 90)
    green = (wide[..., 1] > 170) & (wide[..., 0] < 90) & (wide[..., 2] < 90)
    return bool(magenta.sum() > 20 and green.sum() > 20)


def pictures_in(content):
    """Yield every JPEG and PNG in some bytes, also behind a data address."""
    for start in re.finditer(b"\xff\xd8\xff|\x89PNG\r\n\x1a\n", content):
        picture = cv2.imdecode(np.frombuffer(content[start.start() :], np.uint8), cv2.IMREAD_COLOR)
        if picture is not None:
            yield picture
    for inline in re.finditer(rb"base64,([A-Za-z0-9+/=]{40,})", content):
        yield from pictures_in(base64.b64decode(inline[1]))


class MarkedSource(FakeSource):
    """Shows the marked person."""

    def __iter__(self):
        for frame in super().__iter__():
            yield Frame(marked_picture(), frame.index, frame.time_s)


class FindsThePerson(ReconfigurablePipeline):
    """Has the person as a strong box, a weak box that makes no track, or a track that is lost."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def process(self, frame):
        result = super().process(frame)
        box = np.array([BOX], np.float32)
        if self.how == "weak":
            return replace(result, detections=Detections(box, np.array([0.16], np.float32)), tracks=Tracks.empty(),
                           ground=RESULTS[-1].ground[np.zeros(2, bool)])  # fmt: skip
        lost = self.how == "lost"
        found = Detections.empty() if lost else Detections(box, np.array([0.9], np.float32))
        tracks = replace(result.tracks, bbox=np.concatenate([box, box]), observed=np.full(2, not lost))
        return replace(result, detections=found, tracks=tracks)


def test_the_search_finds_the_mark_where_nothing_hides_it():
    ok, jpeg = cv2.imencode(".jpg", marked_picture(), [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert ok
    assert [has_mark(one) for one in pictures_in(b"--frame\r\n" + jpeg.tobytes())] == [True]
    inline = b'<img src="data:image/jpeg;base64,' + base64.b64encode(jpeg.tobytes()) + b'">'
    assert [has_mark(one) for one in pictures_in(inline)] == [True]
    hidden = hide_people(marked_picture(), np.array([BOX], np.float32), "pixelate")
    assert not has_mark(hidden)


def test_a_picture_that_was_drawn_before_people_were_to_be_hidden_is_shown_to_nobody_after():
    live = LiveState("a source", "a model", calibrated=False)
    found = Detections(np.array([BOX], np.float32), np.array([0.9], np.float32))
    result = replace(RESULTS[-1], detections=found, tracks=Tracks.empty())
    live.publish(Frame(marked_picture(), 0, 0.0), result, 0.0, time.time())
    picture = LivePicture(live, None, "show", max_fps=12.0)

    def first_seen():
        (shown,) = pictures_in(next(picture.stream(threading.Event())))
        return shown

    assert has_mark(first_seen())
    picture.use(None, "pixelate")
    assert not has_mark(first_seen())


@pytest.mark.parametrize("how", ["strong", "weak", "lost"])
@pytest.mark.parametrize("mode", ["pixelate", "blur", "schematic"])
def test_no_route_and_no_file_shows_the_marked_person(dashboard, how, mode):
    page = dashboard(source=MarkedSource(), pipeline=FindsThePerson(how), yaml=f"privacy: {{people: {mode}}}\n")
    wait_until(lambda: page.runner.state.latest() is not None)
    now = int(time.time())
    put(page.store, [event("x", camera="camera", start=now - 60)], [minute(0, camera="camera", start=now - 90)])
    browser = page.browser()
    # Writes a camera file with what is remembered of the scene.
    points = [{"px": px, "m": m} for px, m in zip(CAMERA.ground_to_image(GROUND).tolist(), GROUND.tolist())]
    assert browser.send("PUT", "/api/v1/calibration", {"points": points}).status_code == 200
    client = browser.client
    searched, pictures = 0, 0
    for _, method, path in every_route(create_app(page.site)):
        # The one exception, for admins: it is in the audit log, as test_pages.py checks.
        if method != "GET":
            continue
        with client.open(path, method=method, buffered=False) as answer:
            content, parts = b"", iter(answer.response)
            until_s = time.monotonic() + 0.3
            while time.monotonic() < until_s and len(content) < 10**6:
                part = next(parts, None)
                if part is None:
                    break
                content += part.encode() if isinstance(part, str) else part
        searched += 1
        for picture in pictures_in(content):
            pictures += 1
            assert not has_mark(picture), path
    assert searched >= 20
    # Live, still, heat map.
    assert pictures >= 3
    back_up(page.store.path, page.folder / "backup.sqlite")
    files = [file for file in page.folder.rglob("*") if file.is_file()]
    assert {"camera_calibration_1.yaml", "audit.log", "backup.sqlite"} <= {file.name for file in files}
    for file in files:
        assert not any(has_mark(picture) for picture in pictures_in(file.read_bytes())), file


class FindsThePersonNowAndThen:
    """Finds a weak box where the marked person is: in its first frame only, or only in tiles that show the mark."""

    name, input = "marked", InputSpec(width=160, height=160, dtype="uint8")

    def __init__(self, by_tile):
        self.by_tile, self.frames = by_tile, 0

    def preprocess(self, image):
        height, width = image.shape[:2]
        is_tile = height < 240
        self.frames += not is_tile
        finds = is_tile and has_mark(image) if self.by_tile else self.frames == 1
        return finds, InputGeometry.fit(width, height, 160, 160, "stretch")

    def invoke(self, tensor):
        time.sleep(0.02)
        return tensor

    def decode(self, outputs, geometry):
        weak = Detections(np.array([BOX], np.float32), np.array([0.3], np.float32))
        return weak if outputs else Detections.empty()


class LooksAtPictures:
    """Makes of each result the picture that a viewer would see."""

    def __init__(self):
        self.shown, self.found, self.passed_over = [], [], []

    def accept(self, camera, utc_s, result):
        self.shown.append(has_mark(annotate(marked_picture(), result, None, "pixelate")))
        self.found.append(len(result.detections) > 0)
        self.passed_over.append(result.detections.passed_over)

    def use_places(self, camera, metrics):
        pass

    def end(self, camera, events):
        pass

    def notice(self, notice):
        pass


@pytest.mark.parametrize("how", ["frames passed over", "found in one frame only", "in a tile whose turn it is not"])
def test_whoever_was_found_a_moment_ago_is_shown_in_no_picture(how):
    gate = MotionGate(MotionGateConfig(look_every_s=1.5)) if how == "frames passed over" else None
    detector = FindsThePersonNowAndThen(by_tile=how.startswith("in a tile"))
    tiles = TilesConfig(mode="auto" if detector.by_tile else "off", budget_ms=50)
    looks = LooksAtPictures()
    inference = InferenceThread()
    inference.start()
    runner = LiveRunner(
        CameraSource("marked", MarkedSource, FeedPolicy(realtime=True)),
        LivePipeline(Config(), with_tiles(detector, tiles, None, in_real_time=True)),
        sinks=[looks],
        inference=inference,
        gate=gate,
    )
    runner.start()
    wait_until(lambda: True in looks.found)
    first = looks.found.index(True)
    wait_until(lambda: len(looks.shown) > first + 15)
    runner.stop()
    inference.stop(time.monotonic() + 2.0)
    after = slice(first, first + 15)
    # The danger was there: frames in which nobody was found.
    assert looks.found[after].count(False) >= 4
    assert any(looks.passed_over[after]) is (gate is not None)
    assert not any(looks.shown[after])


class FindsTheMarkedTwo:
    """A detector that always finds the two marked people."""

    name, input = "marked", InputSpec(width=2, height=2, dtype="uint8")

    def preprocess(self, image):
        return None, None

    def invoke(self, tensor):
        return None

    def decode(self, outputs, geometry):
        return TWO


TWO = boxes_of_people(CAMERA, np.array([[0.0, 5.0], [1.0, 5.0]]))


@pytest.mark.parametrize("mode", ["pixelate", "blur", "schematic", "show"])
def test_no_file_of_an_analysis_shows_the_marked_people(tmp_path, monkeypatch, mode):
    picture = np.full((240, 320, 3), 90, np.uint8)
    for box in TWO.bbox.round().astype(int):
        picture = np.where(marked_picture(tuple(box)) == 90, picture, marked_picture(tuple(box)))
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (320, 240))
    for _ in range(20):
        writer.write(picture)
    writer.release()
    save_camera(CAMERA, tmp_path / "camera.yaml", source="made up", error={})
    settings = {"calibration": "camera.yaml", "tiles": {"mode": "off"}, "privacy": {"people": mode}}
    config = parse_config(settings, "c.yaml", tmp_path)
    monkeypatch.setattr("edge_app.pipeline.open_watched", lambda *_args: FindsTheMarkedTwo())
    summary = analyze(AnalysisOptions(tmp_path / "clip.avi", tmp_path / "out", config, annotate=True, progress=False))
    assert summary["violations"]["events"] == 1
    video = cv2.VideoCapture(str(tmp_path / "out" / "annotated.mp4"))
    shown = [frame for _ in range(20) if (frame := video.read()[1]) is not None]
    assert len(shown) == 20
    stills = list(pictures_in((tmp_path / "out" / "report.html").read_bytes()))
    assert len(stills) >= 1
    for file in (tmp_path / "out").iterdir():
        shown += pictures_in(file.read_bytes())
    # Shown as they are the search finds them: the same test can fail.
    assert any(has_mark(one) for one in shown) is (mode == "show")


def test_the_admin_s_view_is_the_only_exception_and_is_noted_first(beyond, monkeypatch):
    page = beyond
    wait_until(lambda: page.runner.state.latest() is not None)
    viewer, admin = page.browser(), page.browser()
    viewer.log_in("guest")
    admin.log_in()
    assert viewer.get("/api/v1/calibration/still").status_code == 403
    assert viewer.send("POST", "/api/v1/calibration/still", {}).status_code == 403
    assert admin.send("POST", "/api/v1/calibration/still", {}).status_code == 200
    assert '"action": "unhidden picture", "who": "admin"' in (page.folder / "audit.log").read_text()

    class FullDisk(io.StringIO):
        def write(self, _text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(page.site.security.audit._handler, "stream", FullDisk())
    refused = admin.send("POST", "/api/v1/calibration/still", {})
    assert refused.status_code == 500
    assert not list(pictures_in(refused.data))
    # What need not be noted goes on.
    assert page.browser().log_in().status_code == 303


def test_a_frame_that_the_detector_failed_on_is_shown_nowhere(dashboard):
    page = dashboard(source=MarkedSource(), pipeline=ReconfigurablePipeline(fail_on=range(10**6)))
    wait_until(lambda: page.runner.state.health()["fault"] is not None)
    browser = page.browser()
    assert browser.get("/api/v1/calibration/still").status_code == 409
    parts = iter(browser.client.get("/live.mjpg", buffered=False).response)
    assert not any(has_mark(picture) for picture in pictures_in(next(parts)))


@pytest.mark.parametrize(
    "box", [(0, 0, 1, 1), (319, 239, 320, 240), (0, 100, 1, 101), (-5, -5, 0.5, 0.5), (319.5, 0, 400, 1)]
)
@pytest.mark.parametrize("mode", ["pixelate", "blur", "schematic"])
def test_hiding_survives_a_box_of_one_pixel_on_the_border(box, mode):
    picture = marked_picture()
    hidden = hide_people(picture, np.array([box, BOX], np.float32), mode)
    assert hidden.shape == picture.shape
    assert not has_mark(hidden)


def test_schematic_pictures_have_nothing_of_the_original():
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    one, other = (hide_people(picture, np.zeros((0, 4), np.float32), "schematic") for picture in (noise, noise[::-1]))
    np.testing.assert_array_equal(one, other)
    assert len(np.unique(one.reshape(-1, 3), axis=0)) == 1
