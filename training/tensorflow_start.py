"""Loads TensorFlow without the lines that it writes about the processor."""

from __future__ import annotations

import importlib

from edge_app.standard_error import quiet_standard_error


def start_tensorflow() -> None:
    """Import TensorFlow and Keras; later imports of them are free."""
    with quiet_standard_error():
        importlib.import_module("tensorflow")
        importlib.import_module("keras")
