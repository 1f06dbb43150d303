"""Nobody's picture gets out: a marked person, and everything that answers and is written is searched for the mark."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge_app.records import Detections, Frame, Tracks
from edge_app.render.privacy import hide_people
from edge_app.web.app import create_app
from tests.edge_app.test_live import RESULTS, FakeSource, wait_until
from tests.edge_app.web.served import ReconfigurablePipeline
from tests.edge_app.web.test_access import every_route

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
    hidden = hide_people(marked_picture(), np.array([BOX], np.float32), "pixelate")
    assert not has_mark(hidden)


@pytest.mark.parametrize("how", ["strong", "weak", "lost"])
@pytest.mark.parametrize("mode", ["pixelate", "blur", "schematic"])
def test_no_route_and_no_file_shows_the_marked_person(dashboard, how, mode):
    page = dashboard(source=MarkedSource(), pipeline=FindsThePerson(how), yaml=f"privacy: {{people: {mode}}}\n")
    wait_until(lambda: page.runner.state.latest() is not None)
    client = page.browser().client
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
    assert pictures >= 2
    for file in page.folder.rglob("*"):
        if file.is_file():
            assert not any(has_mark(picture) for picture in pictures_in(file.read_bytes())), file


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
