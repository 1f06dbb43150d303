"""A detector that looks at the whole picture and, closer, at parts of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

import numpy as np

from edge_app.box_overlap import iou_matrix
from edge_app.calibration.camera import CameraModel, PinholeCamera
from edge_app.detector import Detector, at_once
from edge_app.manifest import InputSpec
from edge_app.preprocess import InputGeometry
from edge_app.records import BoxArray, Detections, Image
from edge_app.tiles.config import TilesConfig
from edge_app.tiles.merge import SAME_IOU, merge_views
from edge_app.tiles.plan import Tile, plan_tiles

_GAIN = 0.1
# After so many frames without time for any tile, what tiles showed is remembered no more: nobody may look there again.
_FORGET_FRAMES = 100


@dataclass(frozen=True)
class TiledGeometry:
    """Where each view lies; the first is the whole picture.

    Attributes:
        views: geometry of each view, leading to pixels of the source.
        tiles: of each view; None for the whole picture.
        image_size: width and height of the source, pixels.
        others: tiles whose turn it was not.
    """

    views: tuple[InputGeometry, ...]
    tiles: tuple[Optional[Tile], ...]
    image_size: tuple[int, int]
    others: tuple[Tile, ...] = ()


class TiledDetector:
    """Makes several inferences of one frame and merges what they find; a ``Detector`` like any other.

    Attributes:
        name: of the model.
        inferences: so far, tiles counted.
        at_once: how many threads may be in ``invoke`` at once.
    """

    def __init__(
        self,
        detector: Detector,
        config: TilesConfig,
        camera: Optional[CameraModel],
        *,
        in_real_time: bool = False,
        tiles_a_frame: Optional[int] = None,
    ) -> None:
        """Make one around a detector.

        Args:
            detector: looks at one picture.
            config: what tiles there are.
            camera: calibration for the source's size, or None.
            in_real_time: keep to the time budget unless all tiles are asked for; else all are looked at in every frame,
                which gives the same result every time.
            tiles_a_frame: so many, whatever time they take.
        """
        self.detector = detector
        self.name = detector.name
        self.input: InputSpec = detector.input
        self.inferences = 0
        self.at_once = at_once(detector)
        self._config = config
        self._tiles_a_frame = tiles_a_frame
        self._has_budget = in_real_time and config.mode != "on"
        self._lock = threading.Lock()
        self._camera = camera
        self._planned_for: Optional[tuple[int, int]] = None
        self._must_plan = False
        self._tiles: tuple[Tile, ...] = ()
        self._shown_by: dict[Optional[Tile], BoxArray] = {}
        self._looked_at = np.zeros(0, np.int64)
        self._people = np.zeros((0, 4), np.float32)
        self._frames = 0
        self._without_tiles = 0
        self._typical_s = 0.0

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """The tiles of the pictures that came last."""
        return self._tiles

    def refit(self, camera: Optional[CameraModel]) -> None:
        """Lay the tiles anew, for a picture of another size or another calibration."""
        with self._lock:
            self._camera, self._must_plan = camera, True

    def attend(self, people: BoxArray) -> None:
        """Look first where people were last, (N, 4) source pixels."""
        with self._lock:
            self._people = people

    def preprocess(self, image: Image) -> tuple[list[Any], TiledGeometry]:
        """Prepare the whole picture and the tiles whose turn it is."""
        height, width = image.shape[:2]
        chosen, others = self._choose((width, height))
        tensor, geometry = self.detector.preprocess(image)
        tensors, views = [tensor], [geometry]
        for tile in chosen:
            part = image[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            tensor, geometry = self.detector.preprocess(part)
            tensors.append(tensor)
            views.append(geometry.of_part(tile.x, tile.y))
        return tensors, TiledGeometry(tuple(views), (None, *chosen), (width, height), others)

    def invoke(self, tensor: list[Any]) -> list[Any]:
        """Run the model on every view."""
        outputs = []
        for item in tensor:
            since_s = time.perf_counter()
            outputs.append(self.detector.invoke(item))
            took_s = (time.perf_counter() - since_s) / self.at_once
            self._typical_s = took_s if self._typical_s == 0 else self._typical_s + _GAIN * (took_s - self._typical_s)
            self.inferences += 1
        return outputs

    def decode(self, outputs: list[Any], geometry: TiledGeometry) -> Detections:
        """Put the boxes of all views into source pixels and merge them."""
        found = [self.detector.decode(output, view) for output, view in zip(outputs, geometry.views)]
        merged = merge_views(list(zip(found, geometry.tiles)), geometry.image_size)
        return replace(merged, unchecked=self._unchecked(found, geometry))

    def _unchecked(self, found: Sequence[Detections], geometry: TiledGeometry) -> Optional[BoxArray]:
        """Remember whom only a tile showed; return whom the others showed when their turn was last."""
        with self._lock:
            for one, tile in zip(found[1:], geometry.tiles[1:]):
                coarse = iou_matrix(one.bbox.astype(np.float64), found[0].bbox.astype(np.float64)) > SAME_IOU
                self._shown_by[tile] = one.bbox[~coarse.any(axis=1)]
            remembered = [self._shown_by[tile] for tile in geometry.others if tile in self._shown_by]
        return np.concatenate(remembered) if remembered else None

    def _choose(self, image_size: tuple[int, int]) -> tuple[tuple[Tile, ...], tuple[Tile, ...]]:
        """Return the tiles whose turn it is, and the others."""
        with self._lock:
            if image_size != self._planned_for or self._must_plan:
                self._plan(image_size)
            self._frames += 1
            count = self._affordable()
            self._without_tiles = self._without_tiles + 1 if count == 0 else 0
            if count >= len(self._tiles):
                return self._tiles, ()
            if count == 0:
                if self._without_tiles >= _FORGET_FRAMES:
                    self._shown_by.clear()
                return (), self._tiles
            # Longest unseen first; among people, a tile's wait counts three times as much.
            waited = (self._frames - self._looked_at) * np.where(self._with_people(), 3, 1)
            rows = np.sort(np.argsort(-waited, kind="stable")[:count])
            self._looked_at[rows] = self._frames
            left = np.delete(np.arange(len(self._tiles)), rows)
            return tuple(self._tiles[row] for row in rows), tuple(self._tiles[row] for row in left)

    def _plan(self, image_size: tuple[int, int]) -> None:
        """Lay the tiles; where they are those of before, what they showed is still to be hidden."""
        model_size = (self.input.width, self.input.height)
        tiles = plan_tiles(image_size, model_size, self._camera, self._config)
        if (image_size, tiles) != (self._planned_for, self._tiles):
            self._shown_by.clear()
            self._looked_at = np.full(len(tiles), -1, np.int64)
        self._tiles, self._planned_for, self._must_plan = tiles, image_size, False

    def _affordable(self) -> int:
        """Return how many tiles fit into the time, beside the whole picture."""
        if self._tiles_a_frame is not None:
            return self._tiles_a_frame
        if not self._has_budget:
            return len(self._tiles)
        if self._typical_s == 0:
            return 0
        return max(0, int(self._config.budget_ms / 1000.0 / self._typical_s) - 1)

    def _with_people(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        centres = (self._people[:, :2] + self._people[:, 2:]) / 2
        inside = [
            (centres[:, 0] >= tile.x)
            & (centres[:, 0] < tile.x + tile.width)
            & (centres[:, 1] >= tile.y)
            & (centres[:, 1] < tile.y + tile.height)
            for tile in self._tiles
        ]
        return np.array([bool(row.any()) for row in inside], np.bool_)


def with_tiles(
    detector: Detector, config: TilesConfig, camera: Optional[CameraModel], *, in_real_time: bool
) -> Detector:
    """Return the detector as it is where tiles are off, else one that looks closer.

    Unless the configuration says, there are tiles where a calibration tells which people are small.
    """
    mode = config.mode or ("auto" if isinstance(camera, PinholeCamera) else "off")
    if mode == "off":
        return detector
    return TiledDetector(detector, config, camera, in_real_time=in_real_time)
