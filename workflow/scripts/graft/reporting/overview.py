"""Overviews: experiments compared with one another, such as a published recipe and its correction.

What is paired does not depend on any test metric: modes of the same name, and the mode of each
experiment that is best on validation. Only experiments with the same test samples are paired.
"""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from graft.config.plan import Comparison
from graft.config.reports import OverviewSettings, ShownExperiment
from graft.core.files import digest
from graft.evaluation import compare
from graft.evaluation.failure import NAMES, Failure
from graft.evaluation.metrics import over_seeds
from graft.reporting import plots
from graft.reporting.results import Record, Results

UNCOMPARED = "macro_f1"
"""The test metric of an overview beside those of `compare`: without an interval over seeds."""

_NOT_COMPARED = ("mode", "threads")  # results do not depend on threads
_ABSENT = "–"


def overview(results: Mapping[str, Results], settings: OverviewSettings) -> Record:
    """Everything that an overview shows, JSON-safe; `results` are those of its experiments by name.

    Returns `title`, `metric`, `level`, `published` and

    - `experiments`: for each its `name`, `title`, `source`, `architecture`, `n_samples`,
      `n_groups`, `majority_baseline` (of the metric), `best_on_val` (a mode) and `test_rows`, a
      digest that is equal where the test samples, their labels, groups and classes are;
    - `rows`: for each experiment and mode `experiment`, `mode`, `select` (the metric that chose its
      epochs), `val` (metric -> mean over seeds at the chosen epochs, None where not recorded),
      `test`: for each of `shown_metrics` `mean`, `std`, `low`, `high` and `seeds`, as in
      `compare`; and `failed`: seed as text -> reason, of the runs that failed;
    - `differences`: see `differences`;
    - `pairs`: those of `compare`, each with `best_on_val`: whether both are the best of their
      experiments on validation. All are of modes of one name, or have `best_on_val`;
    - `notes` and `warnings`: sentences.
    """
    metric = settings.evaluate.metric
    experiments, rows, judged = [], [], {}
    for spec in settings.experiments:
        own = results[spec.name]
        tables = own.tables()
        failures = own.failures_by_mode(metric)
        compared = {m: _compare(tables, settings.evaluate, m) for m in compare.alike(metric)}
        judged[spec.name] = replace(own, comparison=compared[metric])
        own_rows = [_row(spec.name, mode, own, compared, failures[mode]) for mode in own.modes]
        vals = {row["mode"]: row["val"][metric] for row in own_rows}
        experiments.append(
            {
                "name": spec.name,
                "title": spec.title,
                "source": spec.source,
                "architecture": _settings(own, own.modes[0])["backbone"]["architecture"],
                **{k: compared[metric][k] for k in ("n_samples", "n_groups", "majority_baseline")},
                "best_on_val": max(vals, key=lambda m: -np.inf if vals[m] is None else vals[m]),
                "test_rows": _test_rows(next(iter(tables[own.modes[0]].values()))),
            }
        )
        rows += own_rows
    by_test_rows: dict[str, list[Record]] = {}
    for experiment in experiments:
        by_test_rows.setdefault(experiment["test_rows"], []).append(experiment)
    alike = list(by_test_rows.values())
    return {
        "title": settings.title,
        "metric": metric,
        "level": settings.evaluate.level,
        "published": [figure.model_dump(mode="json") for figure in settings.published],
        "experiments": experiments,
        "rows": rows,
        "differences": differences(results, settings.experiments),
        "pairs": [pair for group in alike for pair in _pairs(results, group, settings.evaluate)],
        "notes": _notes(alike, metric),
        "warnings": [
            f"{name}: {warning}"
            for name, own in judged.items()
            for warning in plots.warnings(own, metric)
        ],
    }


