"""The report: one page that says first what was found, then how, of all experiments of a run.

The page needs no other file, no network and, but for sorting and filtering, no script.
"""

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from graft.config.plan import SPLITS
from graft.config.reports import ReportedExperiment, ReportSettings
from graft.core.assets import Asset
from graft.core.files import JsonValue
from graft.datasets import table
from graft.evaluation.failure import BASELINES, NAMES
from graft.reporting import changes, charts, provenance, tables
from graft.reporting.contact_sheet import REASONS
from graft.reporting.figures.style import in_order
from graft.reporting.pages import write_page
from graft.reporting.results import Files, Record, Records, total_dropped, wildcard

PAGE = Asset(__file__, "templates/report.html")
CHARTS = Asset(__file__, "templates/report_charts.html")
EXPERIMENT = Asset(__file__, "templates/report_experiment.html")
STYLE = Asset(__file__, "templates/report.css")
SCRIPT = Asset(__file__, "templates/report.js")

FIRST = ("learning_curves", "learning_rates", "confusion_matrices", "reliability", "contact_sheet")
HEAT_MAPS = "heat_maps"
DRAWN = ("mode_comparison", "dropped", "mistakes")
"""Figures in this order; others follow; those that the page draws itself are left out."""

CLASSES = 12
"""Classes with a row of their own in the table of a data set."""


@dataclass(frozen=True)
class Shown:
    """What the page shows of an experiment, as its stages left it."""

    spec: ReportedExperiment
    comparison: Record
    plots: Record
    files: dict[str, Path]
    fits: list[Record]
    labels: Record | None


def write(
    path: str | os.PathLike,
    settings: ReportSettings,
    files: Files,
    records: Records,
    *,
    memory: changes.Memory,
    date: str,
    command: str,
    config: str,
) -> tuple[dict[str, JsonValue], changes.Memory]:
    """Write the page; returns the results for its seal, and the memory for the next report.

    `files` and `records` have the roles `comparisons`, `plots`, `fits`, `data_files`, `overviews`,
    `labels`, `heat_maps` and `others` (seals alone, of the stages before). `memory` is what the
    last report remembered, `date` today's, `command` what reproduces the results, and `config` the
    digest of the config.
    """
    shown = gather(settings, files, records)
    pictures = {
        wildcard(record, "dataset"): dataset(record, records["others"])
        for record in records["data_files"]
    }
    memory = changes.update(memory, _state(shown, files, records), date)
    main = [one for one in shown if one.spec.target]
    titles = [one.spec.title for one in main]
    every = [record for role in ("others", *records) for record in records[role]]
    unique = list({record["seal"]["digest"]: record for record in every}.values())
    found = provenance.stages(unique)
    write_page(
        path,
        PAGE,
        title=titles[0] if len(titles) == 1 else f"Results of {len(titles)} experiments",
        parts={"report_charts.html": CHARTS, "report_experiment.html": EXPERIMENT},
        report_style=Markup(STYLE.text()),
        script=Markup(SCRIPT.text()),
        experiments=[experiment(one, settings, pictures, records["others"]) for one in shown],
        changed=changed(memory, shown, pictures),
        overviews=overviews(files, records),
        stages=found,
        cpus=provenance.on_cpus(found, settings.reproducible),
        versions=provenance.versions(),
        environments=provenance.environments(unique),
        digests=provenance.digests(unique),
        checkpoints=provenance.checkpoints(unique),
        first_uses=provenance.first_uses(unique),
        command=command,
        config=config,
        date=date,
    )
    results: dict[str, JsonValue] = {
        "experiments": [one.spec.name for one in shown],
        "verdicts": {one.spec.name: one.plots["verdicts"] for one in shown},
    }
    return results, memory


def gather(settings: ReportSettings, files: Files, records: Records) -> list[Shown]:
    """The experiments in the order of the settings."""
    comparisons, labels = (
        {wildcard(record, "experiment"): record for record in records.get(role, ())}
        for role in ("comparisons", "labels")
    )
    plots = {wildcard(record, "experiment"): record for record in records["plots"]}
    drawn: dict[str, dict[str, Path]] = {}
    for path in files["plots"]:
        drawn.setdefault(path.parents[1].name, {})[path.name] = path
    for path in files.get("heat_maps", ()):
        mode, name = path.parents[1].name, path.parents[2].name
        drawn[name][f"{HEAT_MAPS}_{mode}.svg"] = path
    return [
        Shown(
            spec,
            comparisons[spec.name],
            plots[spec.name],
            drawn[spec.name],
            [r for r in records["fits"] if wildcard(r, "experiment") == spec.name],
            labels.get(spec.name),
        )
        for spec in settings.experiments
    ]


