"""What changed since the report before: pictures added and removed, and what it did to the results.

A report leaves a memory, which the next one reads: of each data set the ids of its samples, of each
experiment the means of its modes. It may be lost; then nothing is said.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from graft.config.plan import SPLITS
from graft.core.files import JsonValue, write_json

DROPPED = "dropped"
MINUS = "\N{MINUS SIGN}"
ARROW = "\N{RIGHTWARDS ARROW}"

Samples = Mapping[str, list[str]]
"""Split, or DROPPED -> sample ids, sorted."""

Memory = dict[str, Any]
"""`datasets`: name -> `digest`, `date`, `samples`, `change`; `experiments`: name -> `metric`,
`date`, `means`, `change`. A `change` is None where there was nothing to compare with."""


def samples(rows: pd.DataFrame) -> dict[str, list[str]]:
    """The samples of a data_file.csv (see `datasets.table.read`)."""
    places = rows["split"].where(rows["drop_reason"] == "", DROPPED)
    return {
        place: sorted(rows["sample_id"][places == place])
        for place in (*SPLITS, DROPPED)
        if (places == place).any()
    }


def of_samples(before: Samples, now: Samples) -> dict[str, JsonValue]:
    """What became of the samples: `added` and `removed` (split or DROPPED -> number, where any)
    and `moved`, the number of samples that are in another split than before."""
    counts: dict[str, dict[str, int]] = {"added": {}, "removed": {}}
    for place in dict.fromkeys((*now, *before)):
        old, new = set(before.get(place, ())), set(now.get(place, ()))
        for name, number in (("added", len(new - old)), ("removed", len(old - new))):
            if number:
                counts[name][place] = number
    split = {sample: place for place in SPLITS for sample in before.get(place, ())}
    kept = [(sample, place) for place in SPLITS for sample in now.get(place, ())]
    moved = sum(1 for sample, place in kept if split.get(sample, place) != place)
    return {**counts, "moved": moved}


def of_means(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, JsonValue]:
    """Mode -> [mean before, mean now] of the modes that differ; None where there was none."""
    return {
        mode: [before.get(mode), now.get(mode)]
        for mode in dict.fromkeys((*now, *before))
        if before.get(mode) != now.get(mode)
    }


def on_samples(change: Mapping[str, Any]) -> str:
    """Such as "+10 −2 pictures since the previous data_file.csv: train +7 −1, val +3, test −1"."""
    plus, minus, moved = change["added"], change["removed"], change["moved"]
    added, removed = (sum(n[s] for s in SPLITS if s in n) - moved for n in (plus, minus))
    sentence = f"{_signed(added, removed) or 'no'} pictures since the previous data_file.csv"
    signed = {split: _signed(plus.get(split, 0), minus.get(split, 0)) for split in SPLITS}
    parts = [f"{split} {text}" for split, text in signed.items() if text]
    if parts:
        sentence += f": {', '.join(parts)}"
    if dropped := _signed(plus.get(DROPPED, 0), minus.get(DROPPED, 0)):
        sentence += f"; dropped {dropped}"
    if not (parts or dropped):
        sentence += "; their rows differ otherwise (labels, groups or boxes)"
    if moved:
        sentence += (
            f"; {moved:,} of the same pictures moved to another split, so the results before and "
            "after are not of the same test"
        )
    return sentence


def on_means(change: Mapping[str, Any]) -> str:
    """Such as "fine_tuning 91.2 → 92.0, from_scratch 80.1 → 79.8"; in percent."""
    return ", ".join(
        f"{mode} {_percent(before)} {ARROW} {_percent(now)}"
        for mode, (before, now) in change.items()
    )


def update(memory: Memory, now: Memory, date: str) -> Memory:
    """The memory after a report on `now`, which is one without `date` and `change`.

    What is as remembered keeps its change. What `now` does not have stays remembered.
    """
    return {
        "datasets": memory.get("datasets", {})
        | {
            name: _updated(memory.get("datasets", {}).get(name), entry, "digest", date)
            for name, entry in now["datasets"].items()
        },
        "experiments": memory.get("experiments", {})
        | {
            name: _updated(memory.get("experiments", {}).get(name), entry, "means", date)
            for name, entry in now["experiments"].items()
        },
    }


def _updated(
    before: Mapping[str, Any] | None, now: Mapping[str, Any], key: str, date: str
) -> dict[str, Any]:
    if before is None or (key == "means" and before["metric"] != now["metric"]):
        return {**now, "date": date, "change": None}
    if before[key] == now[key]:
        return {**before, **now}
    if key == "means":
        change = {"modes": of_means(before["means"], now["means"])}
    else:
        change = of_samples(before["samples"], now["samples"])
    return {**now, "date": date, "change": {**change, "since": before["date"]}}


def read(path: Path) -> Memory:
    """What the last report remembered; empty where there is none, or it cannot be read."""
    try:
        memory = json.loads(path.read_text(encoding="utf-8"))
        for entry in (*memory["datasets"].values(), *memory["experiments"].values()):
            entry["date"], entry["change"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return memory


def write(path: Path, memory: Memory) -> None:
    write_json(path, memory)


def _signed(plus: int, minus: int) -> str:
    parts = [f"+{plus:,}" if plus else "", f"{MINUS}{minus:,}" if minus else ""]
    return " ".join(part for part in parts if part)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f}"
