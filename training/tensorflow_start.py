"""Loads Keras' backend, TensorFlow by default, without the lines that it writes about the processor."""

from __future__ import annotations

import importlib
import os

from edge_app.standard_error import quiet_standard_error


def start_tensorflow() -> None:
    """Import TensorFlow and Keras; later imports of them are free."""
    with quiet_standard_error():
        importlib.import_module("tensorflow")
        importlib.import_module("keras")


def start_backend() -> None:
    """Import Keras with the backend that ``KERAS_BACKEND`` names; training needs no TensorFlow on another one."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        start_tensorflow()
    else:
        importlib.import_module("keras")
