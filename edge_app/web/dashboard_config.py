"""The ``dashboard`` section of the configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

from pydantic import Field, field_validator, model_validator

from edge_app.config_section import Section

_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class DashboardConfig(Section):
    """The built-in web page and its API."""

    host: str = Field("127.0.0.1", description="address to listen on; beyond loopback a password is needed")
    port: int = Field(8080, ge=0, le=65535, description="0 picks a free port")
    max_fps: float = Field(12.0, gt=0, le=60, description="frame rate of the live picture")
    folder: Optional[Path] = Field(
        None, description="folder of accounts and audit log; default: that of the history (storage.folder)"
    )
    hosts: tuple[str, ...] = Field(
        (), max_length=16, description="further names under which browsers reach the dashboard, such as a proxy's"
    )
    certificate: Optional[Path] = Field(None, description="PEM file with the certificate chain: serves HTTPS")
    certificate_key: Optional[Path] = Field(None, description="PEM file with the certificate's private key")
    allow_plain_http: bool = Field(
        False, description="accept that passwords and pictures cross the network unencrypted when host is not loopback"
    )
    behind_proxy: bool = Field(
        False, description="a reverse proxy on this machine sets X-Forwarded-For and X-Forwarded-Proto"
    )

    @field_validator("hosts")
    @classmethod
    def _names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _HOST_NAME.fullmatch(host):
                raise ValueError(f"'{host}' is no host name; write small letters, digits, dots and hyphens, no port")
        return hosts

    @model_validator(mode="after")
    def _whole(self) -> DashboardConfig:
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("certificate and certificate_key belong together; give both or none")
        if self.behind_proxy and self.certificate is not None:
            raise ValueError("behind_proxy and certificate exclude each other; let the proxy serve HTTPS")
        return self
