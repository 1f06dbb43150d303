"""Recordings are judged in hindsight: what comes later corrects where people were, and who was a person at all.

A camera has to answer at once. A recording need not: where somebody walked is known better once it is known where they
walked on, a gap between two sightings can be filled, the first detections of a person count although nobody could know
then, and a few sure detections among many weak ones say less than they seem to.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Optional

import numpy as np

from edge_app.config import Config
from edge_app.named_arrays import named, prefixed
from edge_app.pipeline import Followed, Pipeline
from edge_app.records import BoolArray, Detections, FloatArray, FrameResult, IntArray, Tracks, ViolationEvent
from edge_app.tracking.motion import MotionState, boxes_of
from edge_app.tracking.trace import Trace

# The mean score around a moment, over about this long to both sides, says whether a track shows a person. It is less
# noisy than the mean of what was before, so that it can ask for more. Chosen on simulated crowds (`simulate-crowds
# --recording --scenes 16 --seed 300`): F1 of boxes 0.899 instead of 0.865 without asking for more.
_SCORE_TIME_S = 2.0
_SURER = 1.2
_SCORES = ("score_sum", "score_weight", "seen_s")


@dataclass(frozen=True)
class _SoFar:
    """What is known of the N tracks of a frame from it and those before.

    Attributes:
        time_s: of the frame.
        serial: (N,) numbers of the tracks.
        state: where they are.
        score_sum, score_weight: (N,) of their scores, the older the less.
        seen_s: (N,) when they were seen last.
    """

    time_s: float
    serial: IntArray
    state: MotionState
    score_sum: FloatArray
    score_weight: FloatArray
    seen_s: FloatArray


@dataclass(frozen=True)
class _Moment:
    """One frame that waits to be judged.

    Attributes:
        followed: what was seen.
        trace: of its N tracks.
        so_far: what was known of them then.
        step_s: seconds since the frame before.
        kept: for each track of the frame before, whether it is still there; those are the first of this frame's.
        verdict: (N,) 1 a thing, 0 somebody, -1 not said in this frame.
        doubtful: (N,) the verdict may turn out to be wrong: nothing has moved or changed yet.
    """

    followed: Followed
    trace: Trace
    so_far: _SoFar
    step_s: float
    kept: BoolArray
    verdict: IntArray
    doubtful: BoolArray


@dataclass(frozen=True)
class _Later:
    """What is known of the N tracks of a frame once those after it are known.

    Attributes:
        state: where they are.
        score_sum, score_weight: (N,) of their scores in this frame and after it, the later the less.
        next_s: (N,) when they are seen next, this frame included; infinity for never.
        id: (N,) the first one that they have from here on; 0 for none.
        verdict: (N,) the first one from here on, as in ``_Moment``; if it is in doubt, what later ones say who know.
        doubtful: (N,) whether what follows may still change the verdict.
    """

    state: MotionState
    score_sum: FloatArray
    score_weight: FloatArray
    next_s: FloatArray
    id: IntArray
    verdict: IntArray
    doubtful: BoolArray


class Hindsight:
    """Holds frames back until enough of what follows is known, and corrects their tracks by it.

    Frames are let go in blocks that begin every ``look_ahead_s``, so that of each frame at least this much of what
    follows is known, and at most twice as much.
    """

    def __init__(self, look_ahead_s: float, coast_s: float, score_threshold: float) -> None:
        """Make one.

        Args:
            look_ahead_s: seconds of frame time, above 0.
            coast_s: for so long after one sighting and before the next one a person counts as there.
            score_threshold: that a track needs.
        """
        self._look_ahead_s = look_ahead_s
        self._coast_s = coast_s
        # Halfway to 1 at most, or nobody could be as sure as is asked where the threshold is high.
        self._least_score = min(_SURER * score_threshold, (1 + score_threshold) / 2)
        self._waiting: list[_Moment] = []
        self._so_far: Optional[_SoFar] = None
        # When the open block began, and how many of the frames that wait are of the one before it.
        self._block_s: Optional[float] = None
        self._closed = 0

    def add(self, followed: Followed, trace: Trace) -> list[Followed]:
        """Take the next frame, with what it said of every track, and return those that can be judged now, in order."""
        moment = _moment_after(self._so_far, followed, trace)
        self._so_far = moment.so_far
        self._waiting.append(moment)
        time_s = followed.time_s
        if self._block_s is None:
            self._block_s = time_s
        if time_s - self._block_s < self._look_ahead_s:
            return []
        released = self._judge(self._closed)
        self._closed, self._block_s = len(self._waiting), time_s
        return released

    @property
    def closes_block(self) -> bool:
        """Whether the newest frame is the last one of a block."""
        return self._closed == len(self._waiting)

    def finish(self) -> list[Followed]:
        """Judge all that is left; the recording has ended."""
        return self._judge(len(self._waiting))

    def state(self) -> dict[str, FloatArray]:
        """Return what the newest frame says of those that follow, as arrays; frames that wait are not among it."""
        if self._so_far is None:
            return {}
        state = prefixed("motion", vars(self._so_far.state))
        state |= {name: getattr(self._so_far, name) for name in ("serial", *_SCORES)}
        return {**state, "clock": np.array([self._so_far.time_s])}

    def restore(self, state: dict[str, FloatArray]) -> None:
        """Go on after the frame in which ``state`` was taken, the last one of a block."""
        if not state:
            return
        motion = MotionState.restored(named("motion", state))
        self._block_s = float(state["clock"][0])
        score_sum, score_weight, seen_s = (np.array(state[name]) for name in _SCORES)
        serial = np.array(state["serial"], np.int64)
        self._so_far = _SoFar(self._block_s, serial, motion, score_sum, score_weight, seen_s)

    def _judge(self, count: int) -> list[Followed]:
        """Go back from the newest frame, and let the first ``count`` of those that wait go."""
        if count == 0:
            return []
        judged: list[Followed] = []
        later: Optional[_Later] = None
        for index in range(len(self._waiting) - 1, -1, -1):
            after = self._waiting[index + 1] if index + 1 < len(self._waiting) else None
            later = _known_from(self._waiting[index], after, later)
            if index < count:
                judged.append(self._verdict(self._waiting[index], later))
        self._waiting = self._waiting[count:]
        self._closed -= count
        return judged[::-1]

    def _verdict(self, moment: _Moment, later: _Later) -> Followed:
        """Return a frame with the people and the things in it as they are known now."""
        time_s, trace = moment.followed.time_s, moment.trace
        # The frame's own detection is in both sums.
        own = np.nan_to_num(trace.worth), trace.seen.astype(np.float64)
        so_far = moment.so_far
        mean = (so_far.score_sum + later.score_sum - own[0]) / (so_far.score_weight + later.score_weight - own[1])
        near = np.minimum(time_s - so_far.seen_s, later.next_s - time_s) <= self._coast_s
        counts = (later.id > 0) & np.isfinite(later.next_s) & near & (mean >= self._least_score)
        is_thing = later.verdict == 1
        people, things = (_tracks(trace, later, np.flatnonzero(counts & these)) for these in (~is_thing, is_thing))
        followed, told = moment.followed, np.concatenate([people.id, things.id])
        # Who is lost, or is nobody in hindsight, stays hidden in pictures, as at once: somebody may be there.
        lost = [each.bbox[~np.isin(each.id, told)] for each in (followed.tracks, followed.things)]
        last_seen = np.concatenate([followed.last_seen, *lost])
        return replace(followed, tracks=people, things=things, last_seen=last_seen)


class Recording:
    """Turns the frames of a recording into results, some of them later than they come.

    Attributes:
        next_frame: index of the frame with which one goes on that was restored from ``state``.
    """

    def __init__(self, pipeline: Pipeline, config: Config) -> None:
        """Make one.

        Args:
            pipeline: made for the recording, and fed by nobody else.
            config: with ``tracker.hindsight_s``; 0 judges at once, as for a camera.
        """
        self._pipeline = pipeline
        tracker = config.tracker
        self._hindsight: Optional[Hindsight] = None
        if tracker.hindsight_s > 0:
            self._hindsight = Hindsight(tracker.hindsight_s, tracker.coast_s, config.model.score_threshold)
        self._people: set[int] = set()
        self.next_frame = 0
        self._mark: dict[str, Any] = {}
        self._next_mark: tuple[int, dict[str, Any]] = (0, {})

    @property
    def people_seen(self) -> int:
        """Number of people so far; things that never moved don't count."""
        return len(self._people)

    def add(self, index: int, time_s: float, detections: Detections) -> list[FrameResult]:
        """Take the people of the next frame, as ``Pipeline.interpret`` does, and return the results that are ready."""
        followed = self._pipeline.follow(index, time_s, detections)
        if self._hindsight is None:
            results = self._measure([followed])
            self.next_frame = index + 1
            return results
        results = self._measure(self._hindsight.add(followed, self._pipeline.trace()))
        if self._hindsight.closes_block:
            # All results up to the last block's end are out: from there another run can go on.
            self.next_frame, self._mark = self._next_mark
            self._next_mark = (index + 1, deepcopy(self._seen_state()))
        return results

    def finish(self) -> tuple[list[FrameResult], tuple[ViolationEvent, ...]]:
        """Return the results that are left, and the events that are open at the end."""
        results = self._measure(self._hindsight.finish()) if self._hindsight is not None else []
        return results, self._pipeline.finish()

    def state(self) -> Optional[dict[str, Any]]:
        """Return all that is needed to go on with ``next_frame``; None while that is the first one.

        Arrays under ``tracker`` and ``hindsight``, JSON values elsewhere.
        """
        if self.next_frame == 0:
            return None
        seen = self._mark if self._hindsight is not None else self._seen_state()
        return {**seen, "measured": self._pipeline.measuring_state(), "people": sorted(self._people)}

    def restore(self, state: dict[str, Any], next_frame: int) -> None:
        """Go on from what ``state`` returned."""
        self._pipeline.restore_following(state["followed"], state["tracker"])
        self._pipeline.restore_measuring(state["measured"])
        self._people = set(state["people"])
        self.next_frame = next_frame
        if self._hindsight is not None:
            self._hindsight.restore(state["hindsight"])
            self._next_mark = (next_frame, deepcopy(self._seen_state()))
            self._mark = self._next_mark[1]

    def _seen_state(self) -> dict[str, Any]:
        followed, tracker = self._pipeline.following_state()
        hindsight = self._hindsight.state() if self._hindsight is not None else {}
        return {"followed": followed, "tracker": tracker, "hindsight": hindsight}

    def _measure(self, frames: list[Followed]) -> list[FrameResult]:
        results = [self._pipeline.measure(followed) for followed in frames]
        for result in results:
            self._people.update(result.tracks.id.tolist())
            self._people.difference_update(result.things.id.tolist())
        return results


