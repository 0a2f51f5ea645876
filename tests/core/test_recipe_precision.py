"""The recipes of the real stages: exactly the stages that reach a definition follow its changes."""

import ast

import pytest
from conftest import ROOT

from graft.core import syntax
from graft.core.code import IMPORTED, Code

SCRIPTS = ROOT / "workflow" / "scripts"
STAGES = [
    path.stem for path in sorted((ROOT / "workflow/rules").glob("*.smk")) if path.stem != "common"
]
CODE = Code.read(SCRIPTS)
TEXTS = {
    ".".join(path.relative_to(SCRIPTS).with_suffix("").parts): path.read_text(encoding="utf-8")
    for path in sorted(SCRIPTS.rglob("*.py"))
    if path.name != "__init__.py"
}
LIBRARY = [name for name in TEXTS if name.startswith("graft.")]
REACHED = {stage: CODE.reach(stage) for stage in STAGES}
DIGESTS = {stage: reach.digest() for stage, reach in REACHED.items()}


def changed_stages(code: Code) -> set[str]:
    return {stage for stage in STAGES if code.reach(stage).digest() != DIGESTS[stage]}


class Mutation(ast.NodeTransformer):
    """Changes the body or the value of one definition."""

    def __init__(self, name: str):
        self.name, self.done = name, False

    def generic_visit(self, node):
        return node  # definitions within definitions are theirs

    def visit_Module(self, node):
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_FunctionDef(self, node):
        if node.name == self.name:
            node.body.append(ast.parse("_mutated = 1").body[0])
            self.done = True
        return node

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef

    def visit_Assign(self, node):
        if self.name in {
            part.id for t in node.targets for part in ast.walk(t) if isinstance(part, ast.Name)
        }:
            node.value = ast.Tuple([node.value, ast.Constant("mutated")], ast.Load())
            self.done = True
        return node

    def visit_AnnAssign(self, node):
        if isinstance(node.target, ast.Name) and node.target.id == self.name and node.value:
            node.value = ast.Tuple([node.value, ast.Constant("mutated")], ast.Load())
            self.done = True
        return node


@pytest.mark.parametrize("module", LIBRARY)
def test_a_changed_definition_changes_the_recipes_of_exactly_the_stages_that_reach_it(module):
    tried = 0
    for name in CODE.modules[module].items:
        if name == IMPORTED:
            continue
        mutation = Mutation(name)
        tree = mutation.visit(ast.parse(TEXTS[module]))
        assert mutation.done, name
        tried += 1
        wanted = {s for s in STAGES if (module, name) in REACHED[s].parents}
        mutated = CODE.replaced(module, ast.unparse(ast.fix_missing_locations(tree)))
        assert changed_stages(mutated) == wanted, name
    assert tried or not CODE.modules[module].items.keys() - {IMPORTED}


@pytest.mark.parametrize("module", [*LIBRARY, *STAGES])
def test_comments_docstrings_and_formatting_change_no_recipe(module):
    text = TEXTS[module]
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            node.body.insert(0, ast.Expr(ast.Constant("Another docstring.")))
    edited = "# a comment\n" + ast.unparse(ast.fix_missing_locations(tree))
    assert edited != text
    assert changed_stages(CODE.replaced(module, edited)) == set()


def test_the_library_has_no_lookup_that_cannot_be_followed():
    assert [f"{n}: {r}" for n, text in TEXTS.items() for r in syntax.refusals(n, text)] == []
