"""Raw files: archives as published, drawn in a published layout, or packed from a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from graft.config.stages import DownloadSettings
from graft.core.files import JsonValue
from graft.core.raw_names import is_gzip, is_zip
from graft.download import folders, mirrors
from graft.download.unpack import unpack_gzip, unpack_zip


def obtain(
    destination: Path,
    settings: DownloadSettings,
    *,
    draw: Callable[..., object] | None,
    url: Sequence[str],
    manual: str | None,
    folder: str | None,
) -> dict[str, JsonValue]:
    """Bring a raw file to `destination`, unpacked if it is a gzip or a zip file.

    It is packed from `folder` if that is given (see `folders`), drawn by `draw` if
    `settings.render` is given, and else fetched from `url` (see `mirrors.fetch`, also
    for `manual`). Returns what the seal records of the file's origin.
    """
    name, key = settings.name, settings.key
    packed = is_gzip(name) or is_zip(name)
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
        )
    if packed:
        unpack = unpack_zip if is_zip(name) else unpack_gzip
        unpack(published, destination)
        published.unlink()
    return origin
