"""Fetching published files: mirrors, resumption, and digests checked before a file appears.

A transfer goes into `<destination>.part`, which outlives failures and kills: the next call
asks only for the bytes that are missing. Beside it, `<destination>.part.json` says what the
partial file belongs to. The finished file is renamed to its destination after its size and
digests have been checked, so whatever stands at the destination is whole and right.

Resuming follows RFC 9110: sections 13.1.5 (If-Range), 14.2 (Range), 15.3.7 (206, Partial
Content) and 15.5.17 (416, Range Not Satisfiable).
"""

import contextlib
import email.utils
import fcntl
import functools
import gzip
import hashlib
import json
import os
import re
import shutil
import sys
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
import tqdm
import urllib3

from graft.core import files
from graft.core.errors import GraftError
from graft.core.version import VERSION

BY_HAND = "downloads"  # files that a person has fetched are looked for here first
CHUNK = 1 << 17  # bytes; a read returns what has arrived, so a slow mirror fills less
LONGEST_WAIT = 120.0  # seconds; however long a server asks us to stay away

_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}


class _Unusable(Exception):
    """This mirror cannot give the file: go to the next one."""


class _Broken(Exception):
    """The transfer broke off: another try may succeed."""

    def __init__(self, why: str, wait: float = 0.0):
        super().__init__(why)
        self.wait = wait  # seconds that the server asked for


class _Stale(Exception):
    """The mirror has another version than the partial file, which was therefore emptied."""


@dataclass(frozen=True)
class _Wanted:
    """What the config says about a file, and the key to name in a message."""

    name: str
    key: str
    sha256: str | None
    md5: str | None
    size: int | None

    @property
    def certain(self) -> bool:
        """Whether a digest says which file it is."""
        return self.sha256 is not None or self.md5 is not None

    def digests(self, path: Path) -> dict[str, str]:
        """The digests of a file: its sha256, and its md5 if one is expected."""
        found = {"sha256": files.sha256(path)}
        if self.md5 is not None:
            with open(path, "rb") as file:
                found["md5"] = hashlib.file_digest(file, _md5).hexdigest()
        return found

    def objection(self, size: int | None, digests: Mapping[str, str] | None = None) -> str | None:
        """What is wrong with a file of this size and digests, as far as they are known."""
        if None not in (size, self.size) and size != self.size:
            return f"has {size} bytes, expected {self.size} ({self.key}.size)"
        for kind, found in (digests or {}).items():
            expected = getattr(self, kind)
            if expected is not None and not found.startswith(expected):
                return f"has {kind} {found}, expected {expected} ({self.key}.{kind})"
        return None


@dataclass(frozen=True)
class _Body:
    """What a mirror answered: the file from byte `start` on."""

    start: int
    total: int | None  # length of the whole file in bytes, where the mirror tells
    validator: str | None  # changes when the mirror's file does
    read: Callable[[], bytes]  # the next bytes, none at the end


