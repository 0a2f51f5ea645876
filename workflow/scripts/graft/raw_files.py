"""Raw files: archives as they are published, or drawn in a published layout."""

from pathlib import Path

from graft import downloads, portraits

DRAWN = {"wiki": portraits.render_wiki, "lfw": portraits.render_lfw}


def obtain(
    destination: Path,
    *,
    name: str,
    key: str,
    sha256: str | None,
    size: int | None,
    render: dict | None,
    url: list[str],
    manual: str | None,
) -> dict:
    """Bring the file `name` to `destination`, unpacked if it is a gzipped tar.

    It is drawn if `render` says so (its `kind` and that kind's parameters), else fetched from
    the mirrors in `url` (see `downloads.fetch`). Samples are read by offset later, which a
    compressed archive does not allow. Returns what is known of the file.
    """
    packed = downloads.is_gzip_tar(name)
    published = destination.with_name(name) if packed else destination
    if render:
        drawn = {key: value for key, value in render.items() if key != "kind"}
        DRAWN[render["kind"]](published, **drawn)
        known = {"rendered": render}
    else:
        known = downloads.fetch(
            url, published, sha256=sha256, size=size, name=name, key=key, manual=manual
        )
    if packed:
        downloads.unpack_gzip(published, destination)
        published.unlink()
    return known
