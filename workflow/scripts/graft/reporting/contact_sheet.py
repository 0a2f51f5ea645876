"""Contact sheets: what a model makes of a folder of pictures, on one page.

The page needs no other file, no network and no script: the crops are small JPEGs within it.
They are grouped by the predicted class, the most confident first; pictures without a
prediction follow, with the reason.
"""

import base64
import html
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np

from graft.core.files import atomic

SIDE = 96
"""Side of a crop on the page, in pixels; larger ones are shrunk."""

QUALITY = 80
"""Of the JPEGs, in libjpeg's 0 to 100."""

MOST = 1000
"""Crops shown of one class: a browser still opens the page; the table has them all."""

REASONS = {
    "unreadable": "No readable picture",
    "no_face": "No face found",
    "low_detection_score": "Something like a face, but the detector was not sure",
    "degenerate_landmarks": "A face that could not be turned upright",
}

_CSS = """
:root { color-scheme: light dark; --page: #fff; --text: #1c1e21; --quiet: #5f6368;
  --line: #e3e5e8; --fill: #f3f6f9; --bar: #0072b2; --warn: #d55e00; --warnfill: #fdf3ec; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --text: #e6e8ea; --quiet: #a2a8ae; --line: #33373c; --fill: #22262a;
    --bar: #56b4e9; --warn: #e69f00; --warnfill: #2b241b; } }
* { box-sizing: border-box; }
body { margin: 1.5rem auto; padding: 0 1.5rem; max-width: 84rem; background: var(--page);
  color: var(--text);
  font: 14px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 .2rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; padding-bottom: .3rem;
  border-bottom: 2px solid var(--line); }
h2 small, .quiet { font-weight: 400; font-size: 14px; color: var(--quiet); }
p { margin: .2rem 0 1rem; max-width: 60rem; }
a { color: inherit; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 1rem 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { padding: .25rem 1.2rem .25rem 0; border-bottom: 1px solid var(--line); text-align: left; }
th { color: var(--quiet); font-weight: 400; }
td + td, th + th { text-align: right; }
.use { border-left: 4px solid var(--warn); background: var(--warnfill); padding: .6rem 1rem;
  margin: 1rem 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, 96px); gap: 1rem .9rem; }
figure { margin: 0; width: 96px; content-visibility: auto; contain-intrinsic-size: 96px 160px; }
.crop { display: flex; width: 96px; height: 96px; border-radius: 4px; background: var(--fill);
  align-items: center; justify-content: center; overflow: hidden; color: var(--quiet); }
.crop img { display: block; width: 100%; height: 100%; object-fit: contain; }
figcaption { font-size: 12px; line-height: 1.35; margin-top: .25rem; }
figcaption b { display: block; font-variant-numeric: tabular-nums; }
figcaption span { display: block; max-height: 2.7em; overflow: hidden; overflow-wrap: anywhere;
  color: var(--quiet); }
.bar { height: 3px; background: var(--line); border-radius: 2px; overflow: hidden;
  margin-top: .25rem; }
.bar i { display: block; height: 100%; background: var(--bar); }
"""

USE = (
    "These are guesses, and a confidence is the model's own opinion of a guess, not how often it "
    "is right: that was measured on the test pictures of its data set and need not hold for these. "
    "For looking, not for deciding: do not use them to sort, admit, price, watch or identify "
    "people, nor to infer anything about a person."
)


class _Entry(NamedTuple):
    """A picture on the page, and where its JPEG lies in the spool."""

    picture: str
    confidence: float
    offset: int
    size: int


