"""Overviews: experiments side by side, such as a published recipe and its corrected one.

What is compared with what is settled before any test figure is looked at: modes of the same
name, and the mode of each experiment that is best on validation. Paired differences need the
same test rows, so experiments are first told apart by those.
"""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from graft.core.files import digest
from graft.evaluation import compare, metrics
from graft.evaluation.predictions import read_predictions, unpack_predictions
from graft.reporting import plots
from graft.reporting.results import Results

FIGURES = (*compare.METRICS, "macro_f1")
"""The test figures of an overview; those of `comparison` come with intervals."""

_LEFT_OUT = ("mode", "threads")  # what tells modes apart, and what results do not depend on
_ABSENT = "–"


def gather(inputs: dict[str, list[Path]], records: dict[str, list[dict]]) -> dict[str, Results]:
    """The findings of each experiment, not compared yet, by name in the order of the inputs.

    From a job's verified inputs: the roles `fits` and `predictions` over all experiments.
    """
    found = {}
    for name in dict.fromkeys(map(_experiment, records["fits"])):
        files: dict[str, list[Path]] = {}
        seals: dict[str, list[dict]] = {"comparison": [{}]}
        for role in ("fits", "predictions"):
            pairs = zip(inputs[role], records[role], strict=True)
            mine = [(path, record) for path, record in pairs if _experiment(record) == name]
            files[role], seals[role] = ([item[i] for item in mine] for i in (0, 1))
        found[name] = Results.gather(files, seals)
    return found


def overview(
    findings: Mapping[str, Results],
    *,
    title: str,
    experiments: Sequence[dict],
    published: Sequence[dict],
    metric: str,
    resamples: int,
    level: float,
    seed: int,
) -> dict:
    """Everything that an overview shows, as a JSON-safe dict; `findings` is what `gather` returns.

    `experiments` has the `name`, `title`, `source` and `dataset` (a mapping of settings) of each;
    `published` has figures as given (`label`, `value` as a share or [low, high], maybe `note`);
    the others are those of `compare.compare`. Returns `title`, `metric`, `level`,
    `published` and

    - `experiments`: for each its `name`, `title`, `source`, `architecture`, `n_samples`,
      `n_groups`, `majority_baseline` (of the metric), `best_on_val` (a mode) and `test_rows`, a
      digest that is equal where the test rows, their labels, groups and classes are;
    - `rows`: for each experiment and mode `experiment`, `mode`, `select` (what chose its
      epochs), `val` (metric -> mean over seeds at the chosen epochs, None where not recorded) and
      `test`: for each of FIGURES `mean`, `std`, `low`, `high` and `seeds`, as `compare` has them;
    - `differences`: see `differences`;
    - `pairs`: those of `compare`, each with `best_on_val`: whether both are the best of their
      experiments on validation. All are of modes of one name, or have `best_on_val`;
    - `notes` and `warnings`: sentences.
    """
    options = {"resamples": resamples, "seed": seed, "level": level}
    described, rows = [], []
    for spec in experiments:
        found = findings[spec["name"]]
        tables = {mode: _tables(found, mode) for mode in found.modes}
        compared = {m: compare.compare(tables, metric=m, **options) for m in compare.METRICS}
        mine = [_row(spec["name"], mode, found, compared) for mode in found.modes]
        settings = _settings(next(iter(found.fits.values())))
        described.append(
            {
                **{key: spec[key] for key in ("name", "title", "source")},
                "architecture": settings["backbone"]["architecture"],
                **{k: compared[metric][k] for k in ("n_samples", "n_groups", "majority_baseline")},
                "best_on_val": max(mine, key=lambda row: _rank(row["val"][metric]))["mode"],
                "test_rows": _test_rows(next(iter(next(iter(tables.values())).values()))),
            }
        )
        rows += mine
    together: dict[str, list[dict]] = {}  # experiments by their test rows
    for spec in described:
        together.setdefault(spec["test_rows"], []).append(spec)
    return {
        "title": title,
        "metric": metric,
        "level": level,
        "published": list(published),
        "experiments": described,
        "rows": rows,
        "differences": differences(findings, experiments),
        "pairs": [
            pair
            for alike in together.values()
            for pair in _pairs(findings, alike, metric=metric, **options)
        ],
        "notes": _notes(list(together.values()), metric),
        "warnings": [
            f"{name}: {sentence}"
            for name, found in findings.items()
            for sentence in plots.warnings(found)
        ],
    }


