"""A multi-object tracker for people: Kalman motion in seconds, global assignment, two score levels."""

from __future__ import annotations

from dataclasses import asdict
from typing import Optional

import numpy as np

from edge_app.config import TrackerConfig
from edge_app.records import BoolArray, Detections, FloatArray, IntArray, Tracks
from edge_app.tracking.appearance import appearance_cost, blend, unknown
from edge_app.tracking.association import assign, association_cost
from edge_app.tracking.motion import Measurements, MotionState

# A tentative track that misses this many frames was a false detection.
_TENTATIVE_MISSES = 2
# Weight of a new detection in the smoothed width-to-height ratio of a track.
_ASPECT_GAIN = 0.2


class Tracker:
    """Gives every person an id that lasts.

    Detections with a high score start and continue tracks; those with a low score (people half hidden, blurred) may
    only continue confirmed tracks (the idea of ByteTrack, Zhang et al., ECCV 2022). Time comes from the frames, so the
    same walker keeps one id at 2 and at 30 frames a second.
    """

    def __init__(self, config: TrackerConfig, score_threshold: float) -> None:
        """Make a tracker.

        Args:
            config: births and deaths.
            score_threshold: from this score on a detection may start a track.
        """
        self._config = config
        self._score_threshold = score_threshold
        self._motion = MotionState.start(Measurements(np.zeros((0, 3)), np.zeros((0, 3))))
        self._id = np.zeros(0, np.int64)
        self._hits = np.zeros(0, np.int64)
        self._misses = np.zeros(0, np.int64)
        self._seen_s = np.zeros(0)
        self._confirmed = np.zeros(0, np.bool_)
        self._aspect = np.zeros(0)
        self._score = np.zeros(0, np.float32)
        self._appearance = unknown(0)
        self._next_id = 1
        self._time_s: float = np.nan

    def update(self, time_s: float, detections: Detections, measured: Optional[Measurements] = None) -> Tracks:
        """Take the detections of one frame and return the confirmed tracks.

        Args:
            time_s: frame time, seconds; must not decrease.
            detections: may be empty; must be given for every frame so that tracks age.
            measured: foot and height of each detection; None takes them from the boxes.
        """
        if np.isfinite(self._time_s) and time_s > self._time_s:
            self._motion.predict(time_s - self._time_s)
        self._time_s = time_s
        measurable = _measurable(detections)
        measured = (Measurements.from_boxes(detections.bbox) if measured is None else measured)[measurable]
        detections = detections[measurable]
        free = self._associate(time_s, detections, measured)
        self._drop(time_s)
        self._start(time_s, detections, measured, free)
        return self._report(time_s)

    @property
    def tracks_confirmed(self) -> int:
        """Number of tracks confirmed so far."""
        return self._next_id - 1

    @property
    def following(self) -> int:
        """Number of tracks, confirmed or not yet, seen in the newest frame or not."""
        return len(self._id)

    def forget(self) -> None:
        """Drop all tracks; ids go on from where they were."""
        self._keep(np.zeros(len(self._id), np.bool_))

    def state(self) -> dict[str, FloatArray]:
        """Return all that is needed to go on later, as arrays."""
        arrays = {f"motion_{name}": value for name, value in asdict(self._motion).items()}
        for name in ("id", "hits", "misses", "seen_s", "confirmed", "aspect", "score", "appearance"):
            arrays[name] = getattr(self, f"_{name}")
        return {**arrays, "clock": np.array([self._next_id, self._time_s], np.float64)}

    def restore(self, state: dict[str, FloatArray]) -> None:
        """Go on from what ``state`` returned."""
        motion = {name[len("motion_") :]: np.array(state[name]) for name in state if name.startswith("motion_")}
        self._motion = MotionState(**motion)
        for name in ("id", "hits", "misses", "seen_s", "confirmed", "aspect", "score", "appearance"):
            setattr(self, f"_{name}", np.array(state[name]))
        self._next_id, self._time_s = int(state["clock"][0]), float(state["clock"][1])

    def _associate(self, time_s: float, detections: Detections, measured: Measurements) -> BoolArray:
        """Match in three rounds, update the matched tracks, and return which detections may start a track."""
        high = detections.score >= self._score_threshold
        taken = np.zeros(len(detections), np.bool_)
        matched = np.zeros(len(self._id), np.bool_)
        cost = association_cost(self._motion, measured)
        if detections.appearance is not None:
            cost = cost + appearance_cost(self._appearance, detections.appearance)
        for of_tracks, of_detections in ((self._confirmed, high), (self._confirmed, ~high), (~self._confirmed, high)):
            rows = np.flatnonzero(of_tracks & ~matched)
            columns = np.flatnonzero(of_detections & ~taken)
            picked_rows, picked_columns = assign(cost[np.ix_(rows, columns)])
            rows, columns = rows[picked_rows], columns[picked_columns]
            matched[rows] = True
            taken[columns] = True
            self._correct(time_s, rows, measured[columns], detections[columns])
        self._misses[~matched] += 1
        return high & ~taken

    def _correct(self, time_s: float, rows: IntArray, measured: Measurements, detections: Detections) -> None:
        self._motion.update(rows, measured)
        self._hits[rows] += 1
        self._misses[rows] = 0
        self._seen_s[rows] = time_s
        self._score[rows] = detections.score
        self._aspect[rows] += _ASPECT_GAIN * (_aspect(detections, measured) - self._aspect[rows])
        if detections.appearance is not None:
            self._appearance[rows] = blend(self._appearance[rows], detections.appearance)
        ready = rows[~self._confirmed[rows] & (self._hits[rows] >= self._config.confirm_hits)]
        self._confirm(ready)

    def _confirm(self, rows: IntArray) -> None:
        self._confirmed[rows] = True
        self._id[rows] = np.arange(self._next_id, self._next_id + len(rows))
        self._next_id += len(rows)

    def _drop(self, time_s: float) -> None:
        lost = self._confirmed & (time_s - self._seen_s > self._config.max_lost_s)
        refuted = ~self._confirmed & (self._misses >= _TENTATIVE_MISSES)
        keep = ~(lost | refuted)
        if not keep.all():
            self._keep(keep)

    def _keep(self, keep: BoolArray) -> None:
        self._motion = self._motion.select(keep)
        for name in ("id", "hits", "misses", "seen_s", "confirmed", "aspect", "score", "appearance"):
            setattr(self, f"_{name}", getattr(self, f"_{name}")[keep])

    def _start(self, time_s: float, detections: Detections, measured: Measurements, free: BoolArray) -> None:
        count = int(free.sum())
        if count == 0:
            return
        self._motion = self._motion.append(MotionState.start(measured[free]))
        self._id = np.concatenate([self._id, np.zeros(count, np.int64)])
        self._hits = np.concatenate([self._hits, np.ones(count, np.int64)])
        self._misses = np.concatenate([self._misses, np.zeros(count, np.int64)])
        self._seen_s = np.concatenate([self._seen_s, np.full(count, time_s)])
        self._confirmed = np.concatenate([self._confirmed, np.zeros(count, np.bool_)])
        self._aspect = np.concatenate([self._aspect, _aspect(detections[free], measured[free])])
        self._score = np.concatenate([self._score, detections.score[free]])
        looks = unknown(count) if detections.appearance is None else detections.appearance[free]
        self._appearance = np.concatenate([self._appearance, looks])
        if self._config.confirm_hits == 1:
            self._confirm(np.arange(len(self._id) - count, len(self._id)))

    def _report(self, time_s: float) -> Tracks:
        rows = np.flatnonzero(self._confirmed)
        rows = rows[np.argsort(self._id[rows])]
        foot = self._motion.position[rows, :2]
        height = np.maximum(self._motion.position[rows, 2], 1.0)
        half_width = 0.5 * height * self._aspect[rows]
        x, y = foot[:, 0], foot[:, 1]
        bbox = np.stack([x - half_width, y - height, x + half_width, y], axis=1).astype(np.float32)
        foot_cov = np.zeros((len(rows), 2, 2))
        foot_cov[:, 0, 0] = self._motion.var_pp[rows, 0]
        foot_cov[:, 1, 1] = self._motion.var_pp[rows, 1]
        return Tracks(self._id[rows], bbox, self._score[rows], foot, foot_cov, self._seen_s[rows] == time_s)


def _measurable(detections: Detections) -> BoolArray:
    """Tell which boxes have an area and finite corners."""
    size = detections.bbox[:, 2:] - detections.bbox[:, :2]
    return np.isfinite(detections.bbox).all(axis=1) & (size > 0).all(axis=1)


def _aspect(detections: Detections, measured: Measurements) -> FloatArray:
    """Return (N,) the width of each box to the person's height."""
    width = (detections.bbox[:, 2] - detections.bbox[:, 0]).astype(np.float64)
    return width / np.maximum(measured.position[:, 2], 1.0)