class ContactSheet:
    """Collects pictures one by one and writes the page; use as `with ContactSheet(...) as sheet`.

    The crops wait in a nameless file beside the page, so memory grows by a short record a
    picture only.
    """

    def __init__(self, folder: Path, classes: Sequence[str]):
        folder.mkdir(parents=True, exist_ok=True)
        self._spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._predicted: dict[str, list[_Entry]] = {name: [] for name in classes}
        self._dropped: dict[str, list[_Entry]] = {}

    def __enter__(self) -> "ContactSheet":
        return self

    def __exit__(self, *_) -> None:
        self._spool.close()

    def add(self, picture: str, image: np.ndarray, predicted: str, confidence: float) -> None:
        """A picture (its path in the folder), its crop uint8 (h, w, 3) RGB, and its class."""
        self._predicted[predicted].append(self._keep(picture, image, confidence))

    def add_dropped(self, picture: str, image: np.ndarray | None, reason: str) -> None:
        """A picture without a prediction; `image` is the whole of it if it could be read."""
        self._dropped.setdefault(reason, []).append(self._keep(picture, image, float("nan")))

    def write(
        self, path: str | os.PathLike, facts: Mapping[str, str], passed_over: Mapping[str, int]
    ) -> None:
        """Write the page, whole or not at all.

        `facts` are shown at its head, what they are called -> in words; `passed_over` are the
        files that were no pictures, kind -> number.
        """
        with atomic(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(self._page(facts, passed_over))

    def _keep(self, picture: str, image: np.ndarray | None, confidence: float) -> _Entry:
        data = b"" if image is None else _jpeg(image)
        offset = self._spool.seek(0, os.SEEK_END)
        self._spool.write(data)
        return _Entry(picture, confidence, offset, len(data))

    def _page(self, facts: Mapping[str, str], passed_over: Mapping[str, int]) -> Iterator[str]:
        counts = {name: len(entries) for name, entries in self._predicted.items()}
        yield _HEAD
        yield _list(facts)
        yield f'<p class="use">{html.escape(USE)}</p>\n'
        yield from self._contents(counts)
        if passed_over:
            listed = ", ".join(f"{number} {kind}" for kind, number in passed_over.items())
            yield f'<p class="quiet">Passed over, being no pictures: {html.escape(listed)}.</p>\n'
        for number, (name, entries) in enumerate(self._predicted.items()):
            if entries:
                entries.sort(key=lambda entry: (-entry.confidence, entry.picture))
                yield from self._section(f"class{number}", name, entries)
        for reason, entries in sorted(self._dropped.items()):
            yield from self._section(reason, in_words(reason), entries)
        yield "</body>\n</html>\n"

    def _contents(self, counts: Mapping[str, int]) -> Iterator[str]:
        """How many pictures there are of each class and reason, with links to their places."""
        yield "<table>\n<thead><tr><th>predicted</th><th>pictures</th></tr></thead>\n<tbody>\n"
        for number, (name, count) in enumerate(counts.items()):
            yield _row(f"class{number}", name, count)
        for reason, entries in sorted(self._dropped.items()):
            yield _row(reason, f"none: {_lower(in_words(reason))}", len(entries))
        yield "</tbody>\n</table>\n"

    def _section(self, anchor: str, heading: str, entries: Sequence[_Entry]) -> Iterator[str]:
        told = "1 picture" if len(entries) == 1 else f"{len(entries):,} pictures"
        if len(entries) > MOST:
            told += f", the first {MOST:,} of them; the others are in predictions.csv"
        yield f'<section id="{html.escape(anchor)}">\n'
        yield f"<h2>{html.escape(heading)} <small>{told}</small></h2>\n"
        yield '<div class="grid">\n'
        for entry in entries[:MOST]:
            yield self._figure(entry)
        yield "</div>\n</section>\n"

    def _figure(self, entry: _Entry) -> str:
        crop = "no picture"
        if entry.size:
            self._spool.seek(entry.offset)
            data = base64.b64encode(self._spool.read(entry.size)).decode()
            crop = (
                f'<img src="data:image/jpeg;base64,{data}" width="{SIDE}" height="{SIDE}" '
                'loading="lazy" decoding="async" alt="">'
            )
        path, name = html.escape(entry.picture), html.escape(PurePosixPath(entry.picture).name)
        told = ""
        if entry.confidence == entry.confidence:
            share = 100 * entry.confidence
            told = f'<div class="bar"><i style="width:{share:.0f}%"></i></div><b>{share:.0f} %</b>'
        return (
            f'<figure title="{path}"><div class="crop">{crop}</div>'
            f"<figcaption>{told}<span>{name}</span></figcaption></figure>\n"
        )


def in_words(reason: str) -> str:
    """Why a picture has no prediction, for a reader."""
    return REASONS.get(reason, reason.replace("_", " ").capitalize())


_HEAD = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Predictions</title>
<style>{_CSS}</style>
</head>
<body>
<h1>Predictions</h1>
"""


def _jpeg(image: np.ndarray) -> bytes:
    """A picture uint8 (h, w, 3) RGB, shrunk to fit into `SIDE` x `SIDE`, as a JPEG file."""
    scale = SIDE / max(image.shape[:2])
    if scale < 1:
        height, width = (max(1, round(scale * side)) for side in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(image[..., ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _list(facts: Mapping[str, str]) -> str:
    items = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(told)}</dd>\n"
        for name, told in facts.items()
    )
    return f"<dl>\n{items}</dl>\n"


def _row(anchor: str, name: str, count: int) -> str:
    told = html.escape(name)
    linked = f'<a href="#{html.escape(anchor)}">{told}</a>' if count else told
    return f"<tr><td>{linked}</td><td>{count:,}</td></tr>\n"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
