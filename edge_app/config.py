"""The configuration: typed, validated, every mistake told in one sentence that names the key.

Paths in a configuration file are relative to that file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

from pydantic import BaseModel, Field, PositiveInt, ValidationError, model_validator

from edge_app.alerts.config import AlertsConfig
from edge_app.calibration.watch_config import CameraWatchConfig
from edge_app.capture.address import is_there
from edge_app.config_keys import known_keys
from edge_app.config_section import Section
from edge_app.delivery.config import MqttConfig
from edge_app.errors import UserError, did_you_mean
from edge_app.kernels import Kernels
from edge_app.masking import masked
from edge_app.model_store.store import installed_model
from edge_app.motion_gate import MotionGateConfig
from edge_app.polygon import sides_cross
from edge_app.still_things import StillThingsConfig
from edge_app.storage.config import StorageConfig
from edge_app.tiles.config import TilesConfig
from edge_app.web.dashboard_config import DashboardConfig
from edge_app.yaml_keys import parse_yaml

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_MODEL = REPOSITORY / "models" / "pedestrian_ssdlite_mobilenet_v2_320_qat_int8.tflite"
DEFAULT_CAMERA = "camera"
SAMPLE = Path(__file__).resolve().parent / "sample"

# What was written there may be a secret by mistake, so that messages do not repeat it.
_SECRET_KEYS = {"password", "secret", "apprise"}
# So many are explained at once.
_MOST_MISTAKES = 3


class SourceConfig(Section):
    """Where the pictures come from."""

    uri: Optional[str] = Field(
        None,
        description="video file, folder of pictures, /dev/videoN or N, csi:N, rtsp:// or http:// address, GStreamer "
        "string; the command line wins",
    )
    only_cameras: bool = Field(
        False,
        description="set when uri is set over the network: at each connection, redirect and part of a playlist this "
        "device itself and cloud credentials are refused",
    )
    fps: Optional[float] = Field(
        None, gt=0, le=1000, description="true frame rate of a recorded video whose container states a wrong one"
    )
    loop: bool = Field(False, description="start a file again when it ends (run only)")
    pace: Literal["realtime", "fast"] = Field(
        "realtime", description="of a file or folder in run: as it was recorded, or every frame as fast as possible"
    )
    max_fps: Optional[float] = Field(None, gt=0, le=1000, description="frames a second that are analysed at most (run)")
    size: Optional[tuple[PositiveInt, PositiveInt]] = Field(
        None, description="width and height to ask a USB camera for, pixels"
    )
    stall_timeout_s: float = Field(
        5.0, ge=0.5, le=600, description="a live source that gives no frame for this long is opened again"
    )
    frozen_timeout_s: float = Field(
        60.0, ge=0, le=86400, description="a live source whose picture is exactly the same for this long too; 0: never"
    )


class ModelConfig(Section):
    """Which detector and how sure it must be."""

    path: Path = Field(
        default_factory=lambda: installed_model() or DEFAULT_MODEL,
        description="model file, its manifest beside it with the ending .json; default: the installed one, else ours",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|edgetpu|(usb|pci)(:\d)?)$",
        description="auto: Edge TPU for compiled models; cpu, edgetpu, usb:N or pci:N leave no choice",
    )
    cpu_twin: Optional[Path] = Field(
        None, description="uncompiled model for while the Edge TPU is away; default: X.tflite beside X_edgetpu.tflite"
    )
    deadline_ms: float = Field(
        1000.0, ge=20, le=60000, description="an Edge TPU that takes longer for an inference is restarted"
    )
    threads: int = Field(2, ge=1, le=16, description="CPU threads of the interpreter")
    kernels: Kernels = Field(
        "fast",
        description="of the CPU; reference: the same numbers in every runtime on every processor, ten times as slow",
    )
    person_class: Optional[int] = Field(
        None, ge=0, description="class id of a person in a model without manifest (default 0)"
    )
    score_threshold: float = Field(0.35, ge=0, le=1, description="score from which a detection may start a track")
    low_score_threshold: float = Field(
        0.15, ge=0, le=1, description="score from which a detection may continue a track, and is hidden in pictures"
    )

    @model_validator(mode="after")
    def _low_under_high(self) -> ModelConfig:
        if self.low_score_threshold > self.score_threshold:
            raise ValueError("low_score_threshold must not be above score_threshold")
        return self


class TrackerConfig(Section):
    """When a track is born, confirmed and given up; all in seconds of frame time."""

    confirm_hits: int = Field(
        3,
        ge=1,
        le=100,
        description="detections before a track counts; sure ones count for more than one, weak for less",
    )
    coast_s: float = Field(
        0.3,
        ge=0,
        le=5,
        description="seconds for which a person who is missed is still reported, where expected; makes no event",
    )
    max_lost_s: float = Field(1.5, gt=0, le=60, description="seconds without a detection before a track ends")
    hindsight_s: float = Field(
        4.0,
        ge=0,
        le=60,
        description="recordings only: seconds of what follows that correct what was seen; 0 judges at once, as live",
    )


class DistanceConfig(Section):
    """What too close means."""

    threshold_m: float = Field(2.0, gt=0, le=100, description="people nearer than this violate the distance, metres")


class EventConfig(Section):
    """When closeness becomes a violation event; seconds of frame time."""

    min_duration_s: float = Field(1.0, ge=0, le=3600, description="shorter events are dropped and counted")
    open_probability: float = Field(
        0.5, gt=0, le=1, description="an event opens when the two are closer than threshold_m with this probability"
    )
    close_probability: float = Field(
        0.25, ge=0, le=1, description="hysteresis: an open event goes on while the probability is at least this"
    )
    exit_margin_m: float = Field(
        0.2, ge=0, le=10, description="hysteresis: an open event goes on until threshold_m plus this"
    )
    max_gap_s: float = Field(2.0, ge=0, le=600, description="interruption (apart, or not seen) that an event survives")

    @model_validator(mode="after")
    def _close_under_open(self) -> EventConfig:
        if self.close_probability > self.open_probability:
            raise ValueError("close_probability must not be above open_probability")
        return self


class GroupConfig(Section):
    """Who is said to belong together; never changes the numbers themselves."""

    enabled: bool = Field(True, description="say of each pair whether the two walk together")
    min_together_s: float = Field(4.0, gt=0, le=600, description="seconds of walking side by side that make a group")
    max_distance_m: float = Field(2.5, gt=0, le=20, description="people farther apart do not walk together, metres")


class MetricsConfig(Section):
    """The place that figures are about; metres on the ground, in the camera file's frame."""

    region_m: Optional[tuple[tuple[float, float], ...]] = Field(
        None, min_length=3, description="corners of the region that occupancy, density and dwell are about; all if none"
    )
    line_m: Optional[tuple[tuple[float, float], tuple[float, float]]] = Field(
        None, description="two ends of a line; passing it to its left, seen from the first end, is 'in'"
    )

    @model_validator(mode="after")
    def _has_extent(self) -> MetricsConfig:
        if self.line_m is not None and self.line_m[0] == self.line_m[1]:
            raise ValueError("line_m needs two different ends")
        if self.region_m is not None:
            x, y = zip(*self.region_m)
            doubled = sum(x[i - 1] * y[i] - x[i] * y[i - 1] for i in range(len(x)))
            if abs(doubled) < 1e-3:
                raise ValueError("region_m has no area; give its corners in order")
            if sides_cross(self.region_m):
                raise ValueError("region_m has sides that cross; give its corners in order")
        return self


