"""Provenance: which packed pictures a part or a run has read, from the seals of its inputs.

A file of features states those of its pack and a run those of its splits, so that a reader of the
run needs no seal of a part.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from graft.core.files import digest


class Pictures(TypedDict):
    """`sha256`: of a pack, or the digest of the sha256 of several. `rows` and `classes`: numbers of
    pictures, in all and by class."""

    sha256: str
    rows: int
    classes: dict[str, int]


def of_part(record: Mapping[str, Any]) -> Pictures:
    """Those of a part, from the seal of its pack or of its features."""
    if record["seal"]["stage"] == "features":
        return record["pictures"]
    packed = record["seal"]["outputs"]["pack"]["sha256"]
    return {"sha256": packed, "rows": record["rows"], "classes": record["classes"]}


def of_split(records: Sequence[Mapping[str, Any]]) -> Pictures:
    """Those of a split, from the seals of its parts in their order."""
    parts = [of_part(record) for record in records]
    return {
        "sha256": digest([part["sha256"] for part in parts]),
        "rows": sum(part["rows"] for part in parts),
        "classes": {
            name: sum(part["classes"][name] for part in parts) for name in parts[0]["classes"]
        },
    }
