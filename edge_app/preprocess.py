"""From a source frame to a model's input tensor and back: the same code in training, evaluation and on the device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.records import BoxArray, Image

ResizeMode = Literal["stretch", "letterbox"]


@dataclass(frozen=True)
class InputGeometry:
    """Where a source frame lies inside the model's input.

    Attributes:
        scale_x, scale_y: model pixels per source pixel.
        offset_x, offset_y: model pixels from the input's left and top edge to the picture's.
        model_width, model_height: size of the model's input, pixels.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    model_width: int
    model_height: int

    @staticmethod
    def fit(
        source_width: int, source_height: int, model_width: int, model_height: int, mode: ResizeMode
    ) -> InputGeometry:
        """Place a source of the given size (pixels) into a model input.

        ``stretch`` fills the input and changes the aspect; ``letterbox`` keeps the aspect and centres the picture.
        """
        scale_x = model_width / source_width
        scale_y = model_height / source_height
        if mode == "stretch":
            return InputGeometry(scale_x, scale_y, 0.0, 0.0, model_width, model_height)
        scale = min(scale_x, scale_y)
        width, height = round(source_width * scale), round(source_height * scale)
        offset_x, offset_y = (model_width - width) // 2, (model_height - height) // 2
        return InputGeometry(
            width / source_width, height / source_height, offset_x, offset_y, model_width, model_height
        )

    def of_part(self, x: int, y: int) -> InputGeometry:
        """Return the geometry that leads to the whole source, if this is of a part that begins at ``x``, ``y``."""
        return replace(self, offset_x=self.offset_x - x * self.scale_x, offset_y=self.offset_y - y * self.scale_y)

    def boxes_to_source(self, boxes_yxyx: NDArray[np.floating]) -> BoxArray:
        """Turn (N, 4) normalised model boxes ``[y_min, x_min, y_max, x_max]`` into (N, 4) source pixels xyxy."""
        xyxy = np.asarray(boxes_yxyx, np.float64)[:, [1, 0, 3, 2]]
        size, offset, scale = (
            (self.model_width, self.model_height),
            (self.offset_x, self.offset_y),
            (self.scale_x, self.scale_y),
        )
        return ((xyxy * (size * 2) - offset * 2) / (scale * 2)).astype(np.float32)

    def boxes_to_model(self, bbox: NDArray[np.floating]) -> NDArray[np.float32]:
        """Turn (N, 4) source pixels xyxy into (N, 4) normalised model boxes ``[y_min, x_min, y_max, x_max]``."""
        x_min, y_min, x_max, y_max = np.asarray(bbox, np.float64).T
        return np.stack(
            [
                (y_min * self.scale_y + self.offset_y) / self.model_height,
                (x_min * self.scale_x + self.offset_x) / self.model_width,
                (y_max * self.scale_y + self.offset_y) / self.model_height,
                (x_max * self.scale_x + self.offset_x) / self.model_width,
            ],
            axis=1,
        ).astype(np.float32)


def resize_to_input(
    image_bgr: Image, model_width: int, model_height: int, mode: ResizeMode, pad_value: int = 127
) -> tuple[Image, InputGeometry]:
    """Resize a BGR frame to the model's input size (bilinear) and turn it into RGB.

    Returns:
        (model_height, model_width, 3) uint8 RGB and the geometry that leads back to source pixels.
    """
    height, width = image_bgr.shape[:2]
    geometry = InputGeometry.fit(width, height, model_width, model_height, mode)
    if mode == "stretch":
        resized = cv2.resize(image_bgr, (model_width, model_height), interpolation=cv2.INTER_LINEAR)
        return cv2.cvtColor(resized, cv2.COLOR_BGR2RGB), geometry
    inner_width, inner_height = round(width * geometry.scale_x), round(height * geometry.scale_y)
    canvas = np.full((model_height, model_width, 3), pad_value, np.uint8)
    left, top = int(geometry.offset_x), int(geometry.offset_y)
    inner = cv2.resize(image_bgr, (inner_width, inner_height), interpolation=cv2.INTER_LINEAR)
    canvas[top : top + inner_height, left : left + inner_width] = cv2.cvtColor(inner, cv2.COLOR_BGR2RGB)
    return canvas, geometry
