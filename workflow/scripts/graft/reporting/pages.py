"""HTML pages that need no other file and no network, from the templates beside this."""

import os
from collections.abc import Mapping

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from graft.core.assets import Asset
from graft.core.files import atomic

BASE = Asset(__file__, "templates/base.html")
PARTS = Asset(__file__, "templates/parts.html")
STYLE = Asset(__file__, "templates/style.css")


def write_page(
    path: str | os.PathLike,
    template: Asset,
    *,
    title: str,
    parts: Mapping[str, Asset] | None = None,
    **values: object,
) -> None:
    """Write a page, whole or not at all; every text in `values` is escaped.

    `parts` (name -> file) are templates that the page's own imports, beside parts.html.
    The page is written piece by piece: an iterator in `values` is read while its items are written,
    so a page may be larger than memory.
    """
    templates = {"base.html": BASE, "parts.html": PARTS, "page": template, **(parts or {})}
    environment = Environment(
        loader=DictLoader({name: asset.text() for name, asset in templates.items()}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template("page")
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(page.generate(title=title, style=Markup(STYLE.text()), **values))
