"""The error of a calibration, as cameras one standard error away.

A covariance of the camera's parameters is split into independent directions; the camera a standard error along each is
kept. However a distance depends on the camera, the sum of the squares of its changes over these cameras is its variance
(first order), and two people seen by one camera share its error.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_app.calibration.camera import HomographyCamera, PinholeCamera
from edge_app.records import FloatArray

# Directions whose standard error is below this part of the largest are left out.
_NEGLIGIBLE = 1e-4


def independent_directions(changes: FloatArray) -> FloatArray:
    """Turn the changes that independent errors cause into as few independent ones with the same covariance.

    Args:
        changes: (E, P) change of P parameters by one standard deviation of each of E errors.

    Returns:
        (K, P), K at most P: rows whose outer products sum to the same covariance.
    """
    unit = np.sqrt((changes**2).sum(axis=0))
    unit[unit == 0] = 1.0
    _, size, direction = np.linalg.svd(changes / unit, full_matrices=False)
    kept = size > _NEGLIGIBLE * max(float(size[0]), 1e-300) if len(size) else np.zeros(0, np.bool_)
    directions: FloatArray = size[kept, None] * direction[kept] * unit
    return directions


def pinhole_parameters(camera: PinholeCamera) -> FloatArray:
    """Return (12,) rotation vector, translation in metres, logarithm of the focal length in pixels, and distortion."""
    turn, _ = cv2.Rodrigues(camera.rotation)
    focal = [np.log(camera.matrix[0, 0])]
    return np.concatenate([turn.ravel(), camera.translation_m, focal, camera.distortion]).astype(np.float64)


def pinhole_alternatives(camera: PinholeCamera, others: Sequence[PinholeCamera]) -> tuple[PinholeCamera, ...]:
    """Return alternatives for a camera, given what it would be after one standard deviation of each error."""
    own = pinhole_parameters(camera)
    changes = np.array([pinhole_parameters(other) - own for other in others]).reshape(-1, len(own))
    return tuple(_moved(camera, own + change) for change in independent_directions(changes))


def homography_alternatives(
    camera: HomographyCamera, others: Sequence[HomographyCamera]
) -> tuple[HomographyCamera, ...]:
    """Return alternatives for a homography, given what it would be after one standard deviation of each error."""
    own = _homography_parameters(camera)
    changes = np.array([_homography_parameters(other) - own for other in others]).reshape(-1, len(own))
    moved = own + independent_directions(changes)
    return tuple(
        HomographyCamera(camera.image_width, camera.image_height, row[:9].reshape(3, 3), bend=float(row[9]))
        for row in moved
    )


def _homography_parameters(camera: HomographyCamera) -> FloatArray:
    """Return (10,) the matrix, scaled to be 1 at the bottom of the picture, and the bend."""
    middle = np.array([camera.image_width / 2, camera.image_height, 1.0])
    return np.append((camera.image_to_world / (camera.image_to_world[2] @ middle)).ravel(), camera.bend)


def _moved(camera: PinholeCamera, parameters: FloatArray) -> PinholeCamera:
    rotation, _ = cv2.Rodrigues(parameters[:3])
    scale = np.exp(parameters[6]) / camera.matrix[0, 0]
    matrix = camera.matrix * np.array([[scale, 1, 1], [1, scale, 1], [1, 1, 1.0]])
    return PinholeCamera(
        camera.image_width,
        camera.image_height,
        matrix,
        parameters[7:12],
        np.asarray(rotation, np.float64),
        parameters[3:6],
    )
