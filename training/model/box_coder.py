"""Box encodings of Faster R-CNN with the TF Object Detection API's scales, in backend-agnostic ops."""

from __future__ import annotations

from typing import Any

from keras import ops

from edge_app.box_decoding import SCALES

# Keeps the logarithm of an empty box finite.
_EPSILON = 1e-8


def encode(boxes: Any, anchors: Any) -> Any:
    """Encode boxes against anchors.

    Args:
        boxes: (..., anchors, 4) normalised ymin, xmin, ymax, xmax.
        anchors: (anchors, 4) centre y, centre x, height, width.

    Returns:
        (..., anchors, 4) ty, tx, th, tw.
    """
    y_min, x_min, y_max, x_max = (boxes[..., i] for i in range(4))
    centre_y, centre_x, anchor_height, anchor_width = (anchors[..., i] for i in range(4))
    height, width = ops.maximum(y_max - y_min, _EPSILON), ops.maximum(x_max - x_min, _EPSILON)
    return ops.stack(
        [
            ((y_min + y_max) / 2 - centre_y) / anchor_height * SCALES[0],
            ((x_min + x_max) / 2 - centre_x) / anchor_width * SCALES[1],
            ops.log(height / anchor_height) * SCALES[2],
            ops.log(width / anchor_width) * SCALES[3],
        ],
        axis=-1,
    )


def decode(encodings: Any, anchors: Any) -> Any:
    """Turn (..., anchors, 4) encodings back into normalised ymin, xmin, ymax, xmax."""
    ty, tx, th, tw = (encodings[..., i] / SCALES[i] for i in range(4))
    centre_y = ty * anchors[..., 2] + anchors[..., 0]
    centre_x = tx * anchors[..., 3] + anchors[..., 1]
    half_height = ops.exp(th) * anchors[..., 2] / 2
    half_width = ops.exp(tw) * anchors[..., 3] / 2
    return ops.stack(
        [centre_y - half_height, centre_x - half_width, centre_y + half_height, centre_x + half_width], axis=-1
    )