def _moment_after(before: Optional[_SoFar], followed: Followed, trace: Trace) -> _Moment:
    """Return a frame with what it and those before it say of its tracks."""
    before = before if before is not None else _nothing(followed.time_s)
    kept = np.isin(before.serial, trace.serial, assume_unique=True)
    step_s = max(0.0, followed.time_s - before.time_s)
    is_thing, is_somebody = np.isin(trace.id, followed.things.id), np.isin(trace.id, followed.tracks.id)
    verdict = np.where(is_thing, 1, np.where(is_somebody, 0, -1))
    doubtful = np.isin(trace.id, followed.doubtful)
    return _Moment(followed, trace, _go_on(before, kept, step_s, trace), step_s, kept, verdict, doubtful)


def _nothing(time_s: float) -> _SoFar:
    return _SoFar(time_s, np.zeros(0, np.int64), MotionState.nobody(), np.zeros(0), np.zeros(0), np.zeros(0))


def _go_on(before: _SoFar, kept: BoolArray, step_s: float, trace: Trace) -> _SoFar:
    """Take what a frame, ``step_s`` after the one before, says of the tracks that were kept and of new ones."""
    time_s, seen, old = before.time_s + step_s, trace.seen, int(kept.sum())
    state = before.state.select(kept)
    if step_s > 0:
        state.predict(step_s)
    again = np.flatnonzero(seen[:old])
    state.update(again, trace.measured[again], step_s, doubts=False)
    state = state.append(MotionState.start(trace.measured[np.arange(old, len(trace))]))
    fade, new = np.exp(-step_s / _SCORE_TIME_S), np.zeros(len(trace) - old)
    return _SoFar(
        time_s,
        trace.serial,
        state,
        np.concatenate([fade * before.score_sum[kept], new]) + np.nan_to_num(trace.worth),
        np.concatenate([fade * before.score_weight[kept], new]) + seen,
        np.where(seen, time_s, np.concatenate([before.seen_s[kept], new])),
    )


