"""What a script reaches: every rule on a small project of strings."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.core import syntax
from graft.core.code import Code, Digests

PROJECT = {
    "stage": "from graft.a import used\nused()\n",
    "graft": "",
    "graft.a": """
        from graft import b, c
        from graft.d import helper as h
        LIMIT = 3
        def used(n=LIMIT):
            return b.deep(n) + h()
        def unused():
            return c.other()
        """,
    "graft.b": """
        def deep(n):
            return Thing(n).value()
        class Base:
            def value(self):
                return FACTOR
        class Thing(Base):
            def __init__(self, n): self.n = n
        FACTOR = 2
        """,
    "graft.c": "def other():\n    return 1\n",
    "graft.d": "from graft.e import helper\n",
    "graft.e": "def helper():\n    return 5\ndef alone():\n    return 6\n",
}


def code(**changes) -> Code:
    texts = {**PROJECT, **{name.replace("__", "."): text for name, text in changes.items()}}
    return Code({name: textwrap.dedent(text) for name, text in texts.items()})


def reached(project: Code, script: str = "stage", entries=()) -> set[str]:
    parents = project.reach(script, entries).parents
    return {f"{module}.{name}" for module, name in parents if name}


def digest(project: Code, entries=()) -> str:
    return project.reach("stage", entries).digest()


def test_names_are_followed_through_imports_attributes_bases_and_re_exports():
    assert reached(code()) == {
        *("graft.a.used", "graft.a.LIMIT", "graft.b.deep", "graft.b.Thing", "graft.b.Base"),
        *("graft.b.FACTOR", "graft.e.helper"),
    }


def test_the_chain_tells_how_a_definition_is_reached():
    chain = code().reach("stage").chain(("graft.b", "FACTOR"))
    assert chain == [
        ("stage", ""),
        ("graft.a", "used"),
        ("graft.b", "deep"),
        ("graft.b", "Thing"),
        ("graft.b", "Base"),
        ("graft.b", "FACTOR"),
    ]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("graft.a", "b.deep(n)", "b.deep(n + 1)"),
        ("graft.a", "LIMIT = 3", "LIMIT = 4"),
        ("graft.b", "FACTOR = 2", "FACTOR = 3"),
        ("graft.b", "return FACTOR", "return FACTOR + 0"),
        ("graft.e", "return 5", "return 7"),
        ("graft.b", "self.n = n", "self.n: int = n"),
    ],
)
def test_a_change_of_what_is_reached_changes_the_digest(module, old, new):
    changed = PROJECT[module].replace(old, new)
    assert changed != PROJECT[module]
    assert digest(code(**{module.replace(".", "__"): changed})) != digest(code())


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("graft.a", "return c.other()", "return c.other() + 1"),
        ("graft.c", "return 1", "return 2"),
        ("graft.e", "return 6", "return 60"),
        ("graft.b", "FACTOR = 2", "FACTOR = 2  # twice"),
        ("graft.b", "def deep(n):", 'def deep(n):\n            """Doc."""'),
        ("graft.b", "class Base:", 'class Base:\n            """Doc."""'),
        ("graft.a", "LIMIT = 3", 'LIMIT = 3\n        """A description."""'),
        ("graft.b", "return Thing(n).value()", "return (\n                Thing(n).value())"),
        ("graft.a", "def unused():", "def new():\n            pass\n        def unused():"),
    ],
)
def test_a_change_of_anything_else_does_not(module, old, new):
    changed = PROJECT[module].replace(old, new)
    assert changed != PROJECT[module]
    assert digest(code(**{module.replace(".", "__"): changed})) == digest(code())


def test_a_replaced_module_gives_what_a_new_project_gives():
    changed = textwrap.dedent(PROJECT["graft.b"].replace("FACTOR = 2", "FACTOR = 3"))
    known = code()
    digest(known)
    assert digest(known.replaced("graft.b", changed)) == digest(code(graft__b=changed))


@pytest.mark.parametrize(
    "text",
    [
        "import os\nif os.name: import graft.c\n",
        "X = {}\nX['a'] = 1\n",
        "for i in range(3): pass\n",
        "print('loaded')\n",
        "try:\n    import missing\nexcept ImportError:\n    missing = None\n",
    ],
)
def test_what_runs_on_import_counts_for_every_imported_module(text):
    one, other = (code(graft__e=PROJECT["graft.e"] + more) for more in ("", text))
    assert digest(one) != digest(other)


def test_decorators_defaults_and_calls_of_unreached_definitions_run_on_import():
    text = PROJECT["graft.e"] + textwrap.dedent(
        """
        def mark(function): return function
        def default(): return 1
        def table(): return {}
        class Meta(type): pass
        @mark
        def alone2(x=default()): return x
        TABLE = table()
        class Unused(metaclass=Meta): pass
        """
    )
    found = reached(code(graft__e=text))
    assert {"graft.e.mark", "graft.e.default", "graft.e.table", "graft.e.Meta"} <= found
    assert not {"graft.e.alone2", "graft.e.TABLE", "graft.e.Unused"} & found


def test_a_class_without_a_constructor_that_is_called_on_import_does_not_count():
    text = PROJECT["graft.e"] + "class Plain: pass\nclass Made:\n    def __init__(self): pass\n"
    found = reached(code(graft__e=text + "A = Plain()\nB = Made()\n"))
    assert "graft.e.Made" in found and "graft.e.Plain" not in found


def test_imports_within_a_function_count_where_the_function_is_reached():
    lazy = "def used():\n    from graft.c import other\n    return other()\n"
    assert "graft.c.other" in reached(code(graft__a=lazy))
    idle = "def used(): pass\ndef unused():\n    import graft.c\n    graft.c.other()\n"
    assert "graft.c.other" not in reached(code(graft__a=idle))


@pytest.mark.parametrize(
    "text",
    [
        "from graft import e\ndef used(): return [e]\n",
        "import graft.e\ndef used(): return graft.e\n",
    ],
)
def test_a_module_that_is_passed_around_counts_whole(text):
    assert {"graft.e.helper", "graft.e.alone"} <= reached(code(graft__a=text))


def test_names_in_string_annotations_and_patterns_count():
    text = """
        class One: pass
        class Two: pass
        class Three: pass
        def used(x: "One | None") -> "list[Two]":
            match x:
                case Three(): pass
        """
    found = reached(code(graft__a=text))
    assert {"graft.a.One", "graft.a.Two", "graft.a.Three"} <= found


REGISTERED = {
    "graft__a": "from graft.kinds import KINDS\ndef used(name): return KINDS[name]()\n",
    "graft__kinds": "from graft.core.registry import Registry\nKINDS = Registry('graft.all')\n",
    "graft__core": "",
    "graft__core__registry": "class Registry:\n    def __init__(self, package): pass\n",
    "graft__all": "",
    "graft__all__cat": """
        from graft.kinds import KINDS
        from graft.c import other
        @KINDS.register("cat")
        def cat(): return other()
        """,
    "graft__all__dog": """
        from graft import kinds
        from graft.e import alone
        @kinds.KINDS.register("dog")
        def dog(): return alone()
        """,
}


def test_of_a_registry_the_chosen_entries_count():
    project, name = code(**REGISTERED), "graft.kinds.KINDS"
    both = reached(project)
    assert {"graft.all.cat.cat", "graft.c.other", "graft.all.dog.dog", "graft.e.alone"} <= both
    cat = reached(project, entries=[(name, "cat")])
    assert {"graft.all.cat.cat", "graft.c.other"} <= cat
    assert not {"graft.all.dog.dog", "graft.e.alone"} & cat
    changed = REGISTERED["graft__all__dog"].replace("alone()", "alone() + 1")
    other = code(**{**REGISTERED, "graft__all__dog": changed})
    assert digest(project, [(name, "cat")]) == digest(other, [(name, "cat")])
    assert digest(project, [(name, "dog")]) != digest(other, [(name, "dog")])
    assert digest(project) != digest(other)


def test_a_file_that_is_named_as_an_asset_counts_by_its_content(tmp_path):
    template = tmp_path / "page.html"
    texts = {
        "stage": "from graft.a import PAGE\nPAGE.read()\n",
        "graft": "",
        "graft.a": "from graft.core import Asset\nPAGE = Asset(__file__, 'page.html')\n",
        "graft.core": "class Asset:\n    def __init__(self, module, name): pass\n",
    }
    digests = []
    for content in ("<p>", "<p>", "<b>"):
        template.write_text(content)
        project = Code(texts, {"graft.a": tmp_path})
        digests.append(project.reach("stage").digest())
        assert list(project.modules["graft.a"].assets("PAGE")) == [template]
    assert digests[0] == digests[1] != digests[2]


@given(
    st.lists(st.sampled_from(["# note", '"""text"""', "def _x(): return 1", "", "_Y = 2"])),
    st.sampled_from(["graft.a", "graft.b", "graft.c", "graft.e"]),
)
def test_comments_strings_and_unreached_definitions_never_change_the_digest(lines, module):
    text = textwrap.dedent(PROJECT[module]) + "\n" + "\n".join(lines) + "\n"
    assert digest(code(**{module.replace(".", "__"): text})) == digest(code())


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("getattr(x, name)", True),
        ("getattr(x, 'name')", False),
        ("setattr(x, n, 1)", True),
        ("globals()['x']", True),
        ("vars(x)", True),
        ("eval('x')", True),
        ("from a import *", True),
        ("import importlib", True),
        ("from importlib import import_module", True),
        ("from importlib import metadata, import_module", True),
        ("from importlib.metadata import entry_points", True),
        ("from importlib.metadata import version", False),
        ("def __getattr__(name): pass", True),
        ("x.get(name)", False),
    ],
)
def test_lookups_that_cannot_be_followed_are_refused(text, refused):
    assert bool(list(syntax.refusals("graft.a", text))) is refused


def test_digests_are_remembered_until_a_file_of_the_code_changes(tmp_path, monkeypatch):
    root, memory = tmp_path / "code", tmp_path / "notes" / "code.json"
    root.mkdir()
    (root / "stage.py").write_text("from other import used\nused()\n")
    (root / "other.py").write_text("def used():\n    return 1\n")
    known = Digests(root, memory).digest("stage", [("models", "a")])
    assert known == Code.read(root).reach("stage", [("models", "a")]).digest()
    with monkeypatch.context() as forbid:
        forbid.setattr(Code, "read", None)
        assert Digests(root, memory).digest("stage", [("models", "a")]) == known
    (root / "other.py").write_text("def used():\n    return 2\n")
    assert Digests(root, memory).digest("stage", [("models", "a")]) != known


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"code": 1, "digests": 2}'])
def test_a_memory_in_another_form_is_not_used(tmp_path, text):
    (tmp_path / "stage.py").write_text("x = 1\n")
    memory = tmp_path / "code.memory"
    memory.write_text(text)
    expected = Code.read(tmp_path).reach("stage").digest()
    assert Digests(tmp_path, memory).digest("stage", []) == expected
