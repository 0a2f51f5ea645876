"""The reference of the config, from the settings' classes: JSON schema and tables for README.md."""

import ast
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

from graft.config import (
    architectures,
    datasets,
    decoding,
    layout_options,
    models,
    overviews,
    patches,
    sources,
    splits,
)

MODULES = (models, sources, datasets, splits, decoding, layout_options, overviews, patches)
"""Those with settings that a config may have."""

Schema = dict[str, Any]

OWN_TABLE = {"Detector", "File", "OnPatches", "Render", "Transform", "Training"}
"""Classes with a table of their own; the keys of all others stand in the table above, dotted."""

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def schema() -> Schema:
    """The JSON schema of the whole config, with descriptions."""
    whole = models.Config.model_json_schema()
    described = descriptions()
    for name, definition in whole["$defs"].items():
        _describe(definition, described.get(name, {}))
    _describe(whole, described["Config"])
    return _plain({"$schema": "https://json-schema.org/draft/2020-12/schema", **whole})


def editor_schema() -> str:
    """The JSON schema of one file of the config, which may be an overlay, as text.

    An overlay leaves out what it does not change, and null removes a key.
    """
    return json.dumps(_overlay(schema()), indent=1, ensure_ascii=False) + "\n"


def _overlay(value: Any) -> Any:
    if isinstance(value, list):
        return [_overlay(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _overlay(item) for key, item in value.items() if key != "required"}
    for key in ("properties", "patternProperties"):
        if isinstance(value.get(key), dict):
            kept[key] = {name: _or_null(item) for name, item in kept[key].items()}
    if isinstance(value.get("additionalProperties"), dict):
        kept["additionalProperties"] = _or_null(kept["additionalProperties"])
    if "oneOf" in kept:
        kept["anyOf"] = kept.pop("oneOf")
    return kept


def _or_null(value: Schema) -> Schema:
    about: Schema = {key: value[key] for key in ("description", "default") if key in value}
    kept = {key: item for key, item in value.items() if key not in about}
    return {"anyOf": [kept, {"type": "null"}], **about}


def descriptions() -> dict[str, dict[str, str]]:
    """Class -> key -> description: the text that stands below the key in the class."""
    described: dict[str, dict[str, str]] = {}
    for module in MODULES:
        for name, keys in _attribute_docstrings(module):
            described[name] = keys
    described["Training"] = {**described["Hyperparameters"], **described["Training"]}
    for layout in (cls.__name__ for cls in datasets.LAYOUTS.values()):
        described[layout] = {**described["Dataset"], **described["Published"]}
    described["Merged"] = {**described["Dataset"], **described["Merged"]}
    return described


def _attribute_docstrings(module: ModuleType) -> Iterator[tuple[str, dict[str, str]]]:
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            keys = {}
            for field, text in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ):
                    keys[field.target.id] = " ".join(str(text.value.value).split())
            yield node.name, keys


def _describe(definition: Schema, keys: dict[str, str]) -> None:
    for key, value in definition.get("properties", {}).items():
        if key in keys:
            value["description"] = keys[key]


def _plain(value: Any) -> Any:
    """Without titles; a union of integer and number is a number, with bounds as JSON has them."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {_BOUNDS.get(key, key): _plain(item) for key, item in value.items()}
    if isinstance(kept.get("title"), str):
        del kept["title"]
    forms = kept.get("anyOf", [])
    if {"type": "integer"} in forms and {"type": "number"} in forms:
        others = [form for form in forms if form.get("type") not in ("integer", "number")]
        del kept["anyOf"]
        kept |= {"anyOf": [{"type": "number"}, *others]} if others else {"type": "number"}
    return kept


def tables() -> dict[str, str]:
    """The Markdown table of each heading's keys, by the class that describes them."""
    whole = schema()
    tables = {
        name: _table(_rows(whole, whole["$defs"][name], ""))
        for name in (
            *("Compute", "Download", "Evaluate", "Mlflow", "File", "Render", "Detector", "Source"),
            *("Transform", "Experiment", "OnPatches", "Training", "Overview", "Predict"),
        )
    }
    tables["Dataset"] = _table(_dataset_rows(whole))
    tables["Options"] = _options(whole)
    tables["Layouts"] = _markdown(("layout", "reads", "label", "classes", "group"), _layouts())
    tables["Architectures"] = _markdown(("architecture", "blocks, in order"), _architectures())
    return tables


def write_tables(text: str) -> str:
    """README.md's text with every generated table between its marks as it has to be."""
    for name, table in tables().items():
        mark, end = f"<!-- keys of {name} -->\n", "<!-- end of keys -->"
        before, marked, after = text.partition(mark)
        if marked:
            text = before + mark + table + end + after.partition(end)[2]
    return text


def _table(rows: Iterator[tuple[str, str, str]]) -> str:
    cells = ((f"`{key}`", kind, meaning) for key, kind, meaning in rows)
    return _markdown(("key", "type, default", "meaning"), cells)


def _markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (heading, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heading), *lines[1:], ""])


