"""Download a published file from the first mirror that has it, and check it before it appears.

A transfer that was cut or killed is resumed, from another mirror too (see `partial`). If the
resumed file is wrong, it is downloaded once more from the start.

HTTP is as in RFC 9110: sections 13.1.5 (If-Range), 14.2 (Range), 15.3.7 (206, Partial Content) and
15.5.17 (416, Range Not Satisfiable).
"""

import contextlib
import os
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
import tenacity
import tqdm
import urllib3

from graft.core import files
from graft.core.errors import GraftError
from graft.core.version import VERSION
from graft.download import digest_lock
from graft.download.kinds import is_web_page
from graft.download.partial import Expected, Partial, Unusable

BY_HAND = "downloads"  # files that a person has downloaded are looked for here first
CHUNK = 1 << 17  # bytes; a read returns what has arrived, so a slow mirror fills less
LONGEST_WAIT = 120.0  # seconds, whatever a server asks for

_RETRIED = {408, 425, 429, 500, 502, 503, 504}


class _Broken(Exception):
    """The transfer failed, and another try may succeed."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait  # seconds that the server asks for


class _Session(requests.Session):
    """A session that never follows a redirect to a less safe place."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            before = urllib.parse.urlsplit(resp.url).scheme
            after = urllib.parse.urlsplit(urllib.parse.urljoin(resp.url, target)).scheme
            if after not in {"http", "https"} or (before == "https" and after == "http"):
                raise Unusable(f"redirects from {before} to {after}, which is refused")
        return target


@dataclass(frozen=True)
class _Mirror:
    """An http(s) or `file:` URL, or a path; and how patiently it is requested (see `fetch`)."""

    address: str
    session: requests.Session
    retries: int
    backoff: float
    timeout: float

    @property
    def name(self) -> str:
        """The address without credentials, query and fragment."""
        if "://" not in self.address:
            return self.address
        parts = urllib.parse.urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def obtain(self, part: Partial) -> str:
        """Complete the partial file; returns its sha256, checked. Raises Unusable."""
        path = self._local_path()
        if path is not None:
            part.copy(path)
            return part.check()
        if not (part.expected.digests or part.whole or part.version(self.name)):
            part.restart()  # two versions could be mixed
        restarted = False
        while True:
            if not part.whole:
                self._complete(part)
            try:
                return part.check()
            except Unusable:
                again = part.resumed and not restarted  # the earlier bytes may be the wrong ones
                part.restart()
                restarted = True
                if not again:
                    raise

    def _local_path(self) -> Path | None:
        """The path that the address names, None for http and https."""
        if not re.match(r"file:|[a-z][a-z0-9+.-]*://", self.address, re.IGNORECASE):
            return Path(self.address).expanduser()
        parts = urllib.parse.urlsplit(self.address)
        if parts.scheme in {"http", "https"}:
            return None
        if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
            raise Unusable("is not an http, https or file: URL on this machine, nor a path")
        return Path(urllib.request.url2pathname(parts.path))

    def _complete(self, part: Partial) -> None:
        """Get what the partial file lacks; every byte gained earns new tries."""

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.wait if isinstance(error, _Broken) else 0.0
            return min(max(asked, self.backoff * 2 ** (state.attempt_number - 1)), LONGEST_WAIT)

        def announce(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            print(
                f"{self.name} {error}. Next try in {state.upcoming_sleep:.3g} s.", file=sys.stderr
            )

        furthest = part.size
        try:
            for attempt in tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(_Broken),
                stop=tenacity.stop_after_attempt(self.retries + 1),
                wait=wait,
                before_sleep=announce,
                reraise=True,
            ):
                with attempt:
                    try:
                        self._transfer(part)
                    finally:
                        if part.size > furthest:
                            furthest = part.size
                            attempt.retry_state.attempt_number = 1
        except _Broken as error:
            raise Unusable(f"{error} (tries: {self.retries + 1})") from error

    def _transfer(self, part: Partial) -> None:
        """Append one response to the partial file; raises _Broken if bytes are still missing."""
        expected = part.expected
        with self._request(part) as response:
            start, total = _span(response)
            data = _read(response, part)
            if start == 0 and is_web_page(data):
                kind = response.headers.get("Content-Type", "of no type")
                raise Unusable(
                    f"answers with a web page ({kind}) instead of the file, perhaps to log in or "
                    "to confirm"
                )
            expected.check_size(total)
            if start == 0:
                part.restart()
            part.resumed = part.size > 0
            part.note(mirror=self.name, version=_version(response) or part.version(self.name))
            total = total if expected.size is None else expected.size
            with tqdm.tqdm(
                desc=expected.name,
                initial=part.size,
                total=total,
                unit="B",
                unit_scale=True,
                mininterval=0.2 if sys.stderr.isatty() else 10,
            ) as bar:
                while data and (total is None or part.size <= total):
                    part.write(data)
                    bar.update(len(data))
                    data = _read(response, part)
        if total is not None and part.size < total:
            raise _Broken(f"cut the connection at {part.size} bytes")

    def _request(self, part: Partial) -> requests.Response:
        """A response with the whole file or with what `part` lacks (416: nothing is missing)."""
        headers = {"Accept-Encoding": "identity", "User-Agent": f"graft/{VERSION}"}
        size, version = part.size, part.version(self.name)
        if size:
            headers |= {"Range": f"bytes={size}-"} | ({"If-Range": version} if version else {})
        try:
            response = self.session.get(
                self.address, headers=headers, stream=True, timeout=self.timeout
            )
        except (requests.RequestException, ValueError) as error:
            lasting = isinstance(error, requests.exceptions.SSLError)
            lasting |= not isinstance(error, requests.ConnectionError | requests.Timeout)
            failure = Unusable if lasting else _Broken
            raise failure(f"cannot be reached ({type(error).__name__})") from error
        status = response.status_code
        ranged = size > 0 and status in {206, 416}
        # The response may lack the version.
        same = version is None or _version(response) in {None, version}
        if status == 200 or (ranged and same and _span(response)[0] == size):
            return response
        response.close()
        if ranged:
            part.restart()
            return self._request(part)
        if status in _RETRIED:
            raise _Broken(f"answers HTTP {status}", _retry_after(response))
        raise Unusable(f"answers HTTP {status}")


