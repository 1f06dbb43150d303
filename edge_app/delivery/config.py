"""Where messages go: the ``mqtt`` section, and the receivers of alerts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Optional
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from edge_app.config_section import Section
from edge_app.secret import SecretReference

_LEVEL = r"^[A-Za-z0-9_.-]{1,64}$"
MessageKind = Literal["alert", "event", "minute", "notice"]


class MqttConfig(Section):
    """The broker that events, minutes, notices and alerts are published to."""

    host: Optional[str] = Field(None, description="the broker; none: nothing is published")
    port: int = Field(1883, ge=1, le=65535, description="usually 8883 with TLS")
    tls: bool = Field(False, description="encrypt, and check the broker's certificate")
    ca_file: Optional[Path] = Field(None, description="certificates to trust; default: those of the system")
    client_cert_file: Optional[Path] = Field(None, description="own certificate, where the broker asks for one")
    client_key_file: Optional[Path] = Field(None, description="key of the own certificate")
    username: Optional[str] = Field(None, description="name to log in with")
    password: Optional[SecretReference] = Field(None, description="env:NAME or file:PATH")
    device: Optional[str] = Field(None, pattern=_LEVEL, description="name of this device; default: its host name")
    prefix: str = Field("edge-social-distancing", pattern=_LEVEL, description="first level of every topic")
    confirm: Literal["broker", "receiver"] = Field(
        "broker", description="keep a message until the broker has it, or until the fleet's receiver has stored it"
    )
    publish: tuple[MessageKind, ...] = Field(("alert", "event", "minute", "notice"), description="what is published")
    state_s: float = Field(5.0, ge=1, le=3600, description="seconds between messages on what goes on now")
    home_assistant: Optional[str] = Field(
        None, pattern=_LEVEL, description="Home Assistant's discovery prefix, usually homeassistant; none: no discovery"
    )

    @field_validator("host")
    @classmethod
    def _is_host(cls, host: Optional[str]) -> Optional[str]:
        try:
            usable = host is None or (bool(host.encode("idna")) and not re.search(r"[\s/@]", host))
        except UnicodeError:
            usable = False
        if not usable:
            raise ValueError("must be a host name or an address alone, such as broker.example.org")
        return host

    @model_validator(mode="after")
    def _whole(self) -> MqttConfig:
        if self.password is not None and self.username is None:
            raise ValueError("password needs username")
        if self.password is not None and not self.tls and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("password would travel readable; set tls: true")
        if (self.client_cert_file is None) != (self.client_key_file is None):
            raise ValueError("client_cert_file and client_key_file belong together")
        if not self.tls and (self.ca_file or self.client_cert_file):
            raise ValueError("certificates need tls: true")
        return self


class WebhookConfig(Section):
    """An address that messages are posted to as JSON."""

    url: str = Field(description="https://… or http://…, without a password in it")
    secret: Optional[SecretReference] = Field(None, description="env:NAME or file:PATH; signs each message")
    send: tuple[MessageKind, ...] = Field(("alert",), min_length=1, description="what is posted")
    timeout_s: float = Field(10.0, gt=0, le=120, description="for connecting and for each read")
    give_up_h: float = Field(24.0, gt=0, le=720, description="hours after which a message is given up")

    @field_validator("url")
    @classmethod
    def _is_web_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
            raise ValueError("must be an address such as https://example.org/alerts")
        if parts.username or parts.password:
            raise ValueError("must not hold a name or password; use secret")
        return url


class ReceiversConfig(Section):
    """Who gets alerts, besides MQTT."""

    webhooks: tuple[WebhookConfig, ...] = Field((), max_length=10, description="web addresses")
    apprise: tuple[SecretReference, ...] = Field(
        (), max_length=20, description="env:NAME or file:PATH of Apprise addresses: e-mail, chat and the rest"
    )

    @model_validator(mode="after")
    def _each_once(self) -> ReceiversConfig:
        urls = [webhook.url for webhook in self.webhooks]
        if len(set(urls)) < len(urls) or len(set(self.apprise)) < len(self.apprise):
            raise ValueError("the same receiver is there twice, and would be told everything twice; remove one")
        return self
