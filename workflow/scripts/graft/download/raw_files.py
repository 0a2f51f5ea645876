"""Raw files: archives as published, drawn in a published layout, or packed from a folder."""

from pathlib import Path

from graft.core.raw_names import is_gzip, is_zip
from graft.demo import digits, lfw, wiki
from graft.download import folders, mirrors

DRAWN = {"wiki": wiki.render_wiki, "lfw": lfw.render_lfw, "digits": digits.write}


def obtain(
    destination: Path,
    *,
    name: str,
    key: str,
    sha256: str | None,
    md5: str | None,
    size: int | None,
    render: dict | None,
    tree: str | None,
    url: list[str],
    manual: str | None,
    folder: str | None,
) -> dict:
    """Bring the file `name` to `destination`, unpacked if it is a gzip or a zip file.

    It is drawn if `render` says so (its `kind` and that kind's parameters), packed from `folder`
    if that is given (see `trees`; `tree` is its digest), else fetched from the mirrors in `url`
    (see `mirrors.fetch`). Samples are read by offset later, which a compressed archive does not
    allow. Returns what is known of the file.
    """
    packed = is_gzip(name) or is_zip(name)
    published = destination.with_name(name) if packed else destination
    if folder:
        known = {"packed": folders.pack(folder, published, tree=tree, key=key)}
    elif render:
        drawn = {key: value for key, value in render.items() if key != "kind"}
        DRAWN[render["kind"]](published, **drawn)
        known = {"rendered": render}
    else:
        known = mirrors.fetch(
            url,
            published,
            sha256=sha256,
            md5=md5,
            size=size,
            name=name,
            key=key,
            manual=manual,
        )
    if packed:
        unpack = folders.unpack_zip if is_zip(name) else mirrors.unpack_gzip
        unpack(published, destination)
        published.unlink()
    return known