def differences(findings: Mapping[str, Results], experiments: Sequence[dict]) -> list[dict]:
    """What the experiments were set to differently, one dict a key, in the config's terms.

    Each has `key` (dotted) and `values`: experiment -> text; where modes are set differently
    the text names them. Compared are the settings of modes of the same name, and of all modes
    where two experiments have no mode in common.
    """
    tables = {spec["name"]: _settings_by_mode(findings[spec["name"]], spec) for spec in experiments}
    modes = [mode for table in tables.values() for mode in table.values()]
    found = []
    for key in sorted(set(itertools.chain.from_iterable(modes))):
        values = {
            name: {mode: _shown(settings.get(key, _ABSENT)) for mode, settings in table.items()}
            for name, table in tables.items()
        }
        if any(_differ(a, b) for a, b in itertools.combinations(values.values(), 2)):
            told = {name: _told(by_mode) for name, by_mode in values.items()}
            found.append({"key": key, "values": told})
    return found


def table(found: dict) -> pd.DataFrame:
    """The rows of what `overview` returns as a table, one row per experiment and mode.

    Figures are shares in 0..1; `<metric>_low` and `<metric>_high` bound the interval and
    `<metric>_std` is over seeds, as in summary.csv.
    """
    specs = {spec["name"]: spec for spec in found["experiments"]}
    rows = []
    for row in found["rows"]:
        spec, told = specs[row["experiment"]], f"{row['experiment']}: {row['mode']},"
        rows.append(
            {
                "experiment": row["experiment"],
                "mode": row["mode"],
                "architecture": spec["architecture"],
                "source": spec["source"],
                "best_on_val": row["mode"] == spec["best_on_val"],
                "n": spec["n_samples"],
                "groups": spec["n_groups"],
                "seeds": len(row["test"][FIGURES[0]]["seeds"]),
                "majority_baseline": spec["majority_baseline"],
                "select": row["select"],
                **{f"val_{name}": value for name, value in row["val"].items()},
                **{
                    f"{name}_{key}".removesuffix("_mean"): row["test"][name][key]
                    for name in FIGURES
                    for key in ("mean", "low", "high", "std")
                },
                "test_rows": spec["test_rows"],
                "warnings": " ".join(w for w in found["warnings"] if w.startswith(told)),
            }
        )
    return pd.DataFrame(rows)


def _experiment(record: dict) -> str:
    return record["seal"]["recipe"]["wildcards"]["experiment"]


def _settings(fit: dict) -> dict:
    return fit["seal"]["recipe"]["settings"]


def _tables(found: Results, mode: str) -> dict[int, pd.DataFrame]:
    return {s: read_predictions(p) for s, p in found.of(mode, found.predictions).items()}


def _row(name: str, mode: str, found: Results, compared: Mapping[str, dict]) -> dict:
    fits, measured = found.of(mode, found.fits), found.of(mode, found.metrics)
    test = {metric: compared[metric]["modes"][mode] for metric in compare.METRICS}
    # The other figures have intervals for each seed (metrics.json), but none over seeds.
    for metric, summed in metrics.over_seeds(list(measured.values())).items():
        if metric in FIGURES and metric not in test:
            seeds = {str(seed): run[metric] for seed, run in sorted(measured.items())}
            test[metric] = {**summed, "low": None, "high": None, "seeds": seeds}
    return {
        "experiment": name,
        "mode": mode,
        "select": next(iter(fits.values()))["select"],
        "val": {metric: _val(found, mode, metric) for metric in compare.METRICS},
        "test": test,
    }


