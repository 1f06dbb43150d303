"""The wiring: detector → feet → tracker → ground plane → distances → groups → events → figures.

Reading this file tells what the program does.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Optional

import numpy as np

from edge_app.calibration import CameraModel, load_camera
from edge_app.calibration.camera_file import load_reference
from edge_app.calibration.moved_camera import CameraWatch
from edge_app.calibration.scene_reference import SceneReference
from edge_app.config import Config
from edge_app.detector import Detector, detect, load_detector
from edge_app.distances import measure_pairs
from edge_app.errors import UserError
from edge_app.events import EventDetector
from edge_app.foot_points import find_feet
from edge_app.ground_plane import locate
from edge_app.groups import GroupDetector
from edge_app.last_seen import LastSeen
from edge_app.metrics import SceneMetrics
from edge_app.model_store.trial import open_watched
from edge_app.records import (
    BoxArray,
    Detections,
    FloatArray,
    Frame,
    FrameResult,
    GroundPoints,
    Image,
    IntArray,
    Pairs,
    Tracks,
    ViolationEvent,
)
from edge_app.still_things import StillThings
from edge_app.successors import Successors
from edge_app.tiles.tiled_detector import TiledDetector, with_tiles
from edge_app.tracking import Tracker
from edge_app.tracking.trace import Trace

log = logging.getLogger(__name__)

# Sections that ``reconfigure`` takes over while it runs.
TAKEN_OVER = ("calibration", "camera_watch", "distance", "events", "groups", "metrics")
HAS_MOVED = (
    "the camera looks elsewhere than when it was calibrated, so no distances are claimed; turn it back or calibrate it "
    "again"
)
_STANDS_AGAIN = "the camera looks again as it did when it was calibrated; distances are claimed again"


@dataclass(frozen=True)
class Followed:
    """A frame whose people are followed but not measured yet.

    Attributes:
        index, time_s: of the frame.
        detections: what the detector found.
        tracks: people.
        things: tracks of what never moves.
        last_seen: (M, 4) float32, as in ``FrameResult``.
        camera_moved: the camera looks elsewhere than when it was calibrated.
        doubtful: (K,) ids of tracks and things of which the next moments tell what they are.
    """

    index: int
    time_s: float
    detections: Detections
    tracks: Tracks
    things: Tracks
    last_seen: BoxArray
    camera_moved: bool
    doubtful: IntArray


class Pipeline:
    """Turns frames of one source into positions, distances and events.

    Attributes:
        detector: finds people.
        camera: the calibration for this source's size, or None: then no distances are claimed.
        dropped_impossible: boxes dropped so far because no person of that height can stand there.
        dropped_duplicates: boxes dropped so far because a surer one shows the same person.
        still_things: tells things that never move from people; None where that is switched off.
        metrics: figures on the place; None without a calibration.
        moved_s: seconds of frame time in which the camera looked elsewhere than when it was calibrated.
    """

    def __init__(self, config: Config, detector: Detector, camera: Optional[CameraModel]) -> None:
        self.detector = detector
        self.camera = camera
        # A homography or no camera at all knows no body heights, and then the picture's height is not used.
        self._image_height = camera.image_height if camera is not None else 0
        self.dropped_impossible = 0
        self.dropped_duplicates = 0
        self._threshold_m = config.distance.threshold_m
        self._tracker = Tracker(config.tracker, config.model.score_threshold)
        self._groups = GroupDetector(config.groups) if config.groups.enabled else None
        self._events = EventDetector(config.distance.threshold_m, config.events)
        self._successors = Successors(config.events.max_gap_s)
        self.metrics = SceneMetrics(config.metrics) if camera is not None else None
        self._pending: deque[tuple[Config, Optional[CameraModel], Optional[SceneReference]]] = deque(maxlen=1)
        self._config = config
        scene = watched_scene(config)
        self._watch = CameraWatch(scene) if scene is not None else None
        self._people = np.zeros((0, 4), np.float32)
        self._last_seen = LastSeen()
        self._time_s: Optional[float] = None
        self.moved_s = 0.0
        self.still_things = StillThings(config.still_things) if config.still_things.enabled else None
        self._image: Optional[Image] = None

    @staticmethod
    def from_config(config: Config, source_size: tuple[int, int]) -> Pipeline:
        """Load model and calibration for a source of ``source_size`` (width, height) pixels.

        Raises:
            UserError: the model or the calibration cannot be used.
        """
        camera = camera_for(config, source_size)
        if camera is not None:
            check_region(config, camera)
        detector = open_watched(config.model, partial(load_detector, side_by_side=True))
        return Pipeline(config, with_tiles(detector, config.tiles, camera, in_real_time=False), camera)

    @property
    def model_name(self) -> str:
        """Name of the detector's model."""
        return self.detector.name

    @property
    def model_path(self) -> Path:
        """File of the detector's model; the configured one where the detector knows none.

        It is another one than configured where a newly installed model was left for the one before it.
        """
        return Path(getattr(self._model, "path", self._config.model.path))

    @property
    def runtime(self) -> str:
        """Runtime of the detector, empty where it has none."""
        return str(getattr(self._model, "runtime", ""))

    @property
    def _model(self) -> Any:
        """The detector without tiles."""
        return self.detector.detector if isinstance(self.detector, TiledDetector) else self.detector

    @property
    def people_seen(self) -> int:
        """Number of people (confirmed tracks but those of things) so far."""
        things = self.still_things.tracks if self.still_things is not None else 0
        return self._tracker.tracks_confirmed - things

    @property
    def events_dropped_short(self) -> int:
        """Number of events that were too short to count, so far."""
        return self._events.dropped_short

    def reconfigure(self, config: Config, camera: Optional[CameraModel], scene: Optional[SceneReference]) -> None:
        """Take thresholds, places and calibration over before the next frame; may be called from any thread.

        Open events are closed by it, and figures that depend on the place start over. Model and tracker stay, and so
        does what is known of a moved camera, unless it was calibrated again.

        Args:
            config: its sections ``TAKEN_OVER`` count.
            camera: the calibration for this source's size, or None.
            scene: by which a moved camera is noticed, see ``watched_scene``; None where that is not looked for.
        """
        self._pending.append((config, camera, scene))

    @property
    def has_live_tracks(self) -> bool:
        """Whether anybody is followed, confirmed or not yet, seen in the newest frame or not; things don't count."""
        things = self.still_things.things_now if self.still_things is not None else 0
        return self._tracker.following > things

    def refit(self, camera: Optional[CameraModel], scale: tuple[float, float] = (1.0, 1.0)) -> None:
        """Go on with a picture of another size and its calibration; tracks in the old picture's pixels are dropped.

        Args:
            camera: the calibration for the new size, or None.
            scale: new width and height, in parts of the old ones.
        """
        self.camera = camera
        self._image_height = camera.image_height if camera is not None else 0
        self._tracker.forget()
        self._last_seen.scale(*scale)
        if self.still_things is not None:
            self.still_things.forget()
        self._people = np.zeros((0, 4), np.float32)

    @property
    def camera_moved(self) -> bool:
        """Whether the camera looks elsewhere than when it was calibrated; then no distances are claimed."""
        return self.camera is not None and self._watch is not None and self._watch.moved

    def watch(self, frame: Frame) -> Optional[tuple[bool, str]]:
        """Look at a picture: has the camera moved, and what never moves? Call it before ``interpret`` for every frame.

        Returns:
            None where nothing changed, else whether the calibration holds (again), and a sentence for people.
        """
        self._image = frame.image
        if self.camera is None or self._watch is None:
            return None
        if not self._watch.look(frame.time_s, frame.image, self._people):
            return None
        sentence = _STANDS_AGAIN if not self._watch.moved else HAS_MOVED
        log.warning("%s", sentence)
        return not self._watch.moved, sentence

    def process(self, frame: Frame) -> FrameResult:
        """Run every stage on one frame; frames must come in order of time."""
        self.watch(frame)
        return self.interpret(frame.index, frame.time_s, detect(self.detector, frame.image))

    def interpret(self, index: int, time_s: float, detections: Detections) -> FrameResult:
        """Run the stages after the detector; call it for every frame, also when nobody was found.

        Args:
            index: of the frame.
            time_s: of the frame; must not decrease.
            detections: people at or above the low score threshold; of a frame that the detector did not look at,
                ``Detections.empty(passed_over=True)``.
        """
        cut_off = self._take_over()
        result = self.measure(self.follow(index, time_s, detections))
        return replace(result, closed_events=cut_off + result.closed_events) if cut_off else result

    def follow(self, index: int, time_s: float, detections: Detections) -> Followed:
        """Run the stages up to the tracks, as ``interpret`` does; ``measure`` runs the others."""
        camera = None if self.camera_moved else self.camera
        if self.camera_moved and self._time_s is not None:
            self.moved_s += time_s - self._time_s
        self._time_s = time_s
        if not detections.passed_over:
            self._people = detections.bbox
        last_seen = self._last_seen.update(time_s, detections)
        feet = find_feet(camera, detections, self._image_height)
        self.dropped_impossible += feet.dropped
        self.dropped_duplicates += feet.duplicates
        tracks = self._tracker.update(time_s, feet.detections, feet.measurements)
        tracks, things, doubtful = self._set_things_apart(time_s, tracks)
        return Followed(index, time_s, detections, tracks, things, last_seen, self.camera_moved, doubtful)

    def trace(self) -> Trace:
        """Return what the frame that was followed last said of every track, for those who judge in hindsight."""
        return self._tracker.trace()

    def measure(self, followed: Followed) -> FrameResult:
        """Put the people of a frame on the ground and measure between them; frames must come in order of time."""
        time_s, tracks = followed.time_s, followed.tracks
        self._events.forget(followed.things.id)
        camera = None if followed.camera_moved else self.camera
        ground = locate(camera, tracks)
        pairs = self._measure(time_s, tracks, ground)
        # Predicted positions neither make nor prolong an event.
        closed = self._events.update(time_s, pairs.between(tracks.id[tracks.observed]))
        violating = self._events.violating_pairs(time_s)
        result = FrameResult(
            followed.index,
            time_s,
            followed.detections,
            tracks,
            ground,
            pairs,
            violating,
            self._events.began_s(violating),
            np.unique(violating),
            closed,
            followed.things,
            followed.last_seen,
            in_metres=camera is not None,
        )
        if self.metrics is not None:
            self.metrics.update(result)
        return result

    def finish(self) -> tuple[ViolationEvent, ...]:
        """Close the events that are still open; the source has ended."""
        return self._events.finish()

    def following_state(self) -> tuple[dict[str, Any], dict[str, FloatArray]]:
        """Return all that ``follow`` needs to go on with the next frame: JSON values, and the tracker's arrays."""
        values = {
            "last_seen": self._last_seen.state(),
            "dropped_impossible": self.dropped_impossible,
            "dropped_duplicates": self.dropped_duplicates,
            "still_things": self.still_things.state() if self.still_things is not None else None,
            "watch": {"moved": self.camera_moved, "moved_s": self.moved_s, "time_s": self._time_s},
        }
        return values, self._tracker.state()

    def restore_following(self, values: dict[str, Any], tracker: dict[str, FloatArray]) -> None:
        """Go on from what ``following_state`` returned."""
        self._tracker.restore(tracker)
        self._last_seen.restore(values["last_seen"])
        self.dropped_impossible = values["dropped_impossible"]
        self.dropped_duplicates = values["dropped_duplicates"]
        if self.still_things is not None:
            self.still_things.restore(values["still_things"])
        if self._watch is not None:
            self._watch.moved = values["watch"]["moved"]
        self.moved_s, self._time_s = values["watch"]["moved_s"], values["watch"]["time_s"]

    def measuring_state(self) -> dict[str, Any]:
        """Return all that ``measure`` needs to go on with the next frame, as JSON values."""
        return {
            "groups": self._groups.state() if self._groups is not None else None,
            "events": self._events.state(),
            "successors": self._successors.state(),
            "metrics": self.metrics.state() if self.metrics is not None else None,
        }

    def restore_measuring(self, state: dict[str, Any]) -> None:
        """Go on from what ``measuring_state`` returned."""
        if self._groups is not None:
            self._groups.restore(state["groups"])
        self._events.restore(state["events"])
        self._successors.restore(state["successors"])
        if self.metrics is not None:
            self.metrics.restore(state["metrics"])

    def _take_over(self) -> tuple[ViolationEvent, ...]:
        """Put what ``reconfigure`` left in force; returns the events that it cuts off."""
        if not self._pending:
            return ()
        config, self.camera, scene = self._pending.pop()
        if config.calibration != self._config.calibration or not _is_watched(self._watch, scene):
            self._watch = CameraWatch(scene) if scene is not None else None
        self._config = config
        self._image_height = self.camera.image_height if self.camera is not None else 0
        self._threshold_m = config.distance.threshold_m
        self._groups = GroupDetector(config.groups) if config.groups.enabled else None
        cut_off = self._events.finish()
        numbering = self._events.state()
        self._events = EventDetector(config.distance.threshold_m, config.events)
        self._events.restore(numbering)
        self._successors = Successors(config.events.max_gap_s)
        self.metrics = SceneMetrics(config.metrics) if self.camera is not None else None
        return cut_off

    def _set_things_apart(self, time_s: float, tracks: Tracks) -> tuple[Tracks, Tracks, IntArray]:
        """Part tracks of people from those of things, which take no part in anything that follows.

        Returns:
            Both, and the ids of those of which the next moments tell what they are.
        """
        image, self._image = self._image, None
        all_people = tracks, Tracks.empty(), np.zeros(0, np.int64)
        if self.still_things is None:
            return all_people
        if self.camera_moved:
            # Nothing stands where it stood.
            self.still_things.forget()
            return all_people
        if image is None:
            return all_people
        is_thing = self.still_things.update(time_s, image, tracks)
        return tracks[~is_thing], tracks[is_thing], self.still_things.doubtful

    def _measure(self, time_s: float, tracks: Tracks, ground: GroundPoints) -> Pairs:
        """Measure between people who are seen, or were just before; nobody knows where those are who are lost."""
        seen = tracks.present
        visible = ground[seen]
        for lost, new in self._successors.update(time_s, tracks.id[seen], visible):
            self._events.go_on(lost, new)
        pairs = measure_pairs(tracks.id[seen], visible, self._threshold_m)
        if self._groups is None:
            return pairs
        return replace(pairs, same_group=self._groups.update(time_s, tracks.id[seen], visible, pairs))