def experiment(
    one: Shown,
    settings: ReportSettings,
    pictures: Mapping[str, Any],
    others: Sequence[Record] = (),
) -> dict[str, JsonValue]:
    """An experiment as the templates show it; `others` are the seals of all stages."""
    compared = one.comparison
    summary = pd.read_csv(one.files["summary.csv"], dtype={"seed": str, "failed": str}).fillna(
        {"failed": ""}
    )
    mistakes = json.loads(one.files["mistakes.json"].read_text(encoding="utf-8"))
    modes = sorted(compared["modes"], key=len, reverse=True)
    return {
        **one.spec.model_dump(),
        "metric": NAMES[compared["metric"]],
        "n_samples": compared["n_samples"],
        "n_groups": compared["n_groups"],
        "baseline": f"{BASELINES[compared['metric']]}: "
        f"{charts.percent(compared['majority_baseline'])} %",
        "verdicts": [
            {"kind": kind(pair), "words": marked(pair["verdict"], modes)}
            for pair in sorted(
                compared["pairs"], key=lambda pair: (KINDS.index(kind(pair)), -pair["difference"])
            )
        ],
        "estimates": charts.estimates(compared),
        "labels": labels(one.labels),
        "warnings": one.plots["warnings"],
        "notes": one.plots["notes"],
        "per_class": one.plots.get("per_class"),
        "speeds": speeds(one, others),
        "pictures": pictures[one.spec.dataset],
        "summary": tables.summary_rows(summary),
        "training": [trained(fit) for fit in one.fits],
        "figures": figures(one.files, settings.captions),
        "mistakes": gallery(mistakes),
    }


def speeds(one: Shown, others: Iterable[Record]) -> list[tuple[str, str]]:
    """Milliseconds a picture took: the features of the experiment's source by their cut, and the
    evaluation, which is of validation and test pictures, by mode."""
    seconds: dict[str, float] = {}
    rows: Counter[str] = Counter()
    for record in others:
        made, stage = record["seal"]["recipe"]["wildcards"], record["seal"]["stage"]
        if stage == "features" and (made["dataset"], made["source"]) == (
            one.spec.dataset,
            one.spec.source,
        ):
            name, count = f"features at {made['cut']}", record["rows"]
        elif stage == "evaluate" and made["experiment"] == one.spec.name:
            fits = (f for f in one.fits if wildcard(f, "mode") == made["mode"])
            val = next((f["samples"]["val"] for f in fits), 0)
            name, count = f"evaluation of {made['mode']}", record["n"] + val
        else:
            continue
        seconds[name] = seconds.get(name, 0) + record["seal"]["run"]["seconds"]
        rows[name] += count
    return [(name, f"{1000 * seconds[name] / rows[name]:.3g}") for name in seconds if rows[name]]


KINDS = ("beats", "equal", "none")


def kind(pair: Mapping[str, Any]) -> str:
    """Whether a pair's verdict is that one mode is better, that nothing was shown, or none."""
    if pair["verdict"].startswith("no verdict") or pair["low"] is None:
        return "none"
    return "beats" if pair["low"] > 0 else "equal"


def marked(sentence: str, modes: Sequence[str]) -> list[tuple[str, str]]:
    """A sentence in pieces, each with the colour of the mode that it names, or ""; the longest
    names come first. No line breaks within an interval."""
    sentence = re.sub(r"(\[[-\d.]+,) ", "\\1\N{NO-BREAK SPACE}", sentence)
    for mode in modes:
        before, found, after = sentence.partition(mode)
        if found:
            piece = (mode, charts.colour(mode))
            return [*marked(before, modes), piece, *marked(after, modes)]
    return [(sentence, "")] if sentence else []


def labels(record: Record | None) -> dict[str, JsonValue] | None:
    """The labels curve as the templates show it."""
    if record is None:
        return None
    return {"charts": charts.curves(record), "sentences": record["sentences"]}


def dataset(structure: Record, others: Iterable[Record]) -> dict[str, JsonValue]:
    """What became of a data set's published samples, from the seals of structure, crop and pack.

    Returns `name`, `published`, `used`, `parts` (split or "dropped", number, percent), `dropped`
    (stage, reason, number), `classes` (name and a number for each split), `more` (classes that have
    no row) and `duplicates`.
    """
    name = wildcard(structure, "dataset")
    own = [r for r in others if r["seal"]["recipe"]["wildcards"].get("dataset") == name]
    crops, packs = ([r for r in own if r["seal"]["stage"] == s] for s in ("crop", "pack"))
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for pack in packs:
        counts[wildcard(pack, "part").split("-")[0]].update(pack["classes"])
    total = sum(counts.values(), Counter[str]())
    rows = Counter[str]()
    for pack in packs:
        rows[wildcard(pack, "part").split("-")[0]] += pack["rows"]
    published, used = structure["published"], rows.total()
    reasons = {"structure": structure["dropped"], "crop": total_dropped(crops)}
    parts = {split: rows[split] for split in SPLITS}
    listed = [label for label, _ in sorted(total.items(), key=lambda item: (-item[1], item[0]))]
    return {
        "name": name,
        "published": published,
        "used": used,
        "parts": [
            (part, number, round(100 * number / max(1, published), 2))
            for part, number in {**parts, "dropped": published - used}.items()
        ],
        "dropped": [
            (stage, REASONS.get(reason, reason.replace("_", " ")), number)
            for stage, found in reasons.items()
            for reason, number in sorted(found.items(), key=lambda item: (-item[1], item[0]))
        ],
        "classes": [
            (label, *(counts[split][label] for split in SPLITS), total[label])
            for label in listed[:CLASSES]
        ],
        "more": len(listed[CLASSES:]),
        "duplicates": structure["duplicates"],
    }