class _Part:
    """The partial file and the note beside it; open for appending and locked."""

    def __init__(self, destination: Path, wanted: _Wanted):
        self.path = destination.with_name(f"{destination.name}.part")
        self._note = destination.with_name(f"{destination.name}.part.json")
        self._wanted = wanted
        destination.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab")  # noqa: SIM115 - open as long as this object is
        self._lock()
        self._about = self._read_note()
        # An earlier call that had no digest to expect left the whole file and its sha256 here.
        known = self._about.get("sha256") == wanted.sha256
        if wanted.sha256 is None:
            known = known and self._about.get("md5") == wanted.md5
        if not known and not (self.whole and wanted.sha256 is None):
            self.restart()
        self.inherited = self.offset > 0  # holds bytes that did not come from this mirror, now

    def _lock(self) -> None:
        # A job whose workflow was killed may live on; two writers would spoil the file.
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path))
        except (BlockingIOError, FileNotFoundError):
            ours = False
        except OSError:  # a file system without locks
            ours = True
        if not ours:
            self._file.close()
            raise GraftError(
                f"{self.path} is being written by another process: wait for it or end it, "
                "then start again"
            )

    def _read_note(self) -> dict:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            note = None
        return note if isinstance(note, dict) else {"sha256": "unknown"}

    @property
    def offset(self) -> int:
        """Bytes that have arrived."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def whole(self) -> bool:
        """Whether nothing is missing (the bytes may still be wrong)."""
        return bool(self._about.get("whole")) or self.offset == self._wanted.size

    def validator(self, mirror: str) -> str | None:
        """What `mirror` called the version that this partial file was cut from, if known."""
        known = self._about.get("mirror") == _shown(mirror)
        return self._about.get("validator") if known else None

    def note(self, **about) -> None:
        """Put down what the partial file belongs to."""
        self._about = {"sha256": self._wanted.sha256, "md5": self._wanted.md5, **about}
        files.write_json(self._note, self._about)

    def restart(self) -> None:
        """Give up what has arrived."""
        self._file.truncate(0)
        self._about = {"sha256": self._wanted.sha256, "md5": self._wanted.md5}
        self.inherited = False

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()  # a kill must not lose what has arrived

    def digests(self) -> dict[str, str]:
        os.fsync(self._file.fileno())
        return self._wanted.digests(self.path)

    def become(self, destination: Path) -> None:
        os.replace(self.path, destination)
        self._note.unlink(missing_ok=True)

    def close(self) -> None:
        if self.offset == 0 and self.path.exists():
            self.path.unlink()
            self._note.unlink(missing_ok=True)
        self._file.close()


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)  # else a hardened Python has none


class _Session(requests.Session):
    """A session that never follows a redirect to a less safe place."""

    def get_redirect_target(self, resp):
        target = super().get_redirect_target(resp)
        if target is not None:
            before = urllib.parse.urlsplit(resp.url).scheme
            after = urllib.parse.urlsplit(urllib.parse.urljoin(resp.url, target)).scheme
            if after not in {"http", "https"} or (before == "https" and after == "http"):
                raise _Unusable(f"redirects from {before} to {after}, which is refused")
        return target


def _shown(mirror: str) -> str:
    """A mirror as it may be printed: without credentials, query and fragment."""
    if "://" not in mirror:
        return mirror
    parts = urllib.parse.urlsplit(mirror)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _local_path(mirror: str) -> Path | None:
    """The path that a `file:` URL or a plain path names; None for http and https."""
    if not re.match(r"file:|[a-z][a-z0-9+.-]*://", mirror, re.IGNORECASE):
        return Path(mirror).expanduser()
    parts = urllib.parse.urlsplit(mirror)
    if parts.scheme in {"http", "https"}:
        return None
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise _Unusable("is not an http, https or file: URL on this machine, nor a path")
    return Path(urllib.request.url2pathname(parts.path))


def _retry_after(response: requests.Response) -> float:
    """Seconds that a Retry-After header (seconds or a date) asks for; 0 without one."""
    text = response.headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _validator(response: requests.Response) -> str | None:
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):  # If-Range takes strong tags only
        return etag
    return response.headers.get("Last-Modified")


def _get(session: requests.Session, url: str, headers: dict, timeout: float) -> requests.Response:
    try:
        return session.get(url, headers=headers, stream=True, timeout=timeout)
    except requests.exceptions.SSLError as error:
        raise _Unusable("offers no secure connection that can be trusted") from error
    except requests.exceptions.Timeout as error:
        raise _Broken(f"did not answer within {timeout:g} s") from error
    except requests.exceptions.ConnectionError as error:
        raise _Broken("cannot be reached") from error
    except (requests.exceptions.RequestException, ValueError) as error:
        raise _Unusable(f"cannot be asked ({type(error).__name__})") from error


@contextlib.contextmanager
def _open_http(
    session: requests.Session, mirror: str, part: _Part, timeout: float
) -> Iterator[_Body]:
    headers = {"Accept-Encoding": "identity", "User-Agent": f"graft/{VERSION}"}
    offset, validator = part.offset, part.validator(mirror)
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    response = _get(session, mirror, headers, timeout)

    def read() -> bytes:
        # Raw bytes: some servers declare a .tgz to be a gzip encoding of a .tar.
        try:
            return response.raw.read1(CHUNK, decode_content=False) or b""
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _Broken(f"cut the connection at {part.offset} bytes") from error

    with response:
        status = response.status_code
        if status in _WORTH_ANOTHER_TRY:
            raise _Broken(f"says HTTP {status}", _retry_after(response))
        if status == requests.codes.ok:  # also when the range was ignored or the version changed
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
            yield _Body(0, total, _validator(response), read)
        elif offset and status in {206, 416}:
            span = re.fullmatch(
                r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "")
            )
            start, total = (span[1], span[2]) if span else (None, None)
            if status == requests.codes.partial_content:
                now = _validator(response)  # may be left out of an answer to If-Range
                fits = start == str(offset) and (None in (validator, now) or validator == now)
            else:  # fits if nothing is missing
                fits = total == str(offset)
                read = bytes
            if not fits:
                part.restart()
                raise _Stale
            total = int(total) if total and total != "*" else None
            yield _Body(offset, total, _validator(response) or validator, read)
        else:
            raise _Unusable(f"says HTTP {status}")


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Unusable(f"cannot be read ({error.strerror})") from error


@contextlib.contextmanager
def _open_local(mirror: str, path: Path, part: _Part, wanted: _Wanted) -> Iterator[_Body]:
    def read() -> bytes:
        with _readable():
            return source.read(CHUNK)

    with contextlib.ExitStack() as stack:
        with _readable():
            source = stack.enter_context(open(path, "rb"))
        about = os.fstat(source.fileno())
        validator = f"{about.st_size}-{about.st_mtime_ns}"
        start = part.offset if part.validator(mirror) == validator else 0
        # What came over the network is given up only for a file that is right.
        if part.offset > start and wanted.certain:
            _refuse(wanted.objection(about.st_size) or wanted.objection(None, wanted.digests(path)))
        source.seek(start)
        yield _Body(start, about.st_size, validator, read)


def _refuse(objection: str | None) -> None:
    if objection is not None:
        raise _Unusable(objection)


def _transfer(mirror: str, body: _Body, part: _Part, wanted: _Wanted) -> None:
    """Write a body to the partial file; raises `_Broken` if it is too short."""
    _refuse(wanted.objection(body.total))
    if body.start == 0:
        part.restart()
    part.note(mirror=_shown(mirror), validator=body.validator)
    total = body.total if wanted.size is None else wanted.size
    with tqdm.tqdm(
        desc=wanted.name,
        initial=body.start,
        total=total,
        unit="B",
        unit_scale=True,
        mininterval=0.2 if sys.stderr.isatty() else 10,
        file=sys.stderr,
    ) as bar:
        while data := body.read():
            part.write(data)
            bar.update(len(data))
            if total is not None and part.offset > total:
                break
    if total is not None and part.offset < total:
        raise _Broken(f"cut the connection at {part.offset} bytes")


def _obtain(
    mirror: str,
    part: _Part,
    wanted: _Wanted,
    opened: Callable[[], contextlib.AbstractContextManager[_Body]],
    *,
    retries: int,
    backoff: float,
) -> str:
    """Complete the partial file from one mirror; returns its checked sha256."""
    if not wanted.certain and not part.whole and part.validator(mirror) is None:
        part.restart()  # no digest would tell that two versions were mixed
    part.inherited = part.offset > 0
    tries, furthest = 0, part.offset
    while True:
        try:
            if not part.whole:
                with opened() as body:
                    _transfer(mirror, body, part, wanted)
        except _Stale:
            continue
        except _Broken as error:
            # Every byte gained earns new tries: a large file may take many connections.
            tries = 1 if part.offset > furthest else tries + 1
            furthest = max(furthest, part.offset)
            if tries > retries:
                raise _Unusable(f"{error} (tries: {tries})") from error
            wait = min(max(error.wait, backoff * 2 ** (tries - 1)), LONGEST_WAIT)
            print(
                f"{wanted.name}: {_shown(mirror)} {error}; trying again in {wait:.3g} s",
                file=sys.stderr,
            )
            time.sleep(wait)
            continue
        digests = part.digests()
        objection = wanted.objection(part.offset, digests)
        if objection is None:
            return digests["sha256"]
        inherited = part.inherited  # then the fault need not be this mirror's
        part.restart()
        if not inherited:
            raise _Unusable(objection)


def fetch(
    mirrors: list[str],
    destination: str | os.PathLike,
    *,
    sha256: str | None,
    size: int | None,
    name: str,
    key: str,
    md5: str | None = None,
    retries: int = 4,
    backoff: float = 1.0,
    timeout: float = 30,
    manual: str | None = None,
    url_key: str | None = None,
) -> dict:
    """Bring a published file to `destination`, whole and with the expected digests.

    `mirrors` are tried in order: http(s) URLs, `file:` URLs, or paths (relative ones start
    from the working directory). Before them, `downloads/<name>` is used if somebody has put
    the file there. Local files are copied and never changed. A transfer that was cut or
    killed is resumed, from another mirror too, because the digest decides in the end.

    name: plain file name, for messages and for `downloads/`.
    key: config key of the file, for messages; the digests and size are `<key>.sha256`,
        `<key>.md5` and `<key>.size`.
    sha256: 64 hex digits, or the first eight or more where no more are published (as
        torchvision does). None is an error, told after one transfer with the digest to enter,
        unless there is an `md5`.
    md5: 32 hex digits, where the publisher gives no sha256; both are checked if both are given.
    size: bytes, or None if unknown.
    retries: further tries per mirror without a new byte, `backoff * 2**n` seconds apart (or
        as long as the server asks for, at most two minutes). HTTP 408, 425, 429, 5xx and
        broken connections are tried again; other errors lead to the next mirror at once.
    timeout: seconds to wait for a connection, and for the next bytes.
    url_key: config key of the mirrors, for messages; `<key>.url` unless given.
    manual: for files behind a login: how to get one by hand, e.g. "register at https://...".

    Returns a dict: `name`, `mirror` (without credentials; None if the file was there
    already), `sha256`, `size` (bytes), `seconds`.

    Raises GraftError if no mirror has the file, if no digest is given, or if the disk cannot
    be written. Nothing appears at `destination` then.
    """
    started = time.monotonic()
    _require_plain(name, key)
    if sha256 is not None:
        sha256 = str(sha256).strip().lower()
        if not re.fullmatch("[0-9a-f]{8,64}", sha256):
            raise GraftError(f"{key}.sha256 is not a sha256: give its 64 hexadecimal digits")
    if md5 is not None:
        md5 = str(md5).strip().lower()
        if not re.fullmatch("[0-9a-f]{32}", md5):
            raise GraftError(f"{key}.md5 is not an md5: give its 32 hexadecimal digits")
    wanted = _Wanted(name, key, sha256, md5, size)
    destination = Path(destination)

    def result(mirror: str | None) -> dict:
        return {
            "name": name,
            "mirror": mirror,
            "sha256": files.sha256(destination),
            "size": destination.stat().st_size,
            "seconds": round(time.monotonic() - started, 3),
        }

    if (
        wanted.certain
        and destination.is_file()
        and wanted.objection(None, wanted.digests(destination)) is None
    ):
        return result(None)
    try:
        with contextlib.closing(_Part(destination, wanted)) as part, _Session() as session:
            said = []
            for mirror in _by_hand(name) + list(mirrors):
                try:
                    path = _local_path(mirror)
                    opened = (
                        functools.partial(_open_http, session, mirror, part, timeout)
                        if path is None
                        else functools.partial(_open_local, mirror, path, part, wanted)
                    )
                    found = _obtain(mirror, part, wanted, opened, retries=retries, backoff=backoff)
                except _Unusable as error:
                    said.append(f"{_shown(mirror)} {error}")
                    continue
                if not wanted.certain:
                    part.note(sha256=found, whole=True)
                    raise GraftError(
                        f"{key}.sha256 is missing: {name}, as fetched, has sha256 {found} and "
                        f"{part.offset} bytes; compare that with what the publisher says, enter "
                        "it and start again"
                    )
                part.become(destination)
                return result(_shown(mirror))
    except OSError as error:
        raise GraftError(
            f"{destination}.part cannot be written ({error.strerror or error}): see to the disk "
            "and start again, what has arrived is kept"
        ) from error
    way_out = (
        f"{manual}, download {name} by hand and put it at {BY_HAND}/{name}"
        if manual
        else f"correct {url_key or key + '.url'} or put the file at {BY_HAND}/{name}"
    )
    tried = "; ".join(said) or "no mirror is listed"
    raise GraftError(f"{name} could not be fetched ({key}): {tried}; {way_out}")


def _by_hand(name: str) -> list[str]:
    path = f"{BY_HAND}/{name}"
    return [path] if Path(path).is_file() else []


def _require_plain(name: str, key: str) -> None:
    if name in {"", ".", ".."} or re.search(r"[/\\\0]", name):
        raise GraftError(f"{key}: {name!r} is not a plain file name; give one without folders")


def unpack_gzip(source: str | os.PathLike, destination: str | os.PathLike) -> int:
    """Decompress a gzip file; returns the bytes written.

    Streamed, and whole or not at all: pictures can be read by offset only from a file that is
    not compressed. Raises GraftError if `source` is missing, empty, truncated or corrupt.
    """
    try:
        with gzip.open(source, "rb") as packed, files.atomic(destination) as temporary:
            with open(temporary, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, CHUNK * 8)
                size = unpacked.tell()
            if size == 0:
                raise EOFError("it is empty")
        return size
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise GraftError(
            f"{source} is truncated or corrupt ({error}): delete it and download it again"
        ) from error
    except FileNotFoundError as error:
        raise GraftError(f"{source} does not exist: download it first") from error
