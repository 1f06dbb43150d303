"""The records that flow through the pipeline: source → detector → tracker → ground plane → distances → events.

Every record is a bundle of arrays of one length, so that stages stay vectorised. Boxes are always pixels of the source
frame, ``[x_min, y_min, x_max, y_max]``, float32, with continuous coordinates (pixel ``k`` covers ``k`` to ``k + 1``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoxArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        image: (H, W, 3) uint8, BGR as OpenCV delivers it.
        index: 0-based position in the source.
        time_s: the frame's own time, seconds from the start of the source; never decreases.
    """

    image: Image
    index: int
    time_s: float


@dataclass(frozen=True)
class Detections:
    """People found in one frame.

    Attributes:
        bbox: (N, 4) float32, source pixels xyxy.
        score: (N,) float32, 0 to 1.
        appearance: (N, D) float32, what they look like (``edge_app.tracking.appearance``); None where not described.
        unchecked: (V, 4) float32, source pixels xyxy: who was found when parts of the picture were last looked at
            closely whose turn it is not in this frame; None where there is nobody.
        passed_over: the frame was not looked at, since nothing moved.
    """

    bbox: BoxArray
    score: NDArray[np.float32]
    appearance: Optional[NDArray[np.float32]] = None
    unchecked: Optional[BoxArray] = None
    passed_over: bool = False

    def __post_init__(self) -> None:
        if self.bbox.shape != (len(self.score), 4):
            raise ValueError(f"bbox {self.bbox.shape} does not fit score {self.score.shape}")

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, selection: BoolArray | IntArray | slice) -> Detections:
        appearance = None if self.appearance is None else self.appearance[selection]
        return Detections(self.bbox[selection], self.score[selection], appearance, self.unchecked, self.passed_over)

    @staticmethod
    def empty(*, passed_over: bool = False) -> Detections:
        """No people; ``passed_over`` where nobody looked, since nothing moved."""
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), passed_over=passed_over)


@dataclass(frozen=True)
class Tracks:
    """Confirmed tracks at one frame, all of length N.

    Attributes:
        id: (N,) int64, positive, never used twice in one run.
        bbox: (N, 4) float32, source pixels xyxy; smoothed.
        score: (N,) float32, score of the detection that was assigned last.
        foot: (N, 2) float64, source pixels; smoothed bottom centre of the box, where the person touches the ground.
        foot_cov: (N, 2, 2) float64, pixels², covariance of ``foot``.
        observed: (N,) bool, a detection was assigned in this very frame (else the position is predicted).
        present: (N,) bool, observed now or so shortly before (``tracker.coast_s``) that the person is there for sure;
            as ``observed`` where it is not given.
    """

    id: IntArray
    bbox: BoxArray
    score: NDArray[np.float32]
    foot: FloatArray
    foot_cov: FloatArray
    observed: BoolArray
    present: BoolArray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.present is None:
            object.__setattr__(self, "present", self.observed)

    def __len__(self) -> int:
        return len(self.id)

    def __getitem__(self, selection: BoolArray | IntArray) -> Tracks:
        return Tracks(
            self.id[selection],
            self.bbox[selection],
            self.score[selection],
            self.foot[selection],
            self.foot_cov[selection],
            self.observed[selection],
            self.present[selection],
        )

    @staticmethod
    def empty() -> Tracks:
        """No tracks."""
        return Tracks(
            np.zeros(0, np.int64),
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros((0, 2)),
            np.zeros((0, 2, 2)),
            np.zeros(0, np.bool_),
        )