def trained(fit: Record) -> dict[str, JsonValue]:
    """How a run was trained, in words and numbers."""
    chosen, run = fit["chosen"], fit["seal"]["run"]
    return {
        "mode": wildcard(fit, "mode"),
        "colour": charts.colour(wildcard(fit, "mode")),
        "seed": wildcard(fit, "seed"),
        "chosen": ", ".join(
            f"{key} {value}" if isinstance(value, str) else f"{key} {value:g}"
            for key, value in chosen.items()
        ),
        "candidates": len(fit["tuning"]),
        "epochs": f"{fit['best_epoch']} of {fit['epochs']}" if "lr" in chosen else tables.NONE,
        "updates": sum(fit.get("updates", {}).values()),
        "rows": fit["samples"]["train"],
        "seconds": run["seconds"],
        "peak_memory_mb": run["peak_memory_mb"],
    }


def figures(files: Mapping[str, Path], captions: Mapping[str, str]) -> list[dict[str, str]]:
    """The figures that the page shows, each with its `name`, `caption` and `svg` (base64)."""
    names = [Path(file).stem for file in files if file.endswith(".svg")]
    others = sorted(set(names) - {*FIRST, *DRAWN})
    return [
        {
            "name": name.replace("_", " "),
            "caption": captions.get(HEAT_MAPS if name.startswith(HEAT_MAPS) else name, ""),
            "svg": base64.b64encode(files[f"{name}.svg"].read_bytes()).decode(),
        }
        for name in (*FIRST, *others)
        if name in names
    ]


def gallery(mistakes: Mapping[str, Any]) -> dict[str, JsonValue]:
    """The mistakes as the templates show them, with the classes and modes to choose among."""
    pictures = [
        {
            **picture,
            "confidence": max(answer["confidence"] for answer in picture["answers"]),
            "answers": [
                {
                    **answer,
                    "colour": charts.colour(answer["mode"]),
                    "percent": f"{100 * answer['confidence']:.0f}",
                }
                for answer in picture["answers"]
            ],
        }
        for picture in mistakes["pictures"]
    ]
    answers = [answer for picture in pictures for answer in picture["answers"]]
    return {
        "pictures": pictures,
        "wrong": {mode: mistakes["wrong"][mode] for mode in in_order(mistakes["wrong"])},
        "true": sorted({picture["true"] for picture in pictures}),
        "predicted": sorted({answer["predicted"] for answer in answers}),
    }


def changed(
    memory: changes.Memory, shown: Sequence[Shown], pictures: Mapping[str, Any]
) -> dict[str, JsonValue]:
    """What changed since the last report: `pictures` and `results`, (name, date, sentence) each,
    and whether this is the `first` report."""
    datasets = {name: memory["datasets"][name]["change"] for name in pictures}
    experiments = {one.spec.title: memory["experiments"][one.spec.name]["change"] for one in shown}
    return {
        "pictures": [
            (name, change["since"], changes.on_samples(change))
            for name, change in datasets.items()
            if change
        ],
        "results": [
            (title, change["since"], changes.on_means(change["modes"]))
            for title, change in experiments.items()
            if change
        ],
    }


def overviews(files: Files, records: Records) -> list[dict[str, JsonValue]]:
    """The overviews: title, figure, the verdicts between the best modes, notes."""
    drawn = {path.parent.name: path for path in files["overviews"] if path.suffix == ".svg"}
    return [
        {
            "name": (name := wildcard(record, "overview")),
            "title": record["title"],
            "svg": base64.b64encode(drawn[name].read_bytes()).decode(),
            "verdicts": [pair["verdict"] for pair in record["pairs"] if pair["best_on_val"]],
            "notes": record["notes"],
        }
        for record in records["overviews"]
    ]


def _state(shown: Sequence[Shown], files: Files, records: Records) -> changes.Memory:
    """What the next report compares with."""
    listed = zip(files["data_files"], records["data_files"], strict=True)
    return {
        "datasets": {
            wildcard(record, "dataset"): {
                "digest": record["seal"]["outputs"]["data_file"]["sha256"],
                "samples": changes.samples(table.read(path)),
            }
            for path, record in listed
        },
        "experiments": {
            one.spec.name: {
                "metric": one.comparison["metric"],
                "means": {m: row["mean"] for m, row in one.comparison["modes"].items()},
            }
            for one in shown
        },
    }