def _read(response: requests.Response, part: Partial) -> bytes:
    """The next bytes as the server stores them, none at the end: some servers declare a .tgz to be
    a gzip encoding of a .tar."""
    if response.status_code == 416:
        return b""  # its body is a message
    try:
        return response.raw.read1(CHUNK, decode_content=False) or b""
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _Broken(f"cut the connection at {part.size} bytes") from error


def _span(response: requests.Response) -> tuple[int | None, int | None]:
    """The first byte of a response, and the bytes of the whole file; None where unknown."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    header = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", header)
    first, total = match.groups() if match else (None, None)
    end = None if total is None else int(total)
    return end if first is None else int(first), end


def _version(response: requests.Response) -> str | None:
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):  # If-Range takes strong tags only
        return etag
    return response.headers.get("Last-Modified")


def _retry_after(response: requests.Response) -> float:
    """Seconds that the server asks to wait, 0 if it does not."""
    try:
        return urllib3.Retry().get_retry_after(response.raw) or 0.0
    except urllib3.exceptions.InvalidHeader:
        return 0.0


def fetch(
    mirrors: Sequence[str],
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
    locked: bool = False,
    trust: bool = False,
) -> dict[str, files.JsonValue]:
    """Bring a published file to `destination`, whole and with the expected digests.

    mirrors: http(s) or `file:` URLs, or paths (relative ones start from the working directory), in
        the order in which they are tried, after `downloads/<name>`. Local files are copied.
    name: plain file name, for messages and for `downloads/`.
    key: the file's key in the config, for messages, with `<key>.sha256`, `.md5` and `.size`.
    sha256: 64 hexadecimal digits, or the first eight or more where no more are published (by
        torchvision). Without it and an `md5`, GraftError gives the digest of what was downloaded,
        unless that is to be trusted.
    md5: 32 hexadecimal digits; both digests are checked where both are given.
    size: bytes, or None if unknown.
    retries: further tries of a mirror without a new byte, `backoff * 2**n` seconds apart or as the
        server asks, at most LONGEST_WAIT. HTTP 408, 425, 429, 5xx and broken connections are tried
        again; after other errors the next mirror follows at once.
    timeout: seconds to wait for a connection, and for the next bytes.
    manual: how a person gets a file behind a login, e.g. "register at https://...".
    url_key: the mirrors' key in the config, `<key>.url` unless given.
    locked: whether the sha256 is that of the first download (see `digest_lock`).
    trust: whether to take a file without a digest as it comes.

    Returns `name`, `mirror` (without credentials; None if the file was there already), `sha256`,
    `size` (bytes) and `seconds`. Raises GraftError, with nothing at `destination`, if no mirror has
    the file, if no digest is given and none is trusted, or if the disk cannot be written.
    """
    started, destination = time.monotonic(), Path(destination)
    given = {"sha256": sha256, "md5": md5}
    digests = {kind: str(text).strip().lower() for kind, text in given.items() if text is not None}
    expected = Expected(name, key, digests, size, digest_lock.NAME if locked else None)

    def result(mirror: str | None, sha256: str) -> dict[str, files.JsonValue]:
        return {
            "name": name,
            "mirror": mirror,
            "sha256": sha256,
            "size": destination.stat().st_size,
            "seconds": round(time.monotonic() - started, 3),
        }

    by_hand = f"{BY_HAND}/{name}"
    try:
        if expected.digests and destination.is_file():
            with contextlib.suppress(Unusable):
                return result(None, expected.check(destination))
        with contextlib.closing(Partial(destination, expected)) as part, _Session() as session:
            failures = []
            for address in [by_hand, *mirrors] if Path(by_hand).is_file() else mirrors:
                mirror = _Mirror(address, session, retries, backoff, timeout)
                try:
                    digest = mirror.obtain(part)
                except Unusable as error:
                    failures.append(f"{mirror.name} {error}")
                    continue
                if not (expected.digests or trust):
                    part.note(whole=True)
                    raise GraftError(
                        f"config: {key}.sha256 is missing. The downloaded file has sha256 {digest} "
                        f"and {part.size} bytes: compare that with what the publisher gives, enter "
                        "the digest and run again."
                    )
                part.rename(destination)
                for failure in failures:
                    print(f"warning: {key}: {failure}. Used instead: {mirror.name}.")
                return result(mirror.name, digest)
    except OSError as error:
        raise GraftError(
            f"{destination}.part: the file cannot be written ({error.strerror or error}). Correct "
            "that and run again; what has arrived is kept."
        ) from error
    url_key = url_key or f"{key}.url"
    advice = f"Get it by hand ({manual})" if manual else f"Correct {url_key}, or get it"
    if locked and any("has sha256" in failure for failure in failures):
        # Whoever has checked the other file accepts it by removing the entry.
        advice = (
            f"If the publisher has replaced the file and you trust the new one, remove {key} from "
            f"{digest_lock.NAME} and run again; else get the first one"
        )
    raise GraftError(
        f"{key}: {name} cannot be downloaded ({'; '.join(failures) or 'no mirror is listed'}). "
        f"{advice} and put it at {by_hand}."
    )