def watched_scene(config: Config) -> Optional[SceneReference]:
    """Return the scene by which a moved camera is noticed; None where that is off or the camera file has none.

    Raises:
        UserError: the camera file or its reference cannot be used.
    """
    if config.calibration is None or not config.camera_watch.enabled:
        return None
    return load_reference(config.calibration)


def _is_watched(watch: Optional[CameraWatch], scene: Optional[SceneReference]) -> bool:
    """Tell whether a watch compares with this very scene, or there is neither."""
    if watch is None or scene is None:
        return watch is None and scene is None
    return np.array_equal(watch.reference.codes, scene.codes)


def check_region(config: Config, camera: CameraModel) -> None:
    """Refuse a region of interest that the camera cannot see as ground.

    Raises:
        UserError: a corner lies behind the camera or where the horizon would run inside the region.
    """
    if config.metrics.region_m is None:
        return
    seen = np.isfinite(camera.ground_to_image(np.array(config.metrics.region_m))).all(axis=1)
    if not seen.all():
        corner = config.metrics.region_m[int(np.flatnonzero(~seen)[0])]
        raise UserError(
            f"metrics.region_m reaches over the horizon or behind the camera at corner {corner[0]:g}, {corner[1]:g}; "
            "give corners on the ground that the camera sees"
        )


def camera_for(config: Config, source_size: tuple[int, int]) -> Optional[CameraModel]:
    """Load the configured calibration and fit it to the source's size, or return None where none is configured.

    Raises:
        UserError: the camera file cannot be used, or belongs to a picture of another shape.
    """
    if config.calibration is None:
        return None
    camera = load_camera(config.calibration)
    width, height = source_size
    if (camera.image_width, camera.image_height) == source_size:
        return camera
    # One pixel of rounding in the height is what rescaling a picture brings.
    if abs(camera.image_height * width / camera.image_width - height) > 1.0:
        raise UserError(
            f"calibration {config.calibration} is for a {camera.image_width}x{camera.image_height} picture, but the "
            f"source gives {width}x{height}; calibrate this source or use the right calibration"
        )
    return camera.scaled_to(width, height)
