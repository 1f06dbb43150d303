"""Camera calibration: from image pixels to metres on the ground plane."""

from edge_app.calibration.camera import CameraModel, HomographyCamera, PinholeCamera
from edge_app.calibration.camera_file import load_camera, save_camera
from edge_app.calibration.tsai import load_tsai_xml

__all__ = ["CameraModel", "HomographyCamera", "PinholeCamera", "load_camera", "load_tsai_xml", "save_camera"]
