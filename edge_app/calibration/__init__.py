"""Camera calibration: from image pixels to metres on the ground plane."""

from edge_app.calibration.camera import CameraModel, load_camera

__all__ = ["CameraModel", "load_camera"]
