"""Assets: files beside a module that it reads at run time, such as templates and style sheets."""

from pathlib import Path


class Asset:
    """A file in a module's folder or below: `PAGE = Asset(__file__, "templates/page.html")`.

    Write it as a module-level constant with a literal name: the bytes of the file are then part of
    the recipe of every stage that reaches the constant (see `syntax`).
    """

    def __init__(self, module: str, name: str):
        self.path = Path(module).parent / name

    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")