class PrivacyConfig(Section):
    """What happens to people in every picture that leaves the process."""

    people: Literal["pixelate", "blur", "schematic", "show"] = Field(
        "pixelate", description="how people are hidden in pictures; schematic: no picture at all, only what was found"
    )


class CameraConfig(Section):
    """One of several cameras; what is left out is taken from the configuration's own section."""

    source: SourceConfig
    calibration: Optional[Path] = Field(None, description="camera file; without one no distances are claimed")
    metrics: Optional[MetricsConfig] = None


class Config(Section):
    """The whole configuration."""

    source: SourceConfig = Field(default_factory=SourceConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    calibration: Optional[Path] = Field(None, description="camera file; without one no distances are claimed")
    tiles: TilesConfig = Field(default_factory=TilesConfig)
    motion_gate: MotionGateConfig = Field(default_factory=MotionGateConfig)
    camera_watch: CameraWatchConfig = Field(default_factory=CameraWatchConfig)
    still_things: StillThingsConfig = Field(default_factory=StillThingsConfig)
    tracker: TrackerConfig = Field(default_factory=TrackerConfig)
    distance: DistanceConfig = Field(default_factory=DistanceConfig)
    events: EventConfig = Field(default_factory=EventConfig)
    groups: GroupConfig = Field(default_factory=GroupConfig)
    metrics: MetricsConfig = Field(default_factory=MetricsConfig)
    privacy: PrivacyConfig = Field(default_factory=PrivacyConfig)
    dashboard: DashboardConfig = Field(default_factory=DashboardConfig)
    storage: StorageConfig = Field(default_factory=StorageConfig)
    cameras: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")], CameraConfig] = Field(
        default_factory=dict, description="several cameras in one process, by name; in place of source (run only)"
    )
    alerts: AlertsConfig = Field(default_factory=AlertsConfig)
    mqtt: MqttConfig = Field(default_factory=MqttConfig)

    @model_validator(mode="after")
    def _one_way_to_name_a_source(self) -> Config:
        if self.cameras and (self.source.uri is not None or self.calibration is not None):
            raise ValueError("give either 'cameras' or 'source' and 'calibration', not both")
        return self

    def for_each_camera(self) -> dict[str, Config]:
        """Return name → configuration of that camera alone; without ``cameras`` there is one, named ``camera``."""
        if not self.cameras:
            return {DEFAULT_CAMERA: self}
        return {
            name: self.model_copy(
                update={
                    "cameras": {},
                    "source": camera.source,
                    "calibration": camera.calibration,
                    "metrics": camera.metrics or self.metrics,
                }
            )
            for name, camera in self.cameras.items()
        }

    @model_validator(mode="before")
    @classmethod
    def _no_text_is_blank(cls, content: Any) -> Any:
        for key, value in _texts(content, ""):
            if not value.strip():
                raise ValueError(f"'{key}' is an empty text; give a value, or leave the key out for its default")
        return content

    @model_validator(mode="after")
    def _alerts_are_about_known_cameras(self) -> Config:
        known = list(self.cameras) or [DEFAULT_CAMERA]
        for rule in self.alerts.rules:
            for camera in rule.cameras or ():
                if camera not in known:
                    raise ValueError(
                        f"alerts rule '{rule.name}' names the camera '{camera}', which is not configured (known "
                        f"cameras: {', '.join(known)}); correct its 'cameras'"
                    )
        return self

    @model_validator(mode="after")
    def _alerts_are_stored(self) -> Config:
        receivers = self.alerts.receivers
        sends = bool(self.alerts.rules or receivers.webhooks or receivers.apprise or self.mqtt.host)
        if sends and not self.storage.enabled:
            raise ValueError("alerts and mqtt need storage, where messages wait; set storage.enabled: true")
        return self


