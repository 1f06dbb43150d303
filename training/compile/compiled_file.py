"""What a compiled ``*_edgetpu.tflite`` tells about itself.

The compiler puts one custom operator in place of each part that it mapped. Its options are a FlexBuffer map; the entry
"4" is a package of the Edge TPU (FlatBuffer, identifier ``DWN1``), whose first field is the least runtime version that
it needs (google-coral/libedgetpu, executable/executable.fbs and tflite/custom_op_data.cc).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Optional

from training.compile.graph import Graph

_IDENTIFIER = b"DWN1"


def outputs_of(graph: Graph) -> list[str]:
    """Return the names of the model's outputs in order; the compiler keeps both."""
    return [graph.tensors[position].name for position in graph.outputs]


def min_runtime_version(path: Path) -> Optional[int]:
    """Return the Edge TPU runtime version that a compiled model needs; None where it does not say.

    Several parts need the highest of their versions.
    """
    content = path.read_bytes()
    versions = []
    position = content.find(_IDENTIFIER)
    while position >= 0:
        version = _first_field(content, position - 4)
        if version is not None:
            versions.append(version)
        position = content.find(_IDENTIFIER, position + 1)
    return max(versions, default=None)


def _first_field(content: bytes, start: int) -> Optional[int]:
    """Return the first field (int32) of the FlatBuffer that starts at ``start``; None if it makes no sense."""
    try:
        table = start + struct.unpack_from("<I", content, start)[0]
        layout = table - struct.unpack_from("<i", content, table)[0]
        size, offset = struct.unpack_from("<H", content, layout)[0], struct.unpack_from("<H", content, layout + 4)[0]
        if start < 0 or size < 6 or offset == 0:
            return None
        value = int(struct.unpack_from("<i", content, table + offset)[0])
    except struct.error:
        return None
    # The identifier may occur in weights by chance; versions are small numbers.
    return value if 0 < value < 1000 else None
