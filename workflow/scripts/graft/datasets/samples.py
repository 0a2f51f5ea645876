"""Samples of a data set: read by its layout, relabelled and merged.

A layout describes how published archives name their samples and labels. It is a function in a
module of its name in `layouts`,

    @LAYOUTS.register("lfw")
    def rows(archives, *, label, <options>) -> Iterator[Candidate | Note]

where `archives` maps the names of the data set's files to their paths; `label` and the options are
those of its class in `graft.config.datasets`, which holds their types, bounds and defaults. It
yields every published sample once, in published order; a sample to leave out has a drop reason.
What a person should know of how it read them is a Note.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from graft.config.stages import ReadSettings, StructureSettings
from graft.core.errors import GraftError
from graft.core.registry import Registry
from graft.datasets.relabel import relabel
from graft.datasets.table import Candidate


class Note(NamedTuple):
    """A sentence on how a layout read the samples, for the log and the report."""

    sentence: str


LAYOUTS: Registry[Callable[..., Iterator[Candidate | Note]]] = Registry("graft.datasets.layouts")


def samples(
    settings: StructureSettings, archives: Mapping[str, Path], notes: list[str]
) -> Iterator[Candidate]:
    """The samples of a data set: its own, or one after the other those of the sets it merges.

    `archives` is as `archives.named` gives it. In a merged set archives and groups have the name of
    the set they come from in front. The layouts' notes are appended to `notes` as they come. Raises
    what the layout and `relabel` raise.
    """
    members = chain.from_iterable(
        _of_member(name, member, archives, settings, notes)
        for name, member in settings.read.items()
    )
    return relabel(members, settings.classes, multi=settings.multi, dataset=settings.dataset)


def read(
    settings: ReadSettings, archives: Mapping[str, Path], notes: list[str]
) -> Iterator[Candidate]:
    """The samples that a layout reads from one data set's archives; its notes go to `notes`."""
    for item in LAYOUTS[settings.layout](archives, label=settings.label, **settings.options):
        if isinstance(item, Note):
            notes.append(item.sentence)
        else:
            yield item


def wrong_files(layout: str, reads: str, archives: Iterable[str]) -> GraftError:
    """`files` are not those that a layout reads."""
    return GraftError(
        f"config: the layout {layout} reads {reads}, and the data set's `files` are "
        f"{', '.join(archives) or 'none'}. Correct them."
    )


def _of_member(
    name: str,
    member: ReadSettings,
    archives: Mapping[str, Path],
    settings: StructureSettings,
    notes: list[str],
) -> Iterator[Candidate]:
    prefix = f"{name}/" if settings.merged else ""
    own = {key.removeprefix(prefix): archives[key] for key in archives if key.startswith(prefix)}
    found = relabel(read(member, own, notes), member.classes, multi=settings.multi, dataset=name)
    for candidate in found:
        group = prefix + candidate.group if candidate.group else ""
        yield candidate._replace(archive=prefix + candidate.archive, group=group)