def _texts(content: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield every text in parsed YAML with the key that leads to it."""
    if isinstance(content, str):
        yield key, content
    elif isinstance(content, dict):
        for name, value in content.items():
            yield from _texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, (list, tuple)):
        for number, value in enumerate(content):
            yield from _texts(value, f"{key}.{number}")


def load_config(path: Optional[Path]) -> Config:
    """Read and validate a YAML configuration.

    Args:
        path: the file, or None for the defaults.

    Raises:
        UserError: the file is missing, not YAML, or a key is unknown or out of range; the message names file and key.
    """
    if path is None:
        return Config()
    return parse_config(_read_yaml(path), str(path), path.resolve().parent)


def parse_config(content: Any, name: str, folder: Path) -> Config:
    """Validate parsed YAML; ``folder`` is what relative paths start from, ``name`` is used in messages."""
    if content is None:
        content = {}
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise UserError(f"{name}: a configuration is a mapping of sections, not a {kind}; see 'config schema'")
    if "camera_file" in content:
        raise UserError(f"{name} is a camera file; name it under 'calibration' in a configuration")
    if "train" in content:
        raise UserError(f"{name} configures training; give it to 'python -m training train --config'")
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{name}: {explain(error, Config)}") from error
    return _with_absolute_paths(config, folder)


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration file."""
    return Config.model_json_schema()


def _read_yaml(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"configuration {path} does not exist; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"configuration {path} cannot be read ({error}); give a readable UTF-8 YAML file") from error
    return parse_yaml(text, str(path))


def _with_absolute_paths(config: Config, folder: Path) -> Config:
    changes: dict[str, Any] = {"model": config.model.model_copy(update=_absolute_model(config.model, folder))}
    changes.update(_absolute(config.source, config.calibration, folder))
    if config.cameras:
        changes["cameras"] = {
            name: camera.model_copy(update=_absolute(camera.source, camera.calibration, folder))
            for name, camera in config.cameras.items()
        }
    files = {name: getattr(config.dashboard, name) for name in ("folder", "certificate", "certificate_key")}
    found = {name: folder / file for name, file in files.items() if file is not None}
    if "folder" in found:
        found["folder"] = found["folder"].resolve()
    if found:
        changes["dashboard"] = config.dashboard.model_copy(update=found)
    if config.storage.folder is not None:
        changes["storage"] = config.storage.model_copy(update={"folder": (folder / config.storage.folder).resolve()})
    secrets = ("ca_file", "client_cert_file", "client_key_file")
    given = {name: folder / getattr(config.mqtt, name) for name in secrets if getattr(config.mqtt, name) is not None}
    changes["mqtt"] = config.mqtt.model_copy(update=given)
    return config.model_copy(update=changes)


def _absolute_model(model: ModelConfig, folder: Path) -> dict[str, Any]:
    twin = {} if model.cpu_twin is None else {"cpu_twin": folder / model.cpu_twin}
    return {"path": folder / model.path, **twin}


def _absolute(source: SourceConfig, calibration: Optional[Path], folder: Path) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if calibration is not None:
        changes["calibration"] = folder / calibration
    uri = source.uri
    if uri is not None and not uri.isdigit() and "://" not in uri and is_there(folder / uri):
        changes["source"] = source.model_copy(update={"uri": str(folder / uri)})
    return changes


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Turn the first mistakes of a pydantic error, made in filling ``model``, into sentences for a person."""
    sentences = []
    mistakes = error.errors()
    for mistake in mistakes[:_MOST_MISTAKES]:
        location = [str(part) for part in mistake["loc"]]
        key = ".".join(location) or "configuration"
        if mistake["type"] == "extra_forbidden":
            known = known_keys(model, location[:-1])
            hint = did_you_mean(location[-1], known) or f" (known keys: {', '.join(known)})"
            sentences.append(f"unknown key '{key}'{hint}")
        else:
            message = str(mistake["msg"]).removeprefix("Value error, ")
            # What is wrong with several keys together is not said better by repeating them all.
            is_quiet = isinstance(mistake["input"], dict) or _SECRET_KEYS.intersection(location)
            given = "" if is_quiet else masked(f", not {mistake['input']!r}")
            about = f"'{key}': " if location else ""
            sentences.append(f"{about}{message[:1].lower()}{message[1:]}{given}")
    if len(mistakes) > _MOST_MISTAKES:
        sentences.append(f"and {len(mistakes) - _MOST_MISTAKES} more")
    return "; ".join(sentences)
