"""One way to ask any detector for people: Keras, frozen graph or TensorFlow Lite; preprocessing is the device's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from edge_app.bench.hog import HogDetector
from edge_app.box_decoding import decode_boxes, one_box_each
from edge_app.calibration import load_camera
from edge_app.config import ModelConfig
from edge_app.detector import Detector, detect, load_detector
from edge_app.errors import UserError
from edge_app.preprocess import ResizeMode, resize_to_input
from edge_app.records import Detections, FloatArray, Image
from edge_app.tiles.config import TilesConfig
from edge_app.tiles.tiled_detector import TiledDetector
from training.export.post_process import PostProcess

Predictor = Callable[[Image], Detections]
RawHeads = Callable[[NDArray[np.float32]], tuple[Any, Any]]

_PERSON_COLUMN = 1
OPENCV_HOG = "opencv-hog"


def load_predictor(
    path: Path,
    *,
    resize: ResizeMode = "stretch",
    threads: int = 2,
    tiles: Optional[TilesConfig] = None,
    camera: Optional[Path] = None,
) -> Predictor:
    """Load a detector by its file's ending.

    Args:
        path: ``.tflite``, ``.keras`` or ``.pb`` (frozen graph); or ``opencv-hog``, OpenCV's own, to compare with.
        resize: for Keras and frozen graphs; a ``.tflite`` has it in its manifest.
        threads: CPU threads of the TensorFlow Lite interpreter.
        tiles: look closer as the device does; for a ``.tflite``.
        camera: camera file that tells where people are small; None lays tiles all over.

    Raises:
        UserError: the file is missing or of no known kind, or tiles were asked of another kind than ``.tflite``.
    """
    kind = path.suffix.lower()
    if str(path) == OPENCV_HOG:
        return HogDetector()
    if tiles is not None and tiles.mode != "off" and kind != ".tflite":
        raise UserError(f"tiles are what the device does with a .tflite model, and {path} is none; export it first")
    if kind == ".tflite":
        detector = load_detector(ModelConfig(path=path, threads=threads, low_score_threshold=0.0))
        if tiles is None or tiles.mode == "off":
            return lambda image: detect(detector, image)
        return _TiledPredictor(detector, tiles, camera)
    if kind == ".pb":
        return _frozen_graph(path, resize)
    if kind == ".keras":
        return _keras(path, resize)
    raise UserError(f"model {path} is none of .tflite, .keras and .pb; give one of these")


class _TiledPredictor:
    """Looks closer at each picture, whatever its size: labelled sets hold pictures of many."""

    def __init__(self, detector: Detector, tiles: TilesConfig, camera: Optional[Path]) -> None:
        self._detector = TiledDetector(detector, tiles, None, in_real_time=False)
        self._camera = None if camera is None else load_camera(camera)
        self._size: Optional[tuple[int, int]] = None

    def __call__(self, image: Image) -> Detections:
        size = (image.shape[1], image.shape[0])
        if self._camera is not None and size != self._size:
            self._size = size
            self._detector.refit(self._camera.scaled_to(*size))
        return detect(self._detector, image)


def predict_raw(
    heads: RawHeads,
    anchors: FloatArray,
    image: Image,
    size: tuple[int, int],
    mode: ResizeMode,
    zero_point: float = 127.5,
) -> Detections:
    """Run raw heads on one BGR picture and decode them: what the post-process does, and the device after it."""
    pixels, geometry = resize_to_input(image, size[0], size[1], mode)
    encodings, logits = heads(((pixels.astype(np.float32) - zero_point) / 127.5)[None])
    scores = 1.0 / (1.0 + np.exp(-np.asarray(logits, np.float64)[0, :, _PERSON_COLUMN]))
    options = PostProcess()
    candidates = np.argsort(-scores, kind="stable")[: options.max_detections]
    candidates = candidates[scores[candidates] >= options.lowest_score]
    boxes = decode_boxes(np.asarray(encodings)[0].reshape(-1, 4)[candidates], anchors[candidates])
    bbox, score = one_box_each(geometry.boxes_to_source(boxes).astype(np.float64), scores[candidates])
    return Detections(bbox.astype(np.float32), score.astype(np.float32))


def _frozen_graph(path: Path, resize: ResizeMode) -> Predictor:
    from training.importing.frozen_graph import raw_heads_function, read_graph  # noqa: PLC0415 - brings TensorFlow
    from training.model.anchors import AnchorGenerator  # noqa: PLC0415

    heads = raw_heads_function(read_graph(path))
    # Feature maps of a 300x300 MobileNetV2 SSD; the graph resizes to that size itself.
    grid = [(size, size) for size in (19, 10, 5, 3, 2, 1)]
    anchors = AnchorGenerator().generate(grid)
    return lambda image: predict_raw(heads, anchors, image, (300, 300), resize)


def _keras(path: Path, resize: ResizeMode) -> Predictor:
    import keras  # noqa: PLC0415 - brings TensorFlow

    from training.model.ssdlite import anchors_of  # noqa: PLC0415
    from training.trainable import zero_point  # noqa: PLC0415

    try:
        model = keras.models.load_model(path, compile=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a Keras model ({str(error).splitlines()[0]}); give a .keras file") from error
    _, height, width, _ = model.inputs[0].shape
    anchors = anchors_of(model)

    def heads(pixels: NDArray[np.float32]) -> tuple[Any, Any]:
        # Compiled, unlike a plain call.
        outputs = model.predict_on_batch(pixels)
        return outputs["box_encodings"], outputs["class_logits"]

    zero = zero_point(model)
    return lambda image: predict_raw(heads, anchors, image, (width, height), resize, zero)
