"""The config file: read, checked, made complete. What the rest of the process needs of it is imported from here."""

from __future__ import annotations

from gcsidecar.sidecar.config.addresses import Address, AddressError, parse_address
from gcsidecar.sidecar.config.loader import check, load
from gcsidecar.sidecar.config.model import Config, LogSpec
from gcsidecar.sidecar.config.problems import ConfigError, Problem, has_errors

__all__ = [
    "Address",
    "AddressError",
    "Config",
    "ConfigError",
    "LogSpec",
    "Problem",
    "check",
    "has_errors",
    "load",
    "parse_address",
]