def differences(
    results: Mapping[str, Results], experiments: Sequence[ShownExperiment]
) -> list[Record]:
    """The settings that differ between the experiments: `key` (dotted, as in recipes) and `values`,
    experiment -> text, which names the modes where they differ.

    Compared are the settings of modes of the same name, and of all modes where two experiments have
    no mode in common.
    """
    tables = {spec.name: _settings_by_mode(results[spec.name], spec) for spec in experiments}
    keys = {key for table in tables.values() for flat in table.values() for key in flat}
    rows = []
    for key in sorted(keys):
        values = {
            name: {mode: _text(flat.get(key, _ABSENT)) for mode, flat in table.items()}
            for name, table in tables.items()
        }
        if any(_differ(a, b) for a, b in itertools.combinations(values.values(), 2)):
            rows.append({"key": key, "values": {n: _summary(v) for n, v in values.items()}})
    return rows


def table(overview: Record) -> pd.DataFrame:
    """The rows of what `overview` returns as a table, one row per experiment and mode.

    Metrics are shares in 0..1; `<metric>_low` and `<metric>_high` bound the interval and
    `<metric>_std` is over seeds, as in summary.csv.
    """
    experiments = {spec["name"]: spec for spec in overview["experiments"]}
    rows = []
    for row in overview["rows"]:
        spec, prefix = experiments[row["experiment"]], f"{row['experiment']}: {row['mode']},"
        rows.append(
            {
                "experiment": row["experiment"],
                "mode": row["mode"],
                "architecture": spec["architecture"],
                "source": spec["source"],
                "best_on_val": row["mode"] == spec["best_on_val"],
                "n": spec["n_samples"],
                "groups": spec["n_groups"],
                "seeds": len(row["test"][overview["metric"]]["seeds"]),
                "failed": len(row["failed"]),
                "majority_baseline": spec["majority_baseline"],
                "select": row["select"],
                **{f"val_{name}": value for name, value in row["val"].items()},
                **{
                    f"{name}_{key}".removesuffix("_mean"): row["test"][name][key]
                    for name in shown_metrics(overview["metric"])
                    for key in ("mean", "low", "high", "std")
                },
                "test_rows": spec["test_rows"],
                "warnings": " ".join(w for w in overview["warnings"] if w.startswith(prefix)),
            }
        )
    return pd.DataFrame(rows)


def shown_metrics(metric: str) -> tuple[str, ...]:
    """The test metrics of an overview by `metric`."""
    return (*compare.alike(metric), UNCOMPARED)


def _settings(results: Results, mode: str) -> Record:
    settings: Record = results.first_fit(mode)["seal"]["recipe"]["settings"]
    return settings


def _compare(
    tables: dict[str, dict[int, pd.DataFrame]],
    settings: Comparison,
    metric: str,
    failures: compare.Failures | None = None,
) -> Record:
    options = {**settings.model_dump(), "metric": metric}
    return compare.compare(tables, **options, failures=failures)


def _row(
    name: str,
    mode: str,
    results: Results,
    compared: Mapping[str, Record],
    failed: Mapping[int, Failure],
) -> Record:
    measured = results.of(mode, results.metrics)
    test = {metric: one["modes"][mode] for metric, one in compared.items()}
    # It has intervals for each seed (metrics.json), but none over seeds.
    summed = over_seeds(list(measured.values()), [UNCOMPARED])[UNCOMPARED]
    seeds = {str(seed): run[UNCOMPARED] for seed, run in sorted(measured.items())}
    test[UNCOMPARED] = {**summed, "low": None, "high": None, "seeds": seeds}
    return {
        "experiment": name,
        "mode": mode,
        "select": results.first_fit(mode)["select"],
        "val": {metric: _val(results, mode, metric) for metric in compared},
        "test": test,
        "failed": {str(seed): why.reason for seed, why in sorted(failed.items())},
    }