@dataclass(frozen=True)
class GroundPoints:
    """Positions on the ground plane, in the order of the tracks that they belong to.

    Attributes:
        xy_m: (N, 2) float64, metres in the calibration's world frame; NaN where ``valid`` is False.
        cov_m2: (N, 2, 2) float64, m², from the foot covariance through the camera's Jacobian.
        shift_m: (N, K, 2) float64, metres: how each position moves when the calibration is one standard error off in
            each of its K independent directions; all positions of a direction move together. K is 0 for an exact one.
        valid: (N,) bool, False where the foot lies on or above the horizon, or there is no calibration.
    """

    xy_m: FloatArray
    cov_m2: FloatArray
    valid: BoolArray
    shift_m: FloatArray

    def __len__(self) -> int:
        return len(self.valid)

    def __getitem__(self, selection: BoolArray | IntArray) -> GroundPoints:
        return GroundPoints(
            self.xy_m[selection], self.cov_m2[selection], self.valid[selection], self.shift_m[selection]
        )

    @property
    def whole_cov_m2(self) -> FloatArray:
        """(N, 2, 2) float64, m²: covariance of each position alone, that of the calibration included."""
        whole: FloatArray = self.cov_m2 + np.einsum("nki,nkj->nij", self.shift_m, self.shift_m)
        return whole


@dataclass(frozen=True)
class Pairs:
    """Every pair of people with a position, all of length M, each pair once with ``id_a < id_b``.

    Attributes:
        id_a, id_b: (M,) int64 track ids.
        distance_m: (M,) float64.
        sigma_m: (M,) float64, standard deviation of ``distance_m``.
        p_violation: (M,) float64, probability that the true distance is under the threshold.
        same_group: (M,) bool, the two walk together; None where that was not determined.
    """

    id_a: IntArray
    id_b: IntArray
    distance_m: FloatArray
    sigma_m: FloatArray
    p_violation: FloatArray
    same_group: Optional[BoolArray] = None

    def __len__(self) -> int:
        return len(self.id_a)

    def __getitem__(self, selection: BoolArray | IntArray) -> Pairs:
        together = None if self.same_group is None else self.same_group[selection]
        return Pairs(
            self.id_a[selection],
            self.id_b[selection],
            self.distance_m[selection],
            self.sigma_m[selection],
            self.p_violation[selection],
            together,
        )

    def between(self, ids: IntArray) -> Pairs:
        """Return the pairs of people who are both among ``ids``."""
        wanted = set(ids.tolist())
        pairs = zip(self.id_a.tolist(), self.id_b.tolist())
        return self[np.array([a in wanted and b in wanted for a, b in pairs], np.bool_)]

    @staticmethod
    def empty() -> Pairs:
        """No pairs."""
        nothing = np.zeros(0)
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), nothing, nothing, nothing)


@dataclass(frozen=True)
class ViolationEvent:
    """Two people were too close for a while.

    Attributes:
        event_id: positive, in order of the event's end.
        id_a, id_b: track ids, ``id_a < id_b``.
        start_s, end_s: seconds of frame time of the first and the last moment under the threshold.
        min_distance_m, mean_distance_m: over the frames in violation.
        same_group: whether the two move together; None where that was not determined.
    """

    event_id: int
    id_a: int
    id_b: int
    start_s: float
    end_s: float
    min_distance_m: float
    mean_distance_m: float
    same_group: Optional[bool] = None

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last moment under the threshold."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class FrameResult:
    """All that the pipeline says about one frame.

    Attributes:
        index, time_s: of the frame.
        detections: every box at or above the tracker's low threshold, before tracking.
        tracks: confirmed tracks; ``ground`` has the same order.
        pairs: distances between people; empty when uncalibrated.
        violating_pairs: (K, 2) int64, ids of the pairs that are in an open violation at this frame.
        violating_since_s: (K,) float64, frame time at which each of those violations began.
        violating_people: ids of the people in at least one of those pairs, ascending.
        closed_events: events that were closed while this frame was processed.
        things: tracks of what never moves; they are nobody, and not among ``tracks``.
        last_seen: (M, 4) float32, source pixels xyxy: where somebody was found a moment ago and nobody is found now;
            hidden in pictures, counted nowhere.
        in_metres: the camera has a calibration that holds; without one nothing in metres is known of this frame, and
            that nobody is too close in it says nothing.
    """

    index: int
    time_s: float
    detections: Detections
    tracks: Tracks
    ground: GroundPoints
    pairs: Pairs
    violating_pairs: IntArray
    violating_since_s: FloatArray
    violating_people: IntArray
    closed_events: tuple[ViolationEvent, ...] = field(default=())
    things: Tracks = field(default_factory=Tracks.empty)
    last_seen: BoxArray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    in_metres: bool = True
