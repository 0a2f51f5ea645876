"""config/README.md: tells every key as it is, and its examples are valid.

Tables whose first column is headed "key" are about the schema. The heading above such a table
names the object whose keys it lists; a part in angle brackets stands for any name.
"""

import inspect
import io
import itertools
import json
import re
from collections.abc import Iterator

import pytest
import yaml
from conftest import ROOT, SCHEMA, SHIPPED
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from graft.config import architectures, checks
from graft.datasets import samples

TEXT = (ROOT / "config/README.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS_OF_YAML = re.findall(r"^```yaml\n(.*?)^```$", TEXT + README, re.MULTILINE | re.DOTALL)
OVERLAYS = [
    path
    for path in sorted((ROOT / "config").glob("*.yaml"))
    if path.stem not in ("config", "datasets", "sources", "experiments")
]


def schema_keys(schema: dict, path: str = "") -> Iterator[tuple[str, dict, bool]]:
    """(dotted path, its schema, whether it is required) of every key; `<>` is any name."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if schema.get("x-partial"):  # holds the same keys again
        return
    inner = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict):
        inner["<>"] = schema["additionalProperties"]
    for name, value in inner.items():
        below = f"{path}.{name}".lstrip(".")
        target = SCHEMA["$defs"][value["$ref"].rsplit("/", 1)[1]] if "$ref" in value else value
        yield below, target, name in schema.get("required", [])
        yield from schema_keys(target, below)


def tables() -> Iterator[tuple[str, list[list[str]]]]:
    """(the heading above, the rows of cells) of every table; the first row is its header."""
    heading, rows = "", []
    for line in [*TEXT.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            yield heading, [rows[0], *rows[2:]]
            rows = []
        if line.startswith("#"):
            heading = line.lstrip("# ")


def coded(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def general(path: str) -> str:
    return re.sub(r"<\w+>", "<>", path)


def told_default(cell: str):
    """The default that a cell tells, as YAML reads it; absent: None and False."""
    found = re.search(r"default `([^`]*)`", cell)
    return (yaml.safe_load(found[1]), True) if found else (None, False)


def told_keys() -> dict[str, str]:
    """The path of every key in the tables, and its cell of type and default."""
    told = {}
    for heading, (header, *rows) in tables():
        if header[0] == "key":
            (place,) = coded(heading)
            for row in rows:
                (key,) = coded(row[0])
                told[general(f"{place}.{key}")] = row[1]
    return told


KEYS = {path: (schema, required) for path, schema, required in schema_keys(SCHEMA)}
TOLD = told_keys()


def of_table(first: str) -> list[list[str]]:
    """The rows of the one table whose header begins with a word."""
    (rows,) = (rows for _, (header, *rows) in tables() if header[0] == first)
    return rows


def test_every_key_is_documented_and_every_documented_key_exists():
    headings = [general(name) for _, name in re.findall(r"^(##+) `(.*)`$", TEXT, re.MULTILINE)]
    documented = set()
    for path in [*TOLD, *headings]:
        documented.update(itertools.accumulate(path.split("."), "{}.{}".format))
    documented.update(f"datasets.<>.options.{coded(row[0])[0]}" for row in of_table("option"))
    assert documented == set(KEYS)


@pytest.mark.parametrize("path", TOLD)
def test_defaults_choices_and_requirements_are_those_of_the_schema(path):
    schema, required = KEYS[path]
    cell = TOLD[path]
    assert ("**required**" in cell) == required
    assert told_default(cell) == (schema.get("default"), "default" in schema)
    optional = not required and "default" not in schema
    assert ("optional" in cell) == optional
    choices = cell.split(";")[0]
    assert "enum" not in schema or coded(choices) == schema["enum"]


def test_layouts_labels_and_options_are_those_of_the_code():
    labels = {(coded(row[0])[0], coded(row[2])[0]) for row in of_table("layout")}
    options = {
        (coded(row[1])[0], coded(row[0])[0]): told_default(row[2])[0] for row in of_table("option")
    }
    layouts = samples.LAYOUTS.items()
    assert labels == {(name, label) for name, layout in layouts for label in layout.LABELS}
    assert options == {
        (name, parameter.name): json.loads(json.dumps(parameter.default))
        for name, layout in layouts
        for parameter in inspect.signature(layout.rows).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "label"
    }


def test_modes_and_blocks_are_those_of_the_code():
    told = {coded(row[0])[0]: tuple(coded(row[1])) for row in of_table("architecture")}
    assert told == architectures.BLOCKS
    modes = [coded(row[0])[0] for row in of_table("mode")]
    assert modes == [*architectures.MODES, f"{architectures.FREEZE}<block>"]


@pytest.mark.parametrize("text", BLOCKS_OF_YAML)
def test_every_example_is_valid_on_top_of_the_shipped_config(text):
    resolve_over_shipped(load_configfile(io.StringIO(text)))


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_every_overlay_is_valid_and_listed(path):
    resolve_over_shipped(load_configfile(path))
    assert [f"`{path.name}`"] in [row[:1] for row in of_table("file")]


def resolve_over_shipped(overlay: dict) -> None:
    """Merge as Snakemake does, resolve, and have the layouts check labels and options."""
    merged: dict = {}
    update_config(merged, SHIPPED)
    update_config(merged, overlay)
    for name, spec in checks.resolve(merged, SCHEMA)["datasets"].items():
        if "merge" not in spec:
            samples.rows(
                spec["layout"], {}, label=spec["label"], options=spec["options"], dataset=name
            )
