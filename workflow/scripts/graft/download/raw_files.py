"""Raw files: archives as published, drawn in a published layout, or packed from a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from graft.config.stages import DownloadSettings
from graft.core.files import JsonValue
from graft.core.raw_names import compression
from graft.download import folders, kinds, mirrors
from graft.download.unpack import unpack, unpack_zip


def obtain(
    destination: Path,
    settings: DownloadSettings,
    *,
    draw: Callable[..., object] | None,
    url: Sequence[str],
    manual: str | None,
    folder: str | None,
    locked: bool = False,
    trust: bool = False,
) -> dict[str, JsonValue]:
    """Bring a raw file to `destination`, unpacked if its name is that of a compressed file.

    It is packed from `folder` if that is given (see `folders`), drawn by `draw` if
    `settings.render` is given, and else fetched from `url` (see `mirrors.fetch`, also
    for `manual`, `locked` and `trust`). Returns what the seal records of the file's origin. Raises
    what these raise, and GraftError for a file that is of another kind than its name says (see
    `kinds`).
    """
    name, key = settings.name, settings.key
    packed = compression(name)
    published = destination.with_name(name) if packed else destination
    origin: dict[str, JsonValue]
    if folder:
        counts = folders.pack(folder, published, tree=settings.tree, key=f"{key}.folder")
        origin = {"packed": counts}
    elif settings.render and draw:
        draw(published, **settings.render.model_dump(exclude_none=True, exclude={"kind"}))
        origin = {"rendered": settings.render.model_dump(exclude_none=True)}
    else:
        origin = mirrors.fetch(
            url,
            published,
            sha256=settings.sha256,
            md5=settings.md5,
            size=settings.size,
            name=name,
            key=key,
            manual=manual,
            locked=locked,
            trust=trust,
        )
    kinds.check(published, name)
    if packed == "zip":
        unpack_zip(published, destination, encoding=settings.zip_encoding, key=key)
    elif packed:
        unpack(published, destination, packed)
        kinds.check_unpacked(destination, published)
    if packed:
        published.unlink()
    return origin
