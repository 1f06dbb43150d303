"""Constant-velocity Kalman filters for all tracks at once.

Each track has three coordinates in source pixels, the middle's x and y and the height, and a velocity for each. The
errors of a box's middle and height are independent of one another where those of its edges are, so that the filter
falls apart into three filters of two states, solved in closed form for all tracks in a handful of array operations
(Bar-Shalom, Estimation with Applications to Tracking and Navigation, ch. 6: continuous white-noise acceleration). Since
a person's height changes slowly, the foot that follows from middle and height learns from the head's edge too.

Noise is stated for a person and turned into pixels with the person's own height in the picture, so that the same
numbers serve near and far people, and every frame rate.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from edge_app.records import BoolArray, BoxArray, FloatArray, IntArray

# An adult stands about 1.7 m tall: turns metres into parts of the person's height in the picture.
_PERSON_HEIGHT_M = 1.7
# Walkers change speed by about 0.7 m/s within a second.
_ACCELERATION_DENSITY = np.array([0.5, 0.5, 0.02])  # m²/s³ for middle x, middle y and height
_INITIAL_SPEED_M_S = np.array([1.5, 1.5, 0.15])
# Standard deviation of a detector's box edges, as part of the box height and in pixels, which add in squares: sideways
# (the mean of two edges), at the foot, and of the height (the difference of two edges): edges that are off by 5 %. The
# pretrained int8 model with tiles had 0.05, 0.11 and 0.13 on 69 upright, uncut people of COCO128, mostly in tails.
_BOX_NOISE = np.array([0.04, 0.05, 0.07])
_BOX_NOISE_PX = np.array([1.4, 2.0, 2.8])
# The errors of a person's boxes are alike over about this long: in the one-by-one demonstration video they correlate by
# 0.66 to 0.75 over 0.1 s and by 0.31 to 0.51 over 0.2 s.
_ALIKE_S = 0.3
# An edge that lies farther from where it is expected than this many standard deviations is wrong (a loose box, a box
# over two people) and moves the track no more than one that lies there (Huber's psi).
_BELIEVED_SD = 2.0


@dataclass(frozen=True)
class Measurements:
    """What a detection says of a person, all of length N.

    Attributes:
        position: (N, 3) foot x, foot y and height, source pixels.
        variance: (N, 3) their variances, pixels².
    """

    position: FloatArray
    variance: FloatArray

    def __len__(self) -> int:
        return len(self.position)

    def middles(self) -> tuple[FloatArray, FloatArray]:
        """Return (N, 3) middle x, middle y and height, pixels, and their (N, 3) variances."""
        position, variance = self.position.copy(), self.variance.copy()
        position[:, 1] -= position[:, 2] / 2
        # Foot and height share the error of the lower edge; a foot that comes from the head is less sure than this.
        variance[:, 1] = np.maximum(variance[:, 1] - variance[:, 2] / 4, variance[:, 2] / 4)
        return position, variance

    def __getitem__(self, selection: BoolArray | IntArray) -> Measurements:
        return Measurements(self.position[selection], self.variance[selection])

    @staticmethod
    def from_boxes(bbox: BoxArray) -> Measurements:
        """Take the bottom centre and the height of (N, 4) boxes."""
        x_min, y_min, x_max, y_max = bbox.astype(np.float64).T
        position = np.stack([(x_min + x_max) / 2, y_max, y_max - y_min], axis=1)
        return Measurements(position, Measurements.box_variance(position[:, 2]))

    @staticmethod
    def box_variance(height: FloatArray) -> FloatArray:
        """Return the (N, 3) variances, pixels², of uncut boxes with the given (N,) heights."""
        return (_BOX_NOISE * np.maximum(height[:, None], 1.0)) ** 2 + _BOX_NOISE_PX**2


@dataclass
class MotionState:
    """Kalman state of N tracks; the three columns are middle x, middle y and height.

    Attributes:
        position: (N, 3) pixels.
        velocity: (N, 3) pixels per second.
        var_pp, var_pv, var_vv: (N, 3) variances of position, covariance with velocity, variance of velocity.
    """

    position: FloatArray
    velocity: FloatArray
    var_pp: FloatArray
    var_pv: FloatArray
    var_vv: FloatArray

    @staticmethod
    def nobody() -> MotionState:
        """Return the state of no tracks."""
        return MotionState.start(Measurements(np.zeros((0, 3)), np.zeros((0, 3))))

    @staticmethod
    def start(measured: Measurements) -> MotionState:
        """Begin tracks at N measurements, with unknown velocity."""
        position, variance = measured.middles()
        metre_px = position[:, 2:3] / _PERSON_HEIGHT_M
        return MotionState(
            position,
            np.zeros_like(position),
            variance,
            np.zeros_like(position),
            (_INITIAL_SPEED_M_S * metre_px) ** 2,
        )

    @staticmethod
    def restored(arrays: dict[str, FloatArray]) -> MotionState:
        """Return a state of copies of the arrays that ``vars`` gave of it."""
        return MotionState(**{name: np.array(value) for name, value in arrays.items()})

    def predict(self, dt_s: float) -> None:
        """Move every track ahead by ``dt_s`` seconds."""
        metre_px = np.maximum(self.position[:, 2:3], 1.0) / _PERSON_HEIGHT_M
        density = _ACCELERATION_DENSITY * metre_px**2
        self.position = self.position + dt_s * self.velocity
        self.var_pp = self.var_pp + 2 * dt_s * self.var_pv + dt_s**2 * self.var_vv + density * dt_s**3 / 3
        self.var_pv = self.var_pv + dt_s * self.var_vv + density * dt_s**2 / 2
        self.var_vv = self.var_vv + density * dt_s

    def update(self, rows: IntArray, measured: Measurements, step_s: float, *, doubts: bool = True) -> None:
        """Correct the tracks ``rows`` by their K measurements.

        Args:
            rows: (K,) of tracks.
            measured: K of them.
            step_s: seconds since the frame before, whose errors were alike.
            doubts: let an edge that lies too far off count as one that lies just there. In hindsight what follows tells
                a turn from a wrong box, and doubts would only delay the turn.
        """
        position, variance = measured.middles()
        innovation = position - self.position[rows]
        total = self.var_pp[rows] + frames_alike(step_s) * variance
        if doubts:
            innovation = _believed(innovation, total)
        gain_p, gain_v = self.var_pp[rows] / total, self.var_pv[rows] / total
        self.position[rows] += gain_p * innovation
        self.velocity[rows] += gain_v * innovation
        self.var_vv[rows] -= gain_v * self.var_pv[rows]
        self.var_pv[rows] *= 1 - gain_p
        self.var_pp[rows] *= 1 - gain_p

    def corrected_by(self, later: MotionState, dt_s: float) -> MotionState:
        """Return these tracks as they are known once it is known where they were ``dt_s`` seconds later.

        One step of the smoother of Rauch, Tung and Striebel (AIAA Journal 3, 1965), in closed form.

        Args:
            later: the same N tracks, with all that was learned since.
            dt_s: seconds; at 0 the later state is the answer.
        """
        if dt_s <= 0:
            return later
        ahead = MotionState(*(getattr(self, item.name) for item in fields(self)))
        ahead.predict(dt_s)
        determinant = ahead.var_pp * ahead.var_vv - ahead.var_pv**2
        shared_pp, shared_pv = self.var_pp + dt_s * self.var_pv, self.var_pv + dt_s * self.var_vv
        # Rows: this position, this velocity; columns: the later position and velocity.
        gain_pp = (shared_pp * ahead.var_vv - self.var_pv * ahead.var_pv) / determinant
        gain_pv = (self.var_pv * ahead.var_pp - shared_pp * ahead.var_pv) / determinant
        gain_vp = (shared_pv * ahead.var_vv - self.var_vv * ahead.var_pv) / determinant
        gain_vv = (self.var_vv * ahead.var_pp - shared_pv * ahead.var_pv) / determinant
        moved, sped = later.position - ahead.position, later.velocity - ahead.velocity
        pp, pv, vv = later.var_pp - ahead.var_pp, later.var_pv - ahead.var_pv, later.var_vv - ahead.var_vv
        return MotionState(
            self.position + gain_pp * moved + gain_pv * sped,
            self.velocity + gain_vp * moved + gain_vv * sped,
            self.var_pp + gain_pp**2 * pp + 2 * gain_pp * gain_pv * pv + gain_pv**2 * vv,
            self.var_pv
            + gain_pp * gain_vp * pp
            + (gain_pp * gain_vv + gain_pv * gain_vp) * pv
            + gain_pv * gain_vv * vv,
            self.var_vv + gain_vp**2 * pp + 2 * gain_vp * gain_vv * pv + gain_vv**2 * vv,
        )

    @property
    def foot(self) -> FloatArray:
        """(N, 2) feet, pixels."""
        foot = self.position[:, :2].copy()
        foot[:, 1] += self.position[:, 2] / 2
        return foot

    @property
    def foot_cov(self) -> FloatArray:
        """(N, 2, 2) covariances of the feet, pixels²."""
        cov = np.zeros((len(self.position), 2, 2))
        cov[:, 0, 0] = self.var_pp[:, 0]
        cov[:, 1, 1] = self.var_pp[:, 1] + self.var_pp[:, 2] / 4
        return cov

    def select(self, rows: BoolArray | IntArray) -> MotionState:
        """Return the state of some of the tracks."""
        return MotionState(*(getattr(self, item.name)[rows] for item in fields(self)))

    def replace(self, rows: IntArray, other: MotionState) -> None:
        """Put the state of K other tracks in the place of the tracks ``rows``."""
        for item in fields(self):
            getattr(self, item.name)[rows] = getattr(other, item.name)

    def append(self, other: MotionState) -> MotionState:
        """Return the state of the tracks of both."""
        return MotionState(
            *(np.concatenate([getattr(self, item.name), getattr(other, item.name)]) for item in fields(self))
        )


def boxes_of(position: FloatArray, aspect: FloatArray) -> FloatArray:
    """Return (N, 4) boxes, pixels.

    Args:
        position: (N, 3) middle x, middle y and height, pixels.
        aspect: (N,) width in parts of the height.
    """
    x, y, height = position.T
    height = np.maximum(height, 1.0)
    half_width, half_height = 0.5 * height * aspect, 0.5 * height
    boxes = np.empty((len(position), 4))
    boxes[:, 0], boxes[:, 1] = x - half_width, y - half_height
    boxes[:, 2], boxes[:, 3] = x + half_width, y + half_height
    return boxes


def frames_alike(step_s: float) -> float:
    """Return how many boxes of a row, ``step_s`` seconds apart, say as much together as one with an error of its own.

    It is (1 + r) / (1 - r) where errors correlate by r from frame to frame (first-order autoregression; Bartlett, J. R.
    Stat. Soc. 98, 1935).
    """
    # Frames at one moment are no row; they never come without a step between them but from a broken clock.
    if step_s <= 0:
        return 1.0
    alike = float(np.exp(-step_s / _ALIKE_S))
    return (1 + alike) / (1 - alike)


def _believed(innovation: FloatArray, variance: FloatArray) -> FloatArray:
    """Return (K, 3) innovations of middle x, middle y and height in which no edge is farther off than believed.

    Args:
        innovation: (K, 3) pixels.
        variance: (K, 3) of the innovations, pixels².
    """
    x, y, height = innovation.T
    sd_edge = np.sqrt(variance[:, 1] + variance[:, 2] / 4)
    reach = _BELIEVED_SD * sd_edge
    upper, lower = np.clip(y - height / 2, -reach, reach), np.clip(y + height / 2, -reach, reach)
    reach_x = _BELIEVED_SD * np.sqrt(variance[:, 0])
    return np.column_stack([np.clip(x, -reach_x, reach_x), (upper + lower) / 2, lower - upper])
