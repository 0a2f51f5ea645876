"""The store: finished artefacts by their identity, shared by working directories.

An entry is a folder `<identity>/` with the outputs of one job and their seal, which has the same
identity: the digest of the recipe and of the inputs' bytes. It appears whole, by one
rename, is read-only, and is checked against its seal before it is used. Results are links into it:
relative ones where store and results lie in the same working directory, so that it can be moved.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePath

from graft.core import seals
from graft.core.errors import GraftError

_KEY = re.compile(r"[0-9a-f]{64}")
_FLAT = re.compile(r"[0-9a-f]{64}[._]")
"""The entries of earlier versions, which were files."""
_TEMPORARY = (".new-", ".old-")
"""Prefixes of entries that are being made or removed."""


def entries(store: Path) -> Iterator[Path]:
    """The entries of a store, in the order of their keys."""
    return (path for path in sorted(store.iterdir()) if _KEY.fullmatch(path.name))


def is_complete(entry: Path, files: Iterable[Path]) -> bool:
    """Whether an entry has a file for each output, the seal among them; nothing is read."""
    return all((entry / file.name).exists() for file in files)


def check(entry: Path) -> None:
    """Raises GraftError if an entry has no seal, another identity, or a file that was changed."""
    names = sorted(path.name for path in entry.iterdir())
    sealing = [entry / name for name in names if seals.is_seal(entry / name)]
    if len(sealing) != 1:
        raise GraftError(f"{entry}: the entry has {len(sealing)} seals instead of one.")
    record = seals.read(sealing[0])["seal"]
    if record["identity"] != entry.name:
        raise GraftError(f"{entry}: the seal has the identity {record['identity']}.")
    outputs = record["outputs"].values()
    seals.check([entry / output["file"] for output in outputs], sealing)


def fetch(entry: Path, files: Iterable[Path]) -> bool:
    """Link a job's outputs to an entry; False if there is none.

    An entry that is damaged is removed, so that it is made again.
    """
    files = list(files)
    if not is_complete(entry, files):
        return False
    try:
        check(entry)
    except GraftError:
        discard(entry)
        return False
    _link(entry, files)
    return True


def put(entry: Path, files: Iterable[Path]) -> None:
    """Make an entry of a job's outputs and replace them by links to it.

    If another process has made the entry in the meantime, the outputs become links to that one.
    Raises OSError if the store cannot be written; the outputs are then as they were.
    """
    files = list(files)
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY[0], dir=entry.parent))
    try:
        for file in files:
            _copy(file, temporary / file.name)
        temporary.chmod(0o755)
        try:
            os.rename(temporary, entry)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            if not fetch(entry, files):
                discard(entry)
                os.rename(temporary, entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _link(entry, files)


def discard(entry: Path) -> None:
    """Remove an entry, at once for others; OSError if this user may not."""
    if entry.exists():
        removed = Path(tempfile.mkdtemp(prefix=_TEMPORARY[1], dir=entry.parent))
        os.replace(entry, removed / entry.name)
        shutil.rmtree(removed, ignore_errors=True)


def entry_of(file: Path, store: Path) -> Path | None:
    """The entry of the store that a result links to."""
    if file.is_symlink():
        entry = file.resolve().parent
        if entry.parent == store.resolve() and _KEY.fullmatch(entry.name):
            return entry
    return None


def unreferenced(
    results: Iterable[Path], store: Path, without: Collection[Path] = frozenset()
) -> Iterator[Path]:
    """The entries that no result links to, and what killed processes and earlier versions left.

    results: the folders whose links count. without: results that are to be removed, and do not.
    """
    links = (link for folder in results for link in _links(folder) if link not in without)
    referenced = {entry_of(link, store) for link in links}
    kept = {entry.name for entry in referenced if entry is not None}
    for path in sorted(store.iterdir()):
        ours = _KEY.fullmatch(path.name) or _FLAT.match(path.name)
        if path.name not in kept and (ours or path.name.startswith(_TEMPORARY)):
            yield path


def mend_links(results: Path, store: Path) -> tuple[int, int]:
    """Make results that link to a store which is gone link to this one.

    A link whose entry is not in this store either is removed: it holds nothing. Returns the numbers
    of links that were redirected and removed. Links to other places are left as they are.
    """
    redirected = removed = 0
    for link in _links(results):
        key, name = ("", *PurePath(os.readlink(link)).parts)[-2:]
        wanted = store / key / name
        if _KEY.fullmatch(key) and wanted.exists():
            if not link.exists() or not link.samefile(wanted):
                _replace_by_link(link, wanted)
                redirected += 1
        elif (_KEY.fullmatch(key) or _FLAT.match(name)) and not link.exists():
            link.unlink()
            removed += 1
    return redirected, removed


def _links(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as items:
            for item in items:
                if item.is_symlink():
                    yield Path(item.path)
                elif item.is_dir():
                    yield from _links(Path(item.path))
    except FileNotFoundError:
        return


def _copy(file: Path, target: Path) -> None:
    """A file of an entry: the output itself where the file system allows, readable for all."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copy2(file, target)
    target.chmod(0o444)


def _link(entry: Path, files: Iterable[Path]) -> None:
    for file in files:
        _replace_by_link(file, entry / file.name)


def _replace_by_link(file: Path, target: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.link")
    temporary.unlink(missing_ok=True)
    os.symlink(_written(target, file), temporary)
    os.replace(temporary, file)


def _written(target: Path, file: Path) -> str:
    """How a link names its target: relative where both lie in the working directory."""
    here, target = os.path.realpath("."), Path(os.path.realpath(target))
    folder = os.path.realpath(file.parent)
    if os.path.commonpath([here, target]) == here == os.path.commonpath([here, folder]):
        return os.path.relpath(target, folder)
    return str(target)
