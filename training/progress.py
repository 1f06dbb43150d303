"""Curves of a training run for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Optional

import keras


class TrainingLog:
    """Writes scalars that ``tensorboard --logdir`` shows; on other backends than TensorFlow it writes nothing."""

    def __init__(self, folder: Path) -> None:
        """Write into ``folder``."""
        self._writer: Any = None
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf  # noqa: PLC0415 - only where it is the backend

            self._writer = tf.summary.create_file_writer(str(folder))

    def __enter__(self) -> TrainingLog:
        """Return this log."""
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add one point to each curve."""
        if self._writer is None:
            return
        import tensorflow as tf  # noqa: PLC0415

        # What ``tf.summary.scalar`` would write; that one asks for TensorBoard to be installed where training runs.
        plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)
        self._writer.flush()
