"""A multi-object tracker for people: Kalman motion in seconds, global assignment, two score levels."""

from __future__ import annotations

from typing import Optional

import numpy as np

from edge_app.box_overlap import shared_area
from edge_app.config import TrackerConfig
from edge_app.evidence import credit, worth_of
from edge_app.named_arrays import named, prefixed
from edge_app.records import BoolArray, Detections, FloatArray, IntArray, Tracks
from edge_app.tracking.appearance import Appearance, appearance_cost, blend, unknown
from edge_app.tracking.association import assign, association_cost
from edge_app.tracking.between import is_between
from edge_app.tracking.encounters import Encounters, Known
from edge_app.tracking.motion import Measurements, MotionState, boxes_of, frames_alike
from edge_app.tracking.trace import Trace

# A tentative track that misses this many frames was a false detection.
_TENTATIVE_MISSES = 2
# Frames that follow one another faster than this share the detector's mistakes, and count less.
_INDEPENDENT_S = 0.15
# The mean score of the detections of a track, over about this long, says whether it still shows a person.
_SCORE_TIME_S = 2.0
# A new track that lies by this part in a person's box, or the other way round, and no farther to the side than this, in
# parts of the height, shows that person once more if it has the same foot, the same head and is only a part of the
# body, or reaches beyond the person at both ends. Whoever stands behind somebody has both head and foot higher.
_INSIDE, _BESIDE = 0.7, 0.15
_SAME_FOOT, _SAME_HEAD, _PART = 0.05, 0.1, 0.75
# A track that has missed a frame, and that for so long, goes on only as somebody who looks like it: not at a cost of
# looks that makes it e^2.5, 12 times, likelier that these are two. In 40 simulated crowds (`simulate-crowds`) the F1 of
# close pairs rose from 0.537 to 0.559 with it and with the rule for boxes between two people; IDF1 stayed at 0.57.
_LOST_S, _SOMEBODY_ELSE = 0.3, 5.0
# The filter takes a person's boxes for alike over a while, and does not follow them everywhere. Where they are not
# alike its variances are far too large; this part of them at least is stated, which suits both, and the more of them
# the fewer frames there are that could be alike (stated errors in docs/distances.md).
_STATED, _STATED_BY_FRAMES = 0.4, -0.8
# Weight of a new detection in the smoothed width-to-height ratio of a track.
_ASPECT_GAIN = 0.2
_ARRAYS = (
    "id",
    "misses",
    "seen_s",
    "confirmed",
    "aspect",
    "score",
    "appearance",
    "evidence",
    "mean_score",
    "apart",
    "serial",
    "measured",
    "variance",
    "seen_worth",
)


