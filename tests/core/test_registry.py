"""Registries: entries by name, imported on demand."""

import sys

import pytest

from graft.core.registry import Registry


@pytest.fixture
def registry(tmp_path, monkeypatch):
    package = tmp_path / "shapes"
    package.mkdir()
    (package / "__init__.py").write_text("from graft.core.registry import Registry\n")
    (package / "square.py").write_text(
        "import shapes.all\n\n\n@shapes.all.SHAPES.register('square')\ndef draw():\n    return 4\n"
    )
    (package / "empty.py").write_text("")
    (package / "broken.py").write_text("import no_such_module_anywhere\n")
    (package / "all.py").write_text(
        "from graft.core.registry import Registry\n\nSHAPES = Registry('shapes')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("shapes.all").all.SHAPES
    for name in [name for name in sys.modules if name.split(".")[0] == "shapes"]:
        del sys.modules[name]


def test_an_entry_is_imported_when_it_is_asked_for(registry):
    assert "shapes.square" not in sys.modules
    assert registry["square"]() == 4


@pytest.mark.parametrize("name", ["circle", "empty"])
def test_a_name_that_nothing_registers_is_a_key_error(registry, name):
    with pytest.raises(KeyError, match=name):
        registry[name]


def test_a_module_that_cannot_be_imported_says_why(registry):
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        registry["broken"]


def test_registering_returns_the_entry_itself():
    registry: Registry = Registry("graft.none")

    def entry():
        return 1

    assert registry.register("one")(entry) is entry is registry["one"]
