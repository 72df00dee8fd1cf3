"""What SARIF 2.1.0 demands of the objects that we write, as JSON Schema: required properties, types, closed sets.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import jsonschema


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


_TEXT = {"type": "string"}
_ADDRESS = {"type": "string", "pattern": r"^[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+$"}
_NUMBER = {"type": "integer", "minimum": 0}
_LINE = {"type": "integer", "minimum": 1}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}
_MESSAGE = _object(("text",), text=_TEXT, markdown=_TEXT)
_LOCATION = _object(
    physicalLocation=_object(
        ("artifactLocation",),
        artifactLocation=_object(("uri",), uri=_ADDRESS, uriBaseId=_TEXT),
        region=_object(("startLine",), startLine=_LINE),
    ),
    logicalLocations={"type": "array", "items": _object(fullyQualifiedName=_TEXT)},
)
_RULE = _object(
    ("id",),
    id=_TEXT,
    name=_TEXT,
    shortDescription=_MESSAGE,
    fullDescription=_MESSAGE,
    help=_MESSAGE,
    helpUri={**_ADDRESS, "pattern": "^https?://"},
    defaultConfiguration=_object(level=_LEVEL),
)
_RESULT = _object(
    ("message",),
    ruleId=_TEXT,
    ruleIndex=_NUMBER,
    level=_LEVEL,
    message=_MESSAGE,
    locations={"type": "array", "items": _LOCATION},
    partialFingerprints={"type": "object", "additionalProperties": _TEXT},
    baselineState={"enum": ["new", "unchanged", "updated", "absent"]},
    properties={"type": "object"},
)
SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **_object(
        ("version", "runs"),
        **{"$schema": _ADDRESS},
        version={"const": "2.1.0"},
        runs={
            "type": "array",
            "items": _object(
                ("tool",),
                tool=_object(
                    ("driver",),
                    driver=_object(
                        ("name",),
                        name=_TEXT,
                        semanticVersion=_TEXT,
                        rules={"type": "array", "uniqueItems": True, "items": _RULE},
                    ),
                ),
                columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                results={"type": "array", "items": _RESULT},
            ),
        },
    ),
}


def results_of(log: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the results of a SARIF log that is as it must be: by the schema, and in what its parts say of each other.

    A rule that a result points to has its id; with a state for one result all have one; a name of a file is relative to
    the root exactly where it has no scheme.
    """
    jsonschema.validate(log, SCHEMA)
    json.dumps(log, allow_nan=False)
    (run,) = log["runs"]
    found: list[dict[str, Any]] = run["results"]
    rules = run["tool"]["driver"]["rules"]
    for each in found:
        assert rules[each["ruleIndex"]]["id"] == each["ruleId"]
        for place in (one["physicalLocation"] for one in each["locations"] if "physicalLocation" in one):
            named = place["artifactLocation"]
            assert ("uriBaseId" in named) == (urlsplit(named["uri"]).scheme == "")
    assert len({"baselineState" in each for each in found}) <= 1
    return found
