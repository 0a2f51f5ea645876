"""The text in the figures' files: no formula as it is typed, a glyph for every letter."""

import html
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from matplotlib.font_manager import findfont

from graft.reporting.figures import fonts
from graft.reporting.figures.confusion_matrices import confusion_matrices
from graft.reporting.figures.dropped import dropped
from graft.reporting.figures.labels import labels_figure
from graft.reporting.figures.learning_curves import learning_curves
from graft.reporting.figures.learning_rates import learning_rates
from graft.reporting.figures.style import save_svg

OTHER_FAMILY = "STIXGeneral"
"""Comes with matplotlib, and has letters that the figures' own font lacks."""


def drawn(figure, folder):
    """(texts, names of the fonts whose glyphs are used) of a figure's file."""
    save_svg(figure, folder / "figure.svg")
    text = (folder / "figure.svg").read_text(encoding="utf-8")
    glyphs = set(re.findall(r'href="#([^"]+)-[0-9a-f]+"', text))
    texts = [html.unescape(found) for found in re.findall("<!-- (.*?) -->", text, re.DOTALL)]
    return texts, glyphs


def with_losses(*losses, modes=1):
    """Learning curves whose losses are these by epoch."""
    epochs = np.arange(1, len(losses) + 1)
    run = pd.DataFrame({"epoch": epochs, "train_loss": losses, "val_loss": losses})
    run = run.assign(train_accuracy=0.5, val_accuracy=0.5)
    return learning_curves({f"freeze_block{n}": [run] for n in range(1, modes + 1)})


def with_rates(*rates):
    fit = {
        "tuning": [
            {"lr": rate, "transferred_lr_scale": 1, "val": 0.5, "trials": []} for rate in rates
        ],
        "chosen": {"lr": rates[0], "transferred_lr_scale": 1},
        "best_value": 0.5,
    }
    return learning_rates({"fine_tuning": [fit]})


def with_sizes(*sizes, updates=0):
    points = [
        {"train_rows": n, "mean": 0.5, "low": 0.4, "high": 0.6, "updates": updates * n}
        | {"failed": {}, "seeds": {"0": 0.5}}
        for n in sizes
    ]
    return labels_figure(
        {
            **{"metric": "accuracy", "majority_baseline": 0.5, "sizes": list(sizes)},
            **{"modes": {"fine_tuning": points, "from_scratch": points}, "sentences": []},
        }
    )


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (partial(with_losses, 1, 1, 1, 1, 1e4), "100"),
        (partial(with_losses, 1, 1, 1, 1, 1e4, modes=5), "100"),
        (partial(with_losses, 1e-6, 1e-6, 1e-6, 1), "0.01"),
        (partial(with_losses, 1, 1, 1, np.inf, 1e30), "1"),
        (partial(with_losses, 1, 1, 1, np.nan, 30), "10"),
        (partial(with_rates, 0.01, 0.1), "0.01"),
        (partial(with_rates, 1e-6, 1e-4, 1e-2), "0.0001"),
        (partial(with_rates, 0.1), "0.1"),
        (partial(with_sizes, 10, 100, 1000), "100"),
        (partial(with_sizes, 10, 100, 100_000, updates=3), "300,000"),
        (partial(with_sizes, 50), "50"),
    ],
)
def test_a_logarithmic_axis_has_numbers_and_no_formulas(tmp_path, draw, expected):
    texts, glyphs = drawn(draw(), tmp_path)
    texts = [text.replace("\N{MINUS SIGN}", "-") for text in texts]
    assert expected in texts
    assert [text for text in texts if "$" in text or "\\" in text or "mathdefault" in text] == []
    assert glyphs == {"DejaVuSans"}


NAMES = {
    "Latin, Greek, Cyrillic": (["Äpfel & Čaj", "άλφα", "Ёлка"], {"DejaVuSans"}),
    "Arabic and Hebrew": (["قطة", "חתול", "a"], {"DejaVuSans"}),
    "a dollar": (["$5 to $6", r"$\foo$", "a"], {"DejaVuSans"}),
    "a line break": (["two\nlines", "b", "a"], {"DejaVuSans"}),
    "a letter of another font": (["a\u1d81c", "b", "a"], {"DejaVuSans", "STIXGeneral-Regular"}),
}


@pytest.mark.parametrize("kind", NAMES)
def test_every_letter_of_a_class_is_drawn(tmp_path, capsys, kind):
    names, expected = NAMES[kind]
    texts, glyphs = drawn(confusion_matrices({"one": np.eye(3)}, names), tmp_path)
    assert glyphs == expected
    assert capsys.readouterr().out == ""
    assert {" ".join(name.split()) for name in names} <= {" ".join(text.split()) for text in texts}


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["日本", "中国", "a"], "中 国 日 本"),
        (["日本 cat", "日本 dog", "a"], "日 本"),
        (["ไทย", "b\u1d81", "a"], "ท ย ไ"),
        (["".join(map(chr, range(0x4E00, 0x4E0C))), "b", "a"], "and 2 more"),
    ],
)
def test_letters_that_no_installed_font_has_are_named(tmp_path, capsys, monkeypatch, names, named):
    kept = {OTHER_FAMILY, fonts.OWN}
    few = [(name, path) for name, path in fonts.installed() if name in kept]
    monkeypatch.setattr(fonts, "installed", lambda: few)
    fonts.cover.cache_clear()
    drawn(confusion_matrices({"one": np.eye(3)}, names), tmp_path)
    fonts.cover.cache_clear()
    (warning,) = capsys.readouterr().out.splitlines()
    assert warning.startswith("warning: no installed font has ") and named in warning
    assert "\u1d81" not in warning


def test_the_fewest_fonts_are_taken_and_none_without_need():
    assert fonts.cover(frozenset()) == ([], frozenset())
    lacked = frozenset("\u1d81\u1d84")
    assert not lacked & fonts.characters(findfont(fonts.OWN))
    families, without = fonts.cover(lacked)
    assert len(families) == 1 and not without


def test_a_font_file_that_cannot_be_read_has_no_letters(tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert fonts.characters(str(tmp_path / "broken.ttf")) == frozenset()
    assert fonts.characters(str(tmp_path / "absent.ttf")) == frozenset()


def test_reasons_may_be_in_any_script(tmp_path, capsys):
    drawn(dropped({"crop": {"no_ᶁ": 3}}, {"crop": 5}), tmp_path)
    assert capsys.readouterr().out == ""