def _val(results: Results, mode: str, metric: str) -> float | None:
    """The validation metric at the chosen epochs, mean over seeds."""
    values = []
    for seed, history in results.of(mode, results.histories).items():
        chosen = history[history["epoch"] == results.fits[mode, seed]["best_epoch"]]
        if f"val_{metric}" not in chosen:
            return None
        values.append(chosen[f"val_{metric}"].item())
    return float(np.mean(values))


def _test_rows(frame: pd.DataFrame) -> str:
    rows = compare.in_order(compare.unpack(frame))
    columns = (rows.sample_id, rows.group, rows.true)
    return digest([rows.classes, *(column.tolist() for column in columns)])[:16]


def _pairs(
    results: Mapping[str, Results], experiments: Sequence[Record], settings: Comparison
) -> list[Record]:
    """Paired differences between experiments with the same test samples."""
    best = {spec["name"]: spec["best_on_val"] for spec in experiments}
    modes = dict.fromkeys(mode for name in best for mode in results[name].modes)
    same_name = [{name: m for name in best if m in results[name].modes} for m in modes]
    chosen = {f"{mode} of {name}" for name, mode in best.items()}
    pairs: dict[frozenset[str], Record] = {}
    metric = settings.metric
    failures = {name: results[name].failures_by_mode(metric) for name in best}
    for pairing in [best, *same_name]:
        tables = {f"{m} of {name}": results[name].tables_of(m) for name, m in pairing.items()}
        failed = {f"{m} of {name}": failures[name][m] for name, m in pairing.items()}
        if len(tables) > 1:
            for pair in _compare(tables, settings, metric, failed)["pairs"]:
                key = frozenset((pair["a"], pair["b"]))
                pairs.setdefault(key, pair | {"best_on_val": key <= chosen})
    return list(pairs.values())


def _notes(alike: Sequence[Sequence[Record]], metric: str) -> list[str]:
    """Sentences on which metrics may be compared, and on what validation would choose."""
    sets = "; ".join(
        f"{_listed(spec['name'] for spec in group)} ({group[0]['n_samples']:,} samples)"
        for group in alike
    )
    notes = []
    if len(alike) > 1 and all(len(group) == 1 for group in alike):
        notes = [f"The test sets differ, so the experiments are not compared: {sets}."]
    elif len(alike) > 1:
        notes = [f"Experiments are compared only where their test sets are equal: {sets}."]
    elif len(alike[0]) > 1:
        notes = [f"All experiments have the same test samples: {sets}."]
    best = _listed(f"{spec['best_on_val']} in {spec['name']}" for group in alike for spec in group)
    return [*notes, f"Best on validation, by {NAMES[metric]}: {best}."]


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _settings_by_mode(results: Results, spec: ShownExperiment) -> dict[str, Record]:
    """mode -> dotted key -> value, those that all modes share included."""
    shared = {
        "source": spec.source,
        "modes": results.modes,
        "seeds": sorted({seed for _, seed in results.fits}),
        "dataset": spec.dataset.model_dump(mode="json"),
    }
    by_mode = {}
    for mode in results.modes:
        fit, settings = results.first_fit(mode), _settings(results, mode)
        own = {key: value for key, value in settings.items() if key not in _NOT_COMPARED}
        by_mode[mode] = _flat(
            {**shared, "samples": fit["samples"], "warm_up": fit["warm_up"], **own}
        )
    return by_mode


def _flat(settings: Mapping, above: str = "") -> Record:
    """Nested settings by dotted key."""
    flat: Record = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[above + key] = value
    return flat


def _text(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "[]"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _differ(a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    if common := a.keys() & b.keys():
        return any(a[mode] != b[mode] for mode in common)
    return set(a.values()) != set(b.values())


def _summary(by_mode: Mapping[str, str]) -> str:
    """The value, or each value with its modes where they differ."""
    modes: dict[str, list[str]] = {}
    for mode, value in by_mode.items():
        modes.setdefault(value, []).append(mode)
    if len(modes) == 1:
        return next(iter(modes))
    return "; ".join(f"{', '.join(names)}: {value}" for value, names in modes.items())