def _known_from(moment: _Moment, after: Optional[_Moment], later: Optional[_Later]) -> _Later:
    """Return what is known of the tracks of a frame from it on, given the same of the frame ``after`` it."""
    trace = moment.trace
    seen = trace.seen
    count = len(trace)
    state = moment.so_far.state.select(np.arange(count))
    score_sum, score_weight = np.zeros(count), np.zeros(count)
    next_s, ids, verdict = np.full(count, np.inf), np.zeros(count, np.int64), np.full(count, -1)
    doubtful = np.zeros(count, np.bool_)
    if after is not None and later is not None:
        on = np.flatnonzero(after.kept)
        there = np.arange(len(on))
        fade = np.exp(-after.step_s / _SCORE_TIME_S)
        score_sum[on], score_weight[on] = fade * later.score_sum[there], fade * later.score_weight[there]
        next_s[on], ids[on] = later.next_s[there], later.id[there]
        verdict[on], doubtful[on] = later.verdict[there], later.doubtful[there]
        state.replace(on, moment.so_far.state.select(on).corrected_by(later.state.select(there), after.step_s))
    # What has not moved nor changed was a thing all along if it is taken for one later; who moves later was somebody.
    known_better = moment.doubtful & np.where(verdict == 1, doubtful, (verdict == 0) & ~doubtful)
    own = (moment.verdict >= 0) & ~known_better
    return _Later(
        state,
        score_sum + np.nan_to_num(trace.worth),
        score_weight + seen,
        np.where(seen, moment.followed.time_s, next_s),
        np.where(trace.id > 0, trace.id, ids),
        np.where(own, moment.verdict, verdict),
        np.where(own, moment.doubtful, doubtful),
    )


def _tracks(trace: Trace, later: _Later, rows: IntArray) -> Tracks:
    """Return the tracks ``rows`` in the order of their ids; all count as seen, as they are known from both sides."""
    rows = rows[np.argsort(later.id[rows])]
    state = later.state.select(rows)
    bbox = boxes_of(state.position, trace.aspect[rows]).astype(np.float32)
    return Tracks(later.id[rows], bbox, trace.score[rows], state.foot, state.foot_cov, np.ones(len(rows), np.bool_))