def _rows(whole: Schema, definition: Schema, above: str) -> Iterator[tuple[str, str, str]]:
    required = definition.get("required", [])
    for key, value in definition["properties"].items():
        target = _target(whole, value)
        nested = value.get("$ref", "").rpartition("/")[2]
        if nested and nested not in OWN_TABLE and "properties" in target:
            if value.get("description") and key == "weights":
                yield f"{above}{key}", "mapping; **required**", value["description"]
            yield from _rows(whole, target, f"{above}{key}.")
        else:
            kind = _kind(whole, value)
            yield f"{above}{key}", f"{kind}; {_need(value, key in required)}", _text(value)


def _dataset_rows(whole: Schema) -> Iterator[tuple[str, str, str]]:
    """The keys of data sets: first those of published ones and of merged ones, then the others."""
    described = descriptions()
    layouts = ", ".join(f"`{name}`" for name in datasets.LAYOUTS)
    for key, kind in {
        "layout": f"{layouts}; **required** unless `merge`",
        "files": "mapping; **required** unless `merge`",
        "label": "text; **required** unless `merge`",
        "options": "mapping; default `{}`",
    }.items():
        yield key, kind, described["Published"][key]
    yield "merge", "list of texts; optional", described["Merged"]["merge"]
    rows = _rows(whole, whole["$defs"]["Merged"], "")
    yield from (row for row in rows if row[0] != "merge")


def _layouts() -> Iterator[Sequence[str]]:
    for layout, cls in datasets.LAYOUTS.items():
        for name, label in cls.labels.items():
            yield f"`{layout}`", label.reads, f"`{name}`", label.classes, label.group


def _architectures() -> Iterator[Sequence[str]]:
    for name, named in architectures.NAMED.items():
        yield f"`{name}`", ", ".join(f"`{block}`" for block in named.blocks) or "none"


def _options(whole: Schema) -> str:
    rows = []
    for layout, cls in datasets.LAYOUTS.items():
        name = cls.model_fields["options"].annotation.__name__  # type: ignore[union-attr]
        for key, value in whole["$defs"][name].get("properties", {}).items():
            cells = (f"`{key}`", f"`{layout}`", f"{_kind(whole, value)}; {_need(value, False)}")
            rows.append((*cells, _text(value)))
    return _markdown(("option", "layout", "type, default", "meaning"), rows)


def _text(value: Schema) -> str:
    return value.get("description", "").replace("|", "\\|")


def _need(value: Schema, required: bool) -> str:
    if required:
        return "**required**"
    default = value.get("default")
    if default is None and not _takes_null(value):
        return "optional"
    if isinstance(default, dict):
        return "default `{}`"
    shown = default if isinstance(default, str) else json.dumps(default)
    return f"default `{shown}`"


def _takes_null(value: Schema) -> bool:
    """Whether null is a value with a meaning of its own, by the description or default."""
    return value.get("default") is not None or "`null`" in value.get("description", "")


def _target(whole: Schema, value: Schema) -> Schema:
    reference = value.get("$ref")
    return whole["$defs"][reference.rpartition("/")[2]] if reference else value


def _kind(whole: Schema, value: Schema) -> str:
    """A type in words."""
    forms = [form for form in value.get("anyOf", []) if form != {"type": "null"}]
    if forms:
        bounds = {key: item for key, item in value.items() if key in _BOUNDS.values()}
        kinds = [_kind(whole, {**form, **bounds}) for form in forms]
        nullable = len(forms) < len(value["anyOf"]) and _takes_null(value)
        return " or ".join(dict.fromkeys([*kinds, *(["`null`"] if nullable else [])]))
    target = _target(whole, value)
    if "enum" in target or "const" in target:
        values = target.get("enum", [target.get("const")])
        texts = [v if isinstance(v, str) else json.dumps(v) for v in values]
        return ", ".join(f"`{text}`" for text in texts)
    match target.get("type"):
        case "array":
            kind = _list(whole, target)
        case "integer" | "number" as name:
            kind = f"{name}{_range(target)}"
        case "string" if "0-9a-f" in target.get("pattern", ""):
            digits = re.findall(r"{(\d+)}", target["pattern"])
            kind = f"{digits[0]} hex digits"
        case "string":
            kind = "text"
        case "boolean":
            kind = "boolean"
        case _:
            kind = "mapping"
    return kind


def _list(whole: Schema, target: Schema) -> str:
    items = target.get("items") or target["prefixItems"][0]
    kind = _kind(whole, items)
    if "prefixItems" in target:
        return f"list of {len(target['prefixItems'])}: {kind}"
    first, space, rest = kind.partition(" ")
    plural = f"{first}s" if first in ("text", "integer", "number", "mapping") else first
    return f"list of {plural}{space}{rest}"


def _range(target: Schema) -> str:
    low, high = target.get("minimum"), target.get("maximum")
    above, below = target.get("exclusiveMinimum"), target.get("exclusiveMaximum")
    words = [
        f"≥ {low}" if low is not None else "",
        f"> {above}" if above is not None else "",
        f"≤ {high}" if high is not None else "",
        f"< {below}" if below is not None else "",
    ]
    return " " + ", ".join(word for word in words if word) if any(words) else ""
