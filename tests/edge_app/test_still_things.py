from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_app.config import Config, TrackerConfig
from edge_app.hindsight import Recording
from edge_app.pipeline import Pipeline
from edge_app.records import Detections, Frame, Tracks
from edge_app.still_things import StillThings, StillThingsConfig
from tests.edge_app.scenes import CAMERA, NoModel
from tests.edge_app.synthetic import boxes_of_people

SHARED = Path(__file__).resolve().parents[3] / "shared"
DEMO = SHARED / "data" / "demo" / "one-by-one-person-detection.mp4"
BOX = (80.0, 10.0, 120.0, 110.0)
FPS = 8.0
# Seconds without change that make a thing, by default, and after which it is one for sure.
AFTER_S = StillThingsConfig().after_s
SURE_S = AFTER_S + 2


def room(width=200, height=120) -> np.ndarray:
    """A picture with coarse texture, as floors, walls and shelves have it."""
    coarse = np.random.default_rng(0).integers(40, 200, (height // 10, width // 10, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def somebody(picture, lean_px=0.0, box=BOX):
    """Draw a dark figure with a bright head that leans by some pixels at its head and not at its feet."""
    left, top, right, bottom = (round(edge) for edge in box)
    width, height, scale, around = right - left, bottom - top, 6, 10
    shape = (scale * height, scale * (width + 2 * around))
    body, head = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    middle = scale * (width // 2 + around)
    cv2.ellipse(
        body, (middle, int(0.55 * shape[0])), (int(0.3 * scale * width), int(0.43 * shape[0])), 0, 0, 360, 255, -1
    )
    cv2.circle(head, (middle, int(0.09 * shape[0])), int(0.08 * shape[0]), 255, -1)
    picture = picture.astype(np.float64)
    part = picture[top:bottom, left - around : right + around]
    for mask, colour in ((body, (50, 45, 60)), (head, (150, 170, 205))):
        shear = np.array([[1, -lean_px / height, lean_px * scale], [0, 1, 0]], np.float64)
        leaning = cv2.warpAffine(mask, shear, mask.shape[::-1])
        share = cv2.resize(leaning, part.shape[1::-1], interpolation=cv2.INTER_AREA)[..., None] / 255.0
        part[:] = part * (1 - share) + np.array(colour) * share
    return picture


def camera_sees(picture, rng, noise=2.0, quality=None):
    seen = np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)
    return seen if quality is None else cv2.imdecode(cv2.imencode(".jpg", seen, [1, quality])[1], 1)


def track(box=BOX, identity=1, score=1.0):
    left, _, right, bottom = box
    foot = np.array([[(left + right) / 2, bottom]])
    bbox, scores = np.array([box], np.float32), np.full(1, score, np.float32)
    return Tracks(np.array([identity]), bbox, scores, foot, np.zeros((1, 2, 2)), np.array([True]))


def verdicts(pictures, tracks=None, still=None, from_s=0.0):
    """Return for each picture whether the track in it is a thing."""
    still = still or StillThings(StillThingsConfig())
    said = []
    for index, picture in enumerate(pictures):
        here = tracks(index) if tracks else track()
        said.append(bool(still.update(from_s + index / FPS, picture, here)[0]))
    return said


@pytest.mark.parametrize(("noise", "quality"), [(0.0, None), (3.0, None), (8.0, None), (2.0, 60)])
def test_what_changed_once_and_then_never_again_is_a_thing_after_the_configured_time(noise, quality):
    rng = np.random.default_rng(1)
    moving = [somebody(room(), lean) for lean in np.linspace(0, 12, int(FPS))]
    said = verdicts(
        camera_sees(picture, rng, noise, quality) for picture in [*moving, *[room()] * int((SURE_S + 3) * FPS)]
    )
    assert not any(said[: int((1 + AFTER_S) * FPS)])
    assert all(said[int((1 + SURE_S) * FPS) :])


@pytest.mark.parametrize(("score", "earliest_s", "latest_s"), [(0.4, 0.4, 1.0), (0.8, 1.8, 2.6), (0.95, 3.3, 4.2)])
def test_what_never_moved_since_it_appeared_counts_only_as_long_as_the_detector_is_sure(score, earliest_s, latest_s):
    rng = np.random.default_rng(21)
    pictures = [camera_sees(room(), rng) for _ in range(int(6 * FPS))]
    said = verdicts(pictures, lambda _: track(score=score))
    assert not any(said[: int(earliest_s * FPS)])
    assert all(said[int(latest_s * FPS) :])


def test_who_moves_once_is_somebody_from_then_on_however_unsure_the_detector():
    rng = np.random.default_rng(22)
    lean = np.concatenate([np.zeros(int(2 * FPS)), np.linspace(0, 8, 4), np.full(int(6 * FPS), 8.0)])
    said = verdicts((camera_sees(somebody(room(), part), rng) for part in lean), lambda _: track(score=0.5))
    assert said[int(1.5 * FPS)]
    assert not any(said[int(2.5 * FPS) :])


@pytest.mark.parametrize("gap_s", [0.2, 3.0])
def test_who_walked_here_is_somebody_also_after_the_track_was_not_shown_for_a_moment(gap_s):
    rng = np.random.default_rng(25)
    still, said = StillThings(StillThingsConfig()), []
    for index in range(int(12 * FPS)):
        time_s = index / FPS
        shift = max(0.0, 80.0 - 40.0 * time_s)
        here = track((BOX[0] - shift, BOX[1], BOX[2] - shift, BOX[3]), score=0.6)
        here = Tracks.empty() if 4 <= time_s < 4 + gap_s else here
        said += still.update(time_s, camera_sees(room(), rng), here).tolist()
    assert len(said) > 60 and not any(said)


def test_who_appears_where_a_thing_was_and_nothing_can_be_told_is_somebody():
    rng = np.random.default_rng(26)
    still = StillThings(StillThingsConfig())
    assert verdicts((camera_sees(room(), rng) for _ in range(int(SURE_S * FPS))), still=still)[-1]
    dark = [camera_sees(room() * 0.02 + 20.0, rng) for _ in range(int(5 * FPS))]
    assert all(verdicts(dark, still=still, from_s=SURE_S))
    assert not any(verdicts(dark, lambda _: track(identity=2), still, from_s=SURE_S + 5))


def test_a_shadow_on_a_thing_does_not_make_it_a_person():
    rng = np.random.default_rng(23)
    shadow = np.ones((120, 200, 1))
    # A soft edge across the thing, which its blocks' own brightness does not explain.
    shadow[30:80] = np.linspace(1.0, 0.85, 50)[:, None, None]
    shadow[80:] = 0.85
    lit, dim = [room()] * int(SURE_S * FPS), [room() * shadow] * int(4 * FPS)
    said = verdicts(camera_sees(picture, rng) for picture in lit + dim + lit[: int(4 * FPS)])
    assert all(said[int(SURE_S * FPS) - 1 :])


def test_where_nothing_can_be_said_any_more_a_thing_stays_what_it_was():
    rng = np.random.default_rng(24)
    clear = [camera_sees(room(), rng) for _ in range(int(SURE_S * FPS))]
    # Then the whole picture swarms more and more, until a person's sway would drown in it.
    levels = np.concatenate([np.linspace(0, 8, int(20 * FPS)), np.full(int(4 * FPS), 8.0)])
    swarming = [coarse_noise(room(), rng, level).clip(0, 255).astype(np.uint8) for level in levels]
    still = StillThings(StillThingsConfig())
    assert all(verdicts(clear + swarming, still=still)[-int(4 * FPS) :])
    # Whoever appears now is somebody.
    elsewhere = (20.0, 10.0, 60.0, 110.0)
    later = verdicts(swarming[-int(15 * FPS) :], lambda _: track(elsewhere, 2, score=0.5), still, from_s=60.0)
    assert not any(later)


def coarse_noise(picture, rng, grey_levels):
    """Add noise in patches of a few pixels, as an old analogue camera's compression leaves it."""
    rows, columns = picture.shape[:2]
    patches = rng.normal(0, grey_levels, (rows // 6, columns // 6, 1))
    return picture + cv2.resize(patches, (columns, rows), interpolation=cv2.INTER_LINEAR)[..., None]


def test_where_the_whole_picture_flickers_so_may_a_thing():
    rng = np.random.default_rng(4)
    said = verdicts(coarse_noise(room(), rng, 2.5).clip(0, 255).astype(np.uint8) for _ in range(int(40 * FPS)))
    assert np.mean(said[int(20 * FPS) :]) > 0.9


def test_what_flickers_alone_is_no_thing():
    rng = np.random.default_rng(4)
    left, top, right, bottom = (int(edge) for edge in BOX)

    def picture():
        still = room().astype(np.float64)
        still[top:bottom, left:right] = coarse_noise(still, rng, 8.0)[top:bottom, left:right]
        return camera_sees(still, rng, 1.0)

    assert not any(verdicts(picture() for _ in range(int(40 * FPS))))


@pytest.mark.parametrize(("noise", "seed"), [(0.0, 0), (3.0, 1), (8.0, 2)])
def test_a_person_who_sways_by_a_centimetre_is_never_a_thing(noise, seed):
    rng = np.random.default_rng(seed)
    # The head's sway in pixels: 1.7 m are 100 pixels; random with a memory of two seconds.
    lean, pictures = 0.0, []
    for _ in range(int(40 * FPS)):
        keep = np.exp(-1 / FPS / 2.0)
        lean = keep * lean + np.sqrt(1 - keep**2) * rng.normal(0, 100 * 0.01 / 1.7)
        pictures.append(camera_sees(somebody(room(), lean), rng, noise))
    assert not any(verdicts(pictures))


def test_a_figure_that_really_does_not_move_is_a_thing():
    rng = np.random.default_rng(2)
    assert verdicts(camera_sees(somebody(room()), rng) for _ in range(int(SURE_S * FPS)))[-1]


def test_slow_daylight_and_sudden_exposure_do_not_make_a_thing_a_person():
    rng = np.random.default_rng(3)
    light = np.concatenate([np.linspace(1.0, 0.6, int(40 * FPS)), np.full(int(4 * FPS), 0.9)])
    said = verdicts(camera_sees(room() * part, rng) for part in light)
    assert all(said[int(SURE_S * FPS) :])


def test_clouds_over_a_half_sunlit_place_do_not_make_a_thing_a_person():
    rng = np.random.default_rng(3)
    sunlit = np.zeros((120, 200, 1))
    sunlit[:, :100], sunlit[60:] = 1.0, 1.0
    light = [1 + sunlit * 0.1 * np.sin(2 * np.pi * index / FPS / 30) for index in range(int(30 * FPS))]
    assert all(verdicts(camera_sees(room() * part, rng) for part in light)[int(SURE_S * FPS) :])


def test_a_thing_comes_back_when_it_stays_changed_and_is_known_again_when_it_is_as_before():
    rng = np.random.default_rng(4)
    empty, figure = room(), somebody(room())
    before, during = int(SURE_S * FPS), int(8 * FPS)
    said = verdicts(camera_sees(p, rng) for p in [empty] * before + [figure] * during + [empty] * int(4 * FPS))
    assert said[before - 1]
    assert not any(said[before + int(3.5 * FPS) : before + during])
    assert all(said[-int(FPS) :])


def test_a_change_that_is_over_as_soon_as_a_passer_is_gone_does_not_bring_a_thing_back():
    rng = np.random.default_rng(4)
    empty, figure = room(), somebody(room())
    before, during = int(SURE_S * FPS), int(1.5 * FPS)
    said = verdicts(camera_sees(p, rng) for p in [empty] * before + [figure] * during + [empty] * int(4 * FPS))
    assert all(said[before - 1 :])


def test_who_passes_in_front_of_a_thing_does_not_bring_it_back():
    rng = np.random.default_rng(5)
    still, here, said = StillThings(StillThingsConfig()), track(), []
    for index in range(int((SURE_S + 3.5) * FPS)):
        left = -60.0 + 60.0 * max(0.0, index / FPS - SURE_S)
        passer = (left, 8.0, left + 30.0, 118.0)
        both = Tracks(*(np.concatenate(pair) for pair in zip(vars(here).values(), vars(track(passer, 2)).values())))
        picture = camera_sees(somebody(room(), box=passer) if left >= 12 else room(), rng)
        said.append(still.update(index / FPS, picture, both)[0])
    assert all(said[int(SURE_S * FPS) :])


def test_a_person_who_walked_here_is_never_a_thing_however_still():
    rng = np.random.default_rng(6)

    def arriving(index):
        shift = max(0.0, 120.0 - 40.0 * index / FPS)
        return track((BOX[0] - shift, BOX[1], BOX[2] - shift, BOX[3]))

    assert not any(verdicts((camera_sees(room(), rng) for _ in range(int(20 * FPS))), tracks=arriving))


def test_a_track_that_a_passer_led_astray_and_that_came_back_to_the_thing_is_a_thing_again():
    rng = np.random.default_rng(13)

    def astray(index):
        shift = 60.0 if SURE_S <= index / FPS < SURE_S + 1 else 0.0
        return track((BOX[0] + shift, BOX[1], BOX[2] + shift, BOX[3]))

    said = verdicts((camera_sees(room(), rng) for _ in range(int((SURE_S + 6) * FPS))), tracks=astray)
    assert said[int(SURE_S * FPS) - 1] and not said[int((SURE_S + 0.5) * FPS)]
    assert said[-1]


def test_a_flickering_detection_of_a_known_thing_is_a_thing_at_once_under_its_new_id():
    rng = np.random.default_rng(7)
    still = StillThings(StillThingsConfig())
    verdicts((camera_sees(room(), rng) for _ in range(int(SURE_S * FPS))), still=still)
    nobody = Tracks.empty()
    still.update(SURE_S, camera_sees(room(), rng), nobody)
    assert still.tracks == 1
    later = verdicts([camera_sees(room(), rng)] * 2, lambda _: track(identity=2), still, from_s=40.0)
    assert later == [True, True]
    assert (still.tracks, still.found) == (2, 1)


def test_where_it_is_too_plain_to_tell_it_stays_a_person():
    rng = np.random.default_rng(8)
    dark = room() * 0.02 + 20.0
    assert not any(verdicts(camera_sees(dark, rng) for _ in range(int((SURE_S + 6) * FPS))))


def test_places_outlive_a_restart():
    rng = np.random.default_rng(9)
    first, second = StillThings(StillThingsConfig()), StillThings(StillThingsConfig())
    verdicts((camera_sees(room(), rng) for _ in range(int(SURE_S * FPS))), still=first)
    second.restore(json.loads(json.dumps(first.state())))
    assert verdicts([camera_sees(room(), rng)], still=second, from_s=SURE_S) == [True]
    assert (second.tracks, second.found) == (first.tracks, first.found)


@pytest.mark.skipif(not DEMO.is_file(), reason="needs ../shared/data/demo")
@pytest.mark.parametrize(
    ("first", "last", "box"),
    [(80, 200, (287, 11, 392, 293)), (295, 430, (312, 5, 453, 320)), (505, 640, (410, 0, 565, 320)),
     (985, 1190, (312, 5, 452, 315)), (1262, 1370, (344, 0, 508, 324))],
)  # fmt: skip
@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_real_people_who_stand_at_a_table_are_never_things(first, last, box, scale):
    said = verdicts(demo_pictures(first, last, scale), lambda _: track(tuple(scale * edge for edge in box)))
    assert len(said) > 8 * FPS
    assert not any(said)


@pytest.mark.skipif(not DEMO.is_file(), reason="needs ../shared/data/demo")
@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_the_table_at_which_they_stand_is_a_thing(scale):
    still = StillThings(StillThingsConfig(after_s=4.0))
    table = track(tuple(scale * edge for edge in (382, 73, 529, 332)))
    assert verdicts(demo_pictures(0, 56, scale), lambda _: table, still)[-1]


def demo_pictures(first, last, scale):
    """Yield frames of the demonstration video, in which one person after another stands at a table; 8 a second."""
    video = cv2.VideoCapture(str(DEMO))
    for index in range(last):
        if not video.grab():
            break
        # The video has ten frames a second.
        if index >= first and index % 5 != 4:
            picture = video.retrieve()[1]
            yield cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    video.release()


def test_the_pipeline_leaves_things_out_of_people_pairs_and_events():
    # One sways in the picture, one does not change; a person and a thing 1.2 m apart.
    rng = np.random.default_rng(10)
    boxes = boxes_of_people(CAMERA, np.array([[-0.6, 5.0], [0.6, 5.0]]))
    pipeline = Pipeline(Config(), NoModel(), CAMERA)
    results = []
    for index in range(int((SURE_S + 6) * FPS)):
        # What will be the thing moves too in the first second.
        first, second = (tuple(edges) for edges in boxes.bbox.tolist())
        background = somebody(room(320, 240), 12.0 * index / FPS, second) if index < FPS else room(320, 240)
        picture = camera_sees(somebody(background, 3.0 * np.sin(index / FPS * 2.0), first), rng)
        pipeline.watch(Frame(picture, index, index / FPS))
        results.append(pipeline.interpret(index, index / FPS, boxes))
    early, late = results[int(8 * FPS)], results[-1]
    assert len(early.tracks) == 2 and len(early.violating_pairs) == 1
    assert len(late.tracks) == 1 and len(late.pairs) == 0 and len(late.violating_pairs) == 0
    assert len(late.things) == 1
    assert pipeline.people_seen == 1
    assert [event for result in results for event in result.closed_events] + list(pipeline.finish()) == []
    assert pipeline.has_live_tracks


def recorded_rows(lean_at, seconds, hindsight_s):
    """Record one figure that leans by ``lean_at(s)``; returns for each frame how many people and things there are."""
    rng = np.random.default_rng(13)
    boxes = boxes_of_people(CAMERA, np.array([[0.0, 5.0]]))
    detections = Detections(boxes.bbox, np.full(1, 0.8, np.float32))
    config = Config(tracker=TrackerConfig(hindsight_s=hindsight_s))
    pipeline = Pipeline(config, NoModel(), CAMERA)
    recording, results = Recording(pipeline, config), []
    box = tuple(boxes.bbox[0].tolist())
    for index in range(int(seconds * FPS)):
        picture = somebody(room(320, 240), lean_at(index / FPS), box)
        pipeline.watch(Frame(camera_sees(picture, rng), index, index / FPS))
        results += recording.add(index, index / FPS, detections)
    results += recording.finish()[0]
    return [(len(result.tracks), len(result.things)) for result in results]


def test_in_a_recording_what_turns_out_to_be_a_thing_was_nobody_from_the_start():
    at_once, later = (recorded_rows(lambda _: 0.0, 10, hindsight_s) for hindsight_s in (0, 4))
    assert at_once[-1] == later[-1] == (0, 1)
    assert sum(people for people, _ in at_once) > 10
    assert sum(people for people, _ in later) == 0


def test_in_a_recording_who_moves_in_the_end_was_somebody_while_standing_still():
    def stirs(time_s):
        return 0.0 if time_s < 5.0 else 4.0 * np.sin(2.0 * (time_s - 5.0))

    at_once, later = (recorded_rows(stirs, 10, hindsight_s) for hindsight_s in (0, 4))
    assert at_once[-1] == later[-1] == (1, 0)
    assert sum(things for _, things in at_once) > 8
    assert sum(things for _, things in later) == 0


def test_only_things_in_sight_are_nobody_alive():
    rng = np.random.default_rng(11)
    boxes = boxes_of_people(CAMERA, np.array([[0.0, 5.0]]))
    pipeline = Pipeline(Config(), NoModel(), CAMERA)
    for index in range(int(SURE_S * FPS)):
        pipeline.watch(Frame(camera_sees(room(320, 240), rng), index, index / FPS))
        pipeline.interpret(index, index / FPS, boxes)
    assert not pipeline.has_live_tracks
    for index in range(int(SURE_S * FPS), int((SURE_S + 2) * FPS)):
        pipeline.watch(Frame(camera_sees(room(320, 240), rng), index, index / FPS))
        result = pipeline.interpret(index, index / FPS, Detections.empty())
    assert len(result.things) == 0 and pipeline.people_seen == 0


def test_it_can_be_switched_off():
    rng = np.random.default_rng(12)
    boxes = boxes_of_people(CAMERA, np.array([[0.0, 5.0]]))
    pipeline = Pipeline(Config(still_things=StillThingsConfig(enabled=False)), NoModel(), CAMERA)
    for index in range(int(SURE_S * FPS)):
        pipeline.watch(Frame(camera_sees(room(320, 240), rng), index, index / FPS))
        result = pipeline.interpret(index, index / FPS, boxes)
    assert len(result.tracks) == 1 and pipeline.people_seen == 1