class Tracker:
    """Gives every person an id that lasts.

    Detections with a high score start and continue tracks; those with a low score (people half hidden, blurred) may
    only continue confirmed tracks (the idea of ByteTrack, Zhang et al., ECCV 2022). Evidence confirms a track: two very
    sure detections are enough, weak ones must go on for a while. It counts while the mean score of its detections stays
    high enough. A second box on one person never becomes a person of its own, and a third one over two people must be
    surer than others. People who met keep their identities by what they looked like before. Time comes from the frames,
    so the same walker keeps one id at 2 and at 30 frames a second.
    """

    def __init__(self, config: TrackerConfig, score_threshold: float) -> None:
        """Make a tracker.

        Args:
            config: births and deaths.
            score_threshold: from this score on a detection may start a track.
        """
        self._config = config
        self._score_threshold = score_threshold
        self._motion = MotionState.nobody()
        self._id = np.zeros(0, np.int64)
        self._misses = np.zeros(0, np.int64)
        self._seen_s = np.zeros(0)
        self._confirmed = np.zeros(0, np.bool_)
        self._aspect = np.zeros(0)
        self._score = np.zeros(0, np.float32)
        self._appearance = unknown(0)
        self._evidence = np.zeros(0)
        self._mean_score = np.zeros(0)
        self._apart = np.zeros(0, np.bool_)
        self._encounters = Encounters()
        # What the newest frame said of each track, for those who judge in hindsight; NaN where it was not seen.
        self._serial = np.zeros(0, np.int64)
        self._measured = np.zeros((0, 3))
        self._variance = np.zeros((0, 3))
        self._seen_worth = np.zeros(0)
        self._next_serial = 1
        self._step_s = 0.0
        self._next_id = 1
        self._time_s: float = np.nan

    def update(self, time_s: float, detections: Detections, measured: Optional[Measurements] = None) -> Tracks:
        """Take the detections of one frame and return the confirmed tracks.

        Args:
            time_s: frame time, seconds; must not decrease.
            detections: may be empty; must be given for every frame so that tracks age.
            measured: foot and height of each detection; None takes them from the boxes.
        """
        self._step_s = max(0.0, time_s - self._time_s) if np.isfinite(self._time_s) else 0.0
        if self._step_s > 0:
            self._motion.predict(self._step_s)
        self._time_s = time_s
        self._measured[:] = self._seen_worth[:] = np.nan
        measurable = _measurable(detections)
        measured = (Measurements.from_boxes(detections.bbox) if measured is None else measured)[measurable]
        detections = detections[measurable]
        confirmed = np.flatnonzero(self._confirmed)
        self._encounters.meet(time_s, self._id[confirmed], self._boxes(confirmed))
        free = self._associate(time_s, detections, measured)
        self._drop(time_s)
        self._set_apart()
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

    def trace(self) -> Trace:
        """Return what the newest frame said of every track, those that do not count (yet) too."""
        measured = Measurements(self._measured.copy(), self._variance.copy())
        return Trace(
            self._serial, self._id.copy(), measured, self._seen_worth.copy(), self._aspect.copy(), self._score.copy()
        )

    def forget(self) -> None:
        """Drop all tracks; ids go on from where they were."""
        self._keep(np.zeros(len(self._id), np.bool_))

    def state(self) -> dict[str, FloatArray]:
        """Return all that is needed to go on later, as arrays."""
        arrays = prefixed("motion", vars(self._motion))
        for name in _ARRAYS:
            arrays[name] = getattr(self, f"_{name}")
        arrays |= prefixed("encounters", self._encounters.state())
        return {**arrays, "clock": np.array([self._next_id, self._time_s, self._next_serial], np.float64)}

    def restore(self, state: dict[str, FloatArray]) -> None:
        """Go on from what ``state`` returned."""
        self._motion = MotionState.restored(named("motion", state))
        for name in _ARRAYS:
            setattr(self, f"_{name}", np.array(state[name]))
        self._encounters.restore(named("encounters", state))
        next_id, self._time_s, next_serial = state["clock"].tolist()
        self._next_id, self._next_serial = int(next_id), int(next_serial)

    def _associate(self, time_s: float, detections: Detections, measured: Measurements) -> BoolArray:
        """Match in three rounds, update the matched tracks, and return which detections may start a track."""
        high = detections.score >= self._score_threshold
        if len(detections) == 0 or len(self._id) == 0:
            self._misses += 1
            return high
        taken = np.zeros(len(detections), np.bool_)
        matched = np.zeros(len(self._id), np.bool_)
        found: list[tuple[IntArray, IntArray]] = []
        cost = association_cost(self._motion, measured)
        if detections.appearance is not None:
            look = appearance_cost(self._appearance, detections.appearance)
            # Whoever appears where somebody was lost and looks quite otherwise is somebody else.
            lost = time_s - self._seen_s > max(_LOST_S, 1.5 * self._step_s)
            cost = np.where(lost[:, None] & (look >= _SOMEBODY_ELSE), np.inf, cost + look)
        for of_tracks, of_detections in ((self._confirmed, high), (self._confirmed, ~high), (~self._confirmed, high)):
            rows = np.flatnonzero(of_tracks & ~matched)
            columns = np.flatnonzero(of_detections & ~taken)
            if len(rows) == 0 or len(columns) == 0:
                continue
            picked_rows, picked_columns = assign(cost[np.ix_(rows, columns)])
            rows, columns = rows[picked_rows], columns[picked_columns]
            matched[rows] = True
            taken[columns] = True
            found.append((rows, columns))
        if found:
            # All at once: what a round decides does not change what the next one may choose from.
            rows, columns = (np.concatenate(each) for each in zip(*found))
            self._correct(time_s, rows, measured[columns], detections[columns])
            if detections.appearance is not None:
                self._see(rows, detections.appearance[columns])
        self._misses[~matched] += 1
        return high & ~taken

    def _worth(self, detections: Detections, rows: IntArray) -> FloatArray:
        """Return (K,) what the scores of detections say of the tracks ``rows``, or of tracks that begin (-1)."""
        people = np.flatnonzero(self._confirmed)
        own = rows[:, None] == people
        return worth_of(detections.score, ~is_between(detections.bbox.astype(np.float64), self._boxes(people), own))

    def _correct(self, time_s: float, rows: IntArray, measured: Measurements, detections: Detections) -> None:
        worth = self._worth(detections, rows)
        self._motion.update(rows, measured, self._step_s)
        self._measured[rows], self._variance[rows], self._seen_worth[rows] = measured.position, measured.variance, worth
        self._misses[rows] = 0
        gain = 1 - np.exp(-(time_s - self._seen_s[rows]) / _SCORE_TIME_S)
        self._mean_score[rows] += gain * (worth - self._mean_score[rows])
        self._seen_s[rows] = time_s
        self._score[rows] = detections.score
        self._evidence[rows] += min(1.0, self._step_s / _INDEPENDENT_S) * credit(worth)
        self._aspect[rows] += _ASPECT_GAIN * (_aspect(detections, measured) - self._aspect[rows])
        ready = rows[~self._confirmed[rows] & self._apart[rows] & (self._evidence[rows] >= self._config.confirm_hits)]
        self._confirm(ready)

    def _see(self, rows: IntArray, looks: Appearance) -> None:
        """Learn what the tracks ``rows`` look like, and give those who met the identities that their looks tell."""
        if len(self._encounters):
            now = unknown(len(self._id))
            now[rows] = looks
            known = np.flatnonzero(self._confirmed)
            people = Known(self._id[known], self._boxes(known), self._appearance[known], now[known])
            for first, second in self._encounters.exchanged(self._step_s, people):
                pair, other = known[[first, second]], known[[second, first]]
                self._id[pair], self._appearance[pair] = self._id[other], self._appearance[other]
            learns = ~self._encounters.involve(self._id[rows]) | np.isnan(self._appearance[rows, 0])
            rows, looks = rows[learns], looks[learns]
        self._appearance[rows] = blend(self._appearance[rows], looks)

    def _set_apart(self) -> None:
        """Note which new tracks are seen apart from every surer one; a second box on one person never is."""
        new = np.flatnonzero(~self._apart)
        if len(new) == 0:
            return
        every = np.arange(len(self._id))
        same = _shows_same(self._boxes(new), self._boxes(every))
        order = np.lexsort((every, -self._evidence, ~self._confirmed))
        rank = np.empty(len(every), np.int64)
        rank[order] = every
        surer = rank[None] < rank[new][:, None]
        self._apart[new] = ~(same & surer).any(axis=1)

    def _boxes(self, rows: IntArray) -> FloatArray:
        """Return (K, 4) boxes of tracks, pixels."""
        return boxes_of(self._motion.position[rows], self._aspect[rows])

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
        for name in _ARRAYS:
            setattr(self, f"_{name}", getattr(self, f"_{name}")[keep])

    def _start(self, time_s: float, detections: Detections, measured: Measurements, free: BoolArray) -> None:
        count = int(free.sum())
        if count == 0:
            return
        worth = self._worth(detections[free], np.full(count, -1))
        self._motion = self._motion.append(MotionState.start(measured[free]))
        self._id = np.concatenate([self._id, np.zeros(count, np.int64)])
        self._misses = np.concatenate([self._misses, np.zeros(count, np.int64)])
        self._seen_s = np.concatenate([self._seen_s, np.full(count, time_s)])
        self._confirmed = np.concatenate([self._confirmed, np.zeros(count, np.bool_)])
        self._aspect = np.concatenate([self._aspect, _aspect(detections[free], measured[free])])
        self._score = np.concatenate([self._score, detections.score[free]])
        looks = unknown(count) if detections.appearance is None else detections.appearance[free]
        self._appearance = np.concatenate([self._appearance, looks])
        first = credit(worth)
        self._evidence = np.concatenate([self._evidence, first])
        self._mean_score = np.concatenate([self._mean_score, worth])
        self._apart = np.concatenate([self._apart, np.zeros(count, np.bool_)])
        self._serial = np.concatenate([self._serial, np.arange(self._next_serial, self._next_serial + count)])
        self._next_serial += count
        self._measured = np.concatenate([self._measured, measured.position[free]])
        self._variance = np.concatenate([self._variance, measured.variance[free]])
        self._seen_worth = np.concatenate([self._seen_worth, worth])
        self._set_apart()
        started = np.arange(len(self._id) - count, len(self._id))
        started, first = started[self._apart[started]], first[self._apart[started]]
        self._confirm(started[(first >= self._config.confirm_hits) | (self._config.confirm_hits == 1)])

    def _report(self, time_s: float) -> Tracks:
        rows = np.flatnonzero(self._confirmed & (self._mean_score >= self._score_threshold))
        rows = rows[np.argsort(self._id[rows])]
        foot = self._motion.foot[rows]
        bbox = self._boxes(rows).astype(np.float32)
        stated = max(_STATED, frames_alike(self._step_s) ** _STATED_BY_FRAMES)
        foot_cov = stated * self._motion.foot_cov[rows]
        unseen_s = time_s - self._seen_s[rows]
        present = unseen_s <= self._config.coast_s
        return Tracks(self._id[rows], bbox, self._score[rows], foot, foot_cov, unseen_s == 0, present)