def _val(found: Results, mode: str, metric: str) -> float | None:
    """The validation figure at the epochs chosen, mean over seeds."""
    values = []
    for seed, history in found.of(mode, found.histories).items():
        chosen = history[history["epoch"] == found.fits[mode, seed]["best_epoch"]]
        if f"val_{metric}" not in chosen:
            return None
        values.append(chosen[f"val_{metric}"].item())
    return float(np.mean(values))


def _rank(value: float | None) -> float:
    return -np.inf if value is None else value


def _test_rows(frame: pd.DataFrame) -> str:
    rows = unpack_predictions(frame)
    order = np.argsort(rows.sample_id)
    columns = (rows.sample_id, rows.group, rows.true)
    return digest([rows.classes, *(column[order].tolist() for column in columns)])[:16]


def _pairs(findings: Mapping[str, Results], alike: Sequence[dict], **options) -> list[dict]:
    """Paired differences between experiments of the same test rows."""
    best = {spec["name"]: spec["best_on_val"] for spec in alike}
    modes = dict.fromkeys(mode for name in best for mode in findings[name].modes)
    pairings = [
        best,
        *({name: mode for name in best if mode in findings[name].modes} for mode in modes),
    ]
    pairs: dict[frozenset, dict] = {}
    for pairing in pairings:
        runs = {_run_name(*run): _tables(findings[run[0]], run[1]) for run in pairing.items()}
        chosen = {_run_name(*run) for run in best.items()}
        if len(runs) > 1:
            for pair in compare.compare(runs, **options)["pairs"]:
                key = frozenset((pair["a"], pair["b"]))
                pairs.setdefault(key, pair | {"best_on_val": key <= chosen})
    return list(pairs.values())


def _run_name(experiment: str, mode: str) -> str:
    return f"{mode} of {experiment}"


def _notes(together: Sequence[Sequence[dict]], metric: str) -> list[str]:
    """Sentences on which figures may be compared, and on what validation would choose."""
    sets = [
        f"{_listed(spec['name'] for spec in alike)} ({alike[0]['n_samples']:,} samples)"
        for alike in together
    ]
    if len(together) > 1:
        apart = (
            "not compared"
            if len(together) == sum(map(len, together))
            else "compared within each of them only"
        )
        notes = [f"The figures are of different test sets and are {apart}: {'; '.join(sets)}."]
    elif len(together[0]) > 1:
        notes = [f"All figures are of the same test samples: {sets[0]}."]
    else:
        notes = []
    best = [f"{spec['best_on_val']} in {spec['name']}" for alike in together for spec in alike]
    word = metric.replace("_", " ")
    return [*notes, f"Best on validation, by {word}: {_listed(best)}."]


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _settings_by_mode(found: Results, spec: dict) -> dict[str, dict]:
    """mode -> dotted key -> value; what is the same for all modes stands first."""
    shared = {
        "source": spec["source"],
        "modes": found.modes,
        "seeds": sorted({seed for _, seed in found.fits}),
        **_flat({"dataset": spec["dataset"]}),
    }
    by_mode = {}
    for mode in found.modes:
        fit = next(iter(found.of(mode, found.fits).values()))
        settings = {k: v for k, v in _settings(fit).items() if k not in _LEFT_OUT}
        told = {key: fit[key] for key in ("samples", "warm_up")}
        by_mode[mode] = shared | _flat(told) | _flat(settings)
    return by_mode


def _flat(settings: Mapping, above: str = "") -> dict:
    """Nested settings by dotted key."""
    flat = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[above + key] = value
    return flat


def _shown(value) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "[]"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _differ(a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    if common := a.keys() & b.keys():
        return any(a[mode] != b[mode] for mode in common)
    return set(a.values()) != set(b.values())


def _told(by_mode: Mapping[str, str]) -> str:
    """The value, or each value with its modes where they are set differently."""
    modes: dict[str, list[str]] = {}
    for mode, value in by_mode.items():
        modes.setdefault(value, []).append(mode)
    if len(modes) == 1:
        return next(iter(modes))
    return "; ".join(f"{', '.join(names)}: {value}" for value, names in modes.items())
