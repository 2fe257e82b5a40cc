"""The JSON schema of the config, for editors: made from the same types that the loader obeys.

`python -m gcsidecar.sidecar.config.schema` prints it. Built from `msgspec.inspect` and not by `msgspec.json.schema`,
which can't write a default of a type of our own, such as `2m`, and has one description where a type is used twice.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec.inspect as mi
from msgspec import NODEFAULT, UNSET, Struct

from gcsidecar.cache.spec import ByteSize, Seconds, ThresholdOverrides
from gcsidecar.gc.pressure import Level
from gcsidecar.sidecar.config.model import Config
from gcsidecar.sidecar.config.nodes import join
from gcsidecar.sidecar.config.units import format_duration, format_level, format_size
from gcsidecar.sidecar.config.words import alternatives, unit_of

_VARIABLE = {"$ref": "#/$defs/variable"}
_NUMBER = r"[0-9]{1,20}(\.[0-9]{1,20})?"
_SIZE_PATTERN = rf"^{_NUMBER} ?(B|k|kB|[KMGTPE]|[KMGTPE]i|[KMGTPE]B|[KMGTPE]iB)?$"
_DURATION_PATTERN = rf"^(0|({_NUMBER}w)?({_NUMBER}d)?({_NUMBER}h)?({_NUMBER}m)?({_NUMBER}s)?({_NUMBER}ms)?)$"
_SHARE_PATTERN = rf"^{_NUMBER} ?%$"

_DEFINITIONS: dict[str, Any] = {
    "variable": {
        "type": "string",
        "pattern": r"\$\{",
        "description": "From the environment: ${VAR}, or ${VAR:-default}; $${ stands for ${ itself.",
    },
    "size": {
        "description": "A size: 10GiB, 500MB, or a plain number of bytes.",
        "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE_PATTERN}, _VARIABLE],
        "examples": ["10GiB", "500MB", "1.5TiB"],
    },
    "duration": {
        "description": "A duration: 30s, 2h, 7d, 1h30m.",
        "anyOf": [{"const": 0}, {"type": "string", "pattern": _DURATION_PATTERN, "minLength": 1}, _VARIABLE],
        "examples": ["30s", "2h", "7d", "1h30m"],
    },
    "level": {
        "description": "A share of what there is, or a size.",
        # A bare number up to 100 is a share whose % was forgotten.
        "anyOf": [
            {"type": "string", "pattern": _SHARE_PATTERN},
            {"type": "string", "pattern": _SIZE_PATTERN},
            {"const": 0},
            {"type": "integer", "minimum": 101},
            _VARIABLE,
        ],
        "examples": ["15%", "10GiB"],
    },
    "inodes": {
        "description": "A share of what there is, or a number of inodes.",
        "anyOf": [
            {"type": "string", "pattern": _SHARE_PATTERN},
            {"type": "string", "pattern": "^[0-9]{1,18}$"},
            {"type": "integer", "minimum": 0},
            _VARIABLE,
        ],
        "examples": ["15%", 100000],
    },
}


def json_schema() -> dict[str, Any]:
    """The schema of a config file, strict: a key that is not in it is an error."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "gcsidecar.schema.json",
        "title": "gcsidecar config",
        "description": "What gcsidecar is told: cache directories, thresholds, where to listen.",
        **_mapping(mi.type_info(Config), "", None),
        "$defs": _DEFINITIONS,
    }


def _mapping(info: mi.Type, key: str, base: Any) -> dict[str, Any]:
    """A mapping's schema; `base` is what keys that are left out come from, if not from the type itself."""
    if not isinstance(info, mi.StructType):
        raise TypeError(info)
    # A root's own thresholds have no defaults: what is left out there is as in the common ones.
    base = UNSET if info.cls is ThresholdOverrides else base
    required = [field.encode_name for field in info.fields if field.required and base is None]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {field.encode_name: _property(field, key, base) for field in info.fields},
        **({"required": required} if required else {}),
    }


def _property(field: mi.Field, key: str, base: Any) -> dict[str, Any]:
    path = join(key, field.encode_name)
    default = getattr(base, field.encode_name, UNSET if base is UNSET else field.default)
    inner = UNSET if base is UNSET else default
    options = [
        _option(one, path, inner if isinstance(inner, Struct) or inner is UNSET else None)
        for one in alternatives(field.type)
    ]
    return {
        **_description(field.type),
        **(options[0] if len(options) == 1 else {"anyOf": _flat(options)}),
        **({} if _is_silent(default) else {"default": _written(default, path)}),
    }


def _is_silent(default: Any) -> bool:
    return default is NODEFAULT or default is UNSET or isinstance(default, Struct)


def _description(info: mi.Type) -> dict[str, Any]:
    extra = info.extra_json_schema if isinstance(info, mi.Metadata) else None
    return dict(extra or {})


def _flat(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Alternatives of alternatives in one list, each once."""
    flat: list[dict[str, Any]] = []
    for option in options:
        inner = option["anyOf"] if set(option) == {"anyOf"} else [option]
        flat += [one for one in inner if one not in flat]
    return flat


def _option(info: mi.Type, key: str, base: Any) -> dict[str, Any]:
    """One alternative of a key; numbers and words may come from the environment, too."""
    match info:
        case mi.NoneType():
            return {"type": "null"}
        case mi.StructType():
            return _mapping(info, key, base)
        case mi.VarTupleType():
            return {"type": "array", "items": _items(info.item_type, join(key, 0)), "minItems": info.min_length or 0}
        case mi.CustomType() | mi.DataclassType():
            return {"$ref": f"#/$defs/{_measure_name(info.cls, key)}"}
        case mi.StrType():
            return (
                {"anyOf": [{"type": "string", "pattern": info.pattern}, _VARIABLE]}
                if info.pattern
                else {"type": "string"}
            )
        case _:
            return {"anyOf": [_word(info), _VARIABLE]}


def _items(info: mi.Type, key: str) -> dict[str, Any]:
    (only,) = alternatives(info)
    return _option(only, key, None)


def _word(info: mi.Type) -> dict[str, Any]:
    if isinstance(info, mi.LiteralType):
        return {"enum": list(info.values)}
    if isinstance(info, mi.BoolType):
        return {"type": "boolean"}
    if isinstance(info, mi.IntType):
        bounds = {"minimum": info.ge, "maximum": info.le}
        return {"type": "integer", **{name: bound for name, bound in bounds.items() if bound is not None}}
    raise TypeError(info)


def _measure_name(cls: type, key: str) -> str:
    return {ByteSize: "size", Seconds: "duration"}.get(cls, "inodes" if unit_of(key) == "inodes" else "level")


def _written(value: Any, key: str) -> Any:
    """A default as one would write it."""
    match value:
        case Level():
            return format_level(value, unit_of(key))
        case Seconds():
            return format_duration(value)
        case ByteSize():
            return format_size(value)
        case tuple():
            return list(value)
        case _:
            return value


if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
