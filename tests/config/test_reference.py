"""The reference of the config: schema and tables are generated, and the examples are valid."""

import io
import json
import re

import jsonschema
import pytest
import yaml
from conftest import ROOT, SHIPPED
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from graft.config import architectures, datasets, reference
from graft.config.read import read_config

SCHEMA = ROOT / "workflow/schemas/config.schema.json"
TEXT = (ROOT / "config/README.md").read_text(encoding="utf-8")
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "config/README.md"]
EXAMPLES = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in PAGES
    for number, text in enumerate(
        re.findall(r"^```yaml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    )
]
FILES = sorted((ROOT / "config").rglob("*.yaml"))
BASE = ("config", "datasets", "sources", "experiments")
OVERLAYS = [path for path in FILES if path.parent.name == "config" and path.stem not in BASE]


def column(first: str, place: int) -> list[list[str]]:
    """The coded words in a column of the table whose header begins with a word."""
    table = re.search(rf"^\| {first} \|.*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.M)
    rows = [row.strip("|").split("|") for row in table[1].splitlines()]
    return [re.findall(r"`([^`]+)`", row[place]) for row in rows]


def test_the_schema_file_and_the_tables_are_up_to_date():
    assert SCHEMA.read_text(encoding="utf-8") == reference.editor_schema(), "run `make reference`"
    assert reference.write_tables(TEXT) == TEXT, "run `make reference`"


def test_every_table_is_in_the_page_and_every_key_has_a_description():
    for name, table in reference.tables().items():
        assert f"<!-- keys of {name} -->\n{table}" in TEXT
        for line in table.splitlines()[2:]:
            assert not line.endswith("|  |"), f"{name}: {line} has no description"


def test_a_key_that_is_added_to_a_class_is_in_schema_and_table():
    keys = set(re.findall(r"^\| `([\w.]+)`", reference.tables()["Training"], re.M))
    assert {"lr", "optimizer.momentum", "schedule.min_lr", "warm_up"} <= keys
    schema = json.loads(reference.editor_schema())
    assert set(schema["$defs"]["Optimizer"]["properties"]) == {
        key.removeprefix("optimizer.") for key in keys if key.startswith("optimizer.")
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_config_file_names_the_schema_and_fits_it(path):
    text = path.read_text(encoding="utf-8")
    place = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)[1]
    assert (path.parent / place).resolve() == SCHEMA
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


def test_the_schema_refuses_what_the_config_refuses():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for wrong in (
        {"runs": ["a"]},
        {"evaluate": {"level": 1}},
        {"datasets": {"x": {"layout": "lwf"}}},
        {"experiments": {"x": {"train": {"head": {"dropout": 1.5}}}}},
        {"sources": {"x": {"architecture": "VGG 16"}}},
    ):
        assert list(validator.iter_errors(wrong)), wrong


def test_every_label_of_a_layout_is_described():
    for name, cls in datasets.LAYOUTS.items():
        assert cls.model_fields["layout"].annotation.__args__ == (name,)
        assert cls.model_fields["label"].annotation.__args__ == tuple(cls.labels)


def test_modes_are_those_of_the_code():
    modes = [mode[0] for mode in column("mode", 0)]
    assert modes == [*architectures.MODES, f"{architectures.FREEZE}<block>"]


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_is_valid_on_top_of_the_shipped_config(text):
    read_over_shipped(load_configfile(io.StringIO(text)))


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_every_overlay_is_valid_and_listed(path):
    read_over_shipped(load_configfile(path))
    assert [path.name] in column("file", 0)


def read_over_shipped(overlay: dict) -> None:
    """Merge as Snakemake does, and read."""
    merged: dict = {}
    update_config(merged, SHIPPED)
    update_config(merged, overlay)
    read_config(merged)
