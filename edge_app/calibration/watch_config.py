"""Whether a moved camera is looked for."""

from __future__ import annotations

from pydantic import Field

from edge_app.config_section import Section


class CameraWatchConfig(Section):
    """Comparing the scene with the one that was calibrated."""

    enabled: bool = Field(
        True, description="claim no metres while the camera looks elsewhere than when it was calibrated"
    )
