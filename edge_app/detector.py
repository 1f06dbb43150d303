"""The detector: a frame in, people out. One small interface, so that another accelerator is one more file."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Optional, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_app.box_decoding import UNSUPPRESSED, one_box_each
from edge_app.config import ModelConfig
from edge_app.errors import UserError
from edge_app.interpreter import check_model_file, is_for_edgetpu, make_interpreter
from edge_app.manifest import InputSpec, ModelManifest, load_manifest
from edge_app.output_mapping import OutputMapping, map_outputs
from edge_app.preprocess import InputGeometry, resize_to_input
from edge_app.records import Detections, Image
from edge_app.tracking.appearance import describe

RawOutputs = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], int]


class Detector(Protocol):
    """What the pipeline asks of a detector; the three steps are apart so that they can overlap and be timed."""

    name: str
    input: InputSpec

    def preprocess(self, image: Image) -> tuple[Any, Any]:
        """Turn a (H, W, 3) BGR frame into what ``invoke`` takes and the geometry that leads back."""

    def invoke(self, tensor: Any) -> Any:
        """Run the model; of one picture: boxes (N, 4) normalised yxyx, classes (N,), scores (N,), count."""

    def decode(self, outputs: Any, geometry: Any) -> Detections:
        """Turn raw outputs into people in source pixels at or above the low score threshold."""


def detect(detector: Detector, image: Image) -> Detections:
    """Run all three steps on one frame."""
    tensor, geometry = detector.preprocess(image)
    return finish(detector, detector.invoke(tensor), geometry, image)


def finish(detector: Detector, outputs: Any, geometry: Any, image: Image) -> Detections:
    """Run the last step and describe whom it found, so that the tracker knows them again."""
    found = detector.decode(outputs, geometry)
    return replace(found, appearance=describe(image, found.bbox))


def at_once(detector: Detector) -> int:
    """Return how many threads may be in ``invoke`` at once."""
    return int(getattr(detector, "at_once", 1))


def load_detector(config: ModelConfig, *, side_by_side: bool = False) -> TFLiteDetector:
    """Load the configured model with its manifest, if it has one.

    Args:
        config: of the model.
        side_by_side: on the CPU, let as many inferences run at once as the model may have threads, with one thread
            each. More are done in a second so, for threads that share an inference wait for one another; each takes
            longer, so this is for recordings. Results are the same.

    Raises:
        UserError: the model is missing, damaged, not the one of its manifest, or not a detector.
    """
    check_model_file(config.path)
    manifest = load_manifest(config.path)
    count = config.threads if side_by_side and not is_for_edgetpu(config.path) else 1
    made = [
        make_interpreter(
            config.path,
            device=config.device,
            threads=config.threads // count,
            deadline_s=config.deadline_ms / 1000.0,
            kernels=config.kernels,
        )
        for _ in range(count)
    ]
    return TFLiteDetector([interpreter for interpreter, _ in made], made[0][1], config, manifest)


class TFLiteDetector:
    """A detector with TFLite_Detection_PostProcess in a TensorFlow Lite interpreter.

    Attributes:
        name: the model's name.
        path: of the model's file.
        runtime: name and version of the runtime.
        input: how frames are prepared.
        mapping: which output is which, and how that was found.
        at_once: how many threads may be in ``invoke`` at once.
    """

    def __init__(
        self, interpreters: Sequence[Any], runtime: str, config: ModelConfig, manifest: Optional[ModelManifest]
    ) -> None:
        """Make one.

        Args:
            interpreters: of the same model, one for each thread that may be in ``invoke`` at once.
            runtime: its name and version.
            config: of the model.
            manifest: of the model, if it has one.

        Raises:
            UserError: the model is not the one of its manifest, or not a detector.
        """
        interpreter = interpreters[0]
        self.name = manifest.name if manifest else config.path.stem
        self.path = config.path
        self.runtime = runtime
        self.at_once = len(interpreters)
        # The one that was used last is taken first: its memory is in the processor's cache.
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        for one in interpreters:
            self._idle.put(one)
        self._low_score = config.low_score_threshold
        self._input_index, self.input = _input_spec(self.name, interpreter, manifest)
        details = interpreter.get_output_details()
        self.mapping: OutputMapping = map_outputs(
            self.name,
            [tuple(int(size) for size in detail["shape"]) for detail in details],
            [str(detail["name"]) for detail in details],
            _only_signature(interpreter),
            manifest.outputs if manifest else None,
        )
        self._outputs = details
        default_class = manifest.person_class if manifest else 0
        self._person_class = config.person_class if config.person_class is not None else default_class
        self._proven = manifest is not None
        named = str(details[self.mapping.boxes]["name"])
        self._suppressed = manifest.outputs.suppressed if manifest else not named.startswith(UNSUPPRESSED)

    def preprocess(self, image: Image) -> tuple[NDArray[Any], InputGeometry]:
        """Resize, turn to RGB and scale a (H, W, 3) BGR frame as the manifest says; tensor (1, h, w, 3)."""
        spec = self.input
        resized, geometry = resize_to_input(image, spec.width, spec.height, spec.resize, spec.pad_value)
        return scale_to_dtype(resized, spec)[None], geometry

    def invoke(self, tensor: NDArray[Any]) -> RawOutputs:
        """Run the model on one input tensor."""
        interpreter = self._idle.get()
        try:
            interpreter.set_tensor(self._input_index, tensor)
            interpreter.invoke()
            boxes = self._read(interpreter, self.mapping.boxes)[0]
            classes = self._read(interpreter, self.mapping.classes)[0]
            scores = self._read(interpreter, self.mapping.scores)[0]
            count = int(np.ravel(self._read(interpreter, self.mapping.count))[0])
        finally:
            self._idle.put(interpreter)
        if not self._proven:
            self._prove(classes[:count], scores[:count])
        return boxes, classes, scores, min(count, len(scores))

    def decode(self, outputs: RawOutputs, geometry: InputGeometry) -> Detections:
        """Keep people at or above the low score and put their boxes into source pixels."""
        boxes, classes, scores, count = outputs
        is_person = classes[:count] == self._person_class
        if self._suppressed:
            keep = np.flatnonzero(is_person & (scores[:count] >= self._low_score))
            return Detections(geometry.boxes_to_source(boxes[keep]), scores[keep].astype(np.float32))
        rows = np.flatnonzero(is_person)
        bbox = geometry.boxes_to_source(boxes[rows]).astype(np.float64)
        one_each, score = one_box_each(bbox, scores[rows], lowest=self._low_score)
        return Detections(one_each.astype(np.float32), score.astype(np.float32))

    def _read(self, interpreter: Any, position: int) -> NDArray[np.float32]:
        detail = self._outputs[position]
        values = interpreter.get_tensor(detail["index"])
        if values.dtype == np.float32:
            return values
        scale, zero_point = detail["quantization"]
        return ((values.astype(np.float32) - zero_point) * (scale or 1.0)).astype(np.float32)

    def _prove(self, classes: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        """Check a mapping that was only guessed from shapes: classes are whole, scores lie between 0 and 1."""
        if len(scores) == 0:
            return
        whole = bool((classes == np.round(classes)).all())
        bounded = bool(((scores >= 0) & (scores <= 1)).all())
        if not (whole and bounded):
            raise UserError(
                f"the outputs of model {self.name} are not in the order that their shapes suggest "
                f"({self.mapping.found_by}); write a manifest beside it that says which is which"
            )
        # All scores 0 or 1 could still be class ids; anything between proves the order.
        self._proven = bool(((scores > 0) & (scores < 1)).any())


def scale_to_dtype(image_rgb: Image, spec: InputSpec) -> NDArray[Any]:
    """Turn uint8 RGB pixels into the model's input type.

    float32 models take ``(pixel - mean) / std``; uint8 models take pixels as they are; int8 models take
    ``pixel - 128``, which is what both usual input ranges, [-1, 1] and [0, 1], become after quantisation.
    """
    if spec.dtype == "uint8":
        return image_rgb
    if spec.dtype == "int8":
        return (image_rgb ^ 0x80).view(np.int8)
    return (image_rgb.astype(np.float32) - np.float32(spec.mean)) * np.float32(1.0 / spec.std)


def _input_spec(name: str, interpreter: Any, manifest: Optional[ModelManifest]) -> tuple[int, InputSpec]:
    details = interpreter.get_input_details()
    shape = tuple(int(size) for size in details[0]["shape"])
    if len(details) != 1 or len(shape) != 4 or shape[0] != 1 or shape[3] != 3:
        raise UserError(
            f"model {name} takes an input of shape {list(shape)}, but a detector takes one picture "
            "(1, height, width, 3); export it with a batch of one"
        )
    dtype = np.dtype(details[0]["dtype"]).name
    if dtype not in ("uint8", "int8", "float32"):
        raise UserError(f"model {name} takes {dtype} input, which is not supported; export it with uint8 input")
    if manifest is None:
        return details[0]["index"], InputSpec(width=shape[2], height=shape[1], dtype=dtype)
    spec = manifest.input
    if (spec.height, spec.width, spec.dtype) != (shape[1], shape[2], dtype):
        raise UserError(
            f"model {name} takes {dtype} {shape[2]}x{shape[1]} pictures, but its manifest says {spec.dtype} "
            f"{spec.width}x{spec.height}; restore the model and its manifest together"
        )
    return details[0]["index"], spec


def _only_signature(interpreter: Any) -> Optional[dict[str, str]]:
    """Return output name → tensor name of the model's only signature, or None."""
    if not hasattr(interpreter, "get_signature_list"):
        return None
    signatures = interpreter.get_signature_list()
    if len(signatures) != 1:
        return None
    key = next(iter(signatures))
    details = interpreter.get_signature_runner(key).get_output_details()
    return {output: str(detail["name"]) for output, detail in details.items()}