def _measurable(detections: Detections) -> BoolArray:
    """Tell which boxes have an area and finite corners."""
    size = detections.bbox[:, 2:] - detections.bbox[:, :2]
    return np.isfinite(detections.bbox).all(axis=1) & (size > 0).all(axis=1)


def _aspect(detections: Detections, measured: Measurements) -> FloatArray:
    """Return (N,) the width of each box to the person's height."""
    width = (detections.bbox[:, 2] - detections.bbox[:, 0]).astype(np.float64)
    return width / np.maximum(measured.position[:, 2], 1.0)


def _shows_same(boxes: FloatArray, others: FloatArray) -> BoolArray:
    """Tell which of (N, 4) boxes show the same person as which of (M, 4) others, (N, M)."""
    a, b = boxes[:, None], others[None]
    shared = shared_area(a, b)
    smaller = np.minimum(np.prod(a[..., 2:] - a[..., :2], axis=2), np.prod(b[..., 2:] - b[..., :2], axis=2))
    height_a, height_b = a[..., 3] - a[..., 1], b[..., 3] - b[..., 1]
    tallest, shortest = np.maximum(height_a, height_b), np.minimum(height_a, height_b)
    beside = np.abs(a[..., 0] + a[..., 2] - b[..., 0] - b[..., 2]) / 2 < _BESIDE * tallest
    head, foot = (a[..., 1] - b[..., 1]) / tallest, (a[..., 3] - b[..., 3]) / tallest
    part_with_head = (np.abs(head) < _SAME_HEAD) & (shortest < _PART * tallest)
    same: BoolArray = (
        beside & (shared >= _INSIDE * smaller) & (part_with_head | (np.abs(foot) < _SAME_FOOT) | (head * foot < 0))
    )
    return same
