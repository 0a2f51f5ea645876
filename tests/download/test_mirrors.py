"""Downloads: mirrors, resumption after cuts and kills, and no wrong file at the destination."""

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from graft.core.errors import GraftError
from graft.download import mirrors
from graft.download.mirrors import fetch

SCRIPTS = Path(mirrors.__file__).parents[2]
DATA = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)
KEY = "datasets.lfw.files.lfw.tgz"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Site:
    """A web server: its file, its faults, and the requests that it received."""

    def __init__(self):
        self.data = DATA
        self.etag = '"one"'
        self.ranges = True  # honours Range
        self.if_range = True  # honours If-Range
        self.cuts = []  # bytes of the body after which each next answer is cut off
        self.statuses = []  # each next answer is this error
        self.headers = {}  # added to an error
        self.pause = 0.0  # seconds between blocks of 4096 bytes
        self.length = True  # sends Content-Length
        self.encoding = None
        self.modified = None  # Last-Modified
        self.type = None  # Content-Type
        self.requests = []  # (path, Range, If-Range)
        self.sent = 0  # bytes of bodies
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                site.answer(self)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, call):
        asked, condition = call.headers.get("Range"), call.headers.get("If-Range")
        self.requests.append((call.path, asked, condition))
        assert call.headers["Accept-Encoding"] == "identity"
        if call.path == "/missing" or self.statuses:
            call.send_response(404 if call.path == "/missing" else self.statuses.pop(0))
            for name, value in self.headers.items():
                call.send_header(name, value)
            call.send_header("Content-Length", "0")
            call.end_headers()
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.ranges else 0
        if start and condition and self.if_range and condition != self.etag:
            start = 0
        if start >= len(self.data):
            call.send_response(416)
            call.send_header("Content-Range", f"bytes */{len(self.data)}")
            call.send_header("Content-Length", "0")
            call.end_headers()
            return
        call.send_response(206 if start else 200)
        if start:
            call.send_header(
                "Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
            )
        if self.length:
            call.send_header("Content-Length", str(len(self.data) - start))
        if self.etag:
            call.send_header("ETag", self.etag)
        for name, value in (
            ("Last-Modified", self.modified),
            ("Content-Type", self.type),
            ("Content-Encoding", self.encoding),
        ):
            if value:
                call.send_header(name, value)
        call.end_headers()
        body = self.data[start:]
        if self.cuts:
            body = body[: self.cuts.pop(0)]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for at in range(0, len(body), 4096):
                call.wfile.write(body[at : at + 4096])
                self.sent += len(body[at : at + 4096])
                if self.pause:
                    time.sleep(self.pause)
        call.close_connection = True


@pytest.fixture
def site():
    site = Site()
    yield site
    site.close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Every test runs in an empty working directory, with no proxy between it and its server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path


def get(addresses, *, data=DATA, **changes):
    wanted = {"sha256": sha(data), "size": len(data), "name": "lfw.tgz", "key": KEY}
    settings = {"retries": 2, "backoff": 0.001, "timeout": 5}
    return fetch(addresses, Path("raw/lfw.tgz"), **(wanted | settings | changes))


def raw() -> list[str]:
    """The files in the destination's folder."""
    return sorted(path.name for path in Path("raw").iterdir())


def whole(data: bytes = DATA) -> bool:
    """The file is there with the right bytes, and nothing is left beside it."""
    return Path("raw/lfw.tgz").read_bytes() == data and raw() == ["lfw.tgz"]


def test_a_download_shows_its_progress_and_returns_its_origin(site, capsys):
    results = get([f"http://somebody:secret@{site.url[7:]}/lfw.tgz?token=secret"])
    assert whole()
    assert results.pop("seconds") >= 0
    assert results == {
        "name": "lfw.tgz",
        "mirror": f"{site.url}/lfw.tgz",
        "sha256": sha(DATA),
        "size": len(DATA),
    }
    assert "lfw.tgz: 100%" in capsys.readouterr().err
    assert site.requests == [("/lfw.tgz?token=secret", None, None)]


def test_a_file_that_is_there_and_right_is_not_fetched_again(site):
    get([f"{site.url}/lfw.tgz"])
    assert get([f"{site.url}/lfw.tgz"])["mirror"] is None
    assert len(site.requests) == 1


def test_cut_connection_is_resumed_within_a_call(site):
    site.cuts = [100_000, 50_000]
    get([f"{site.url}/lfw.tgz"])
    assert whole()
    assert site.requests == [
        ("/lfw.tgz", None, None),
        ("/lfw.tgz", "bytes=100000-", None),  # the digest decides, no tag is needed
        ("/lfw.tgz", "bytes=150000-", None),
    ]
    assert site.sent == len(DATA)  # no byte travelled twice


def test_progress_earns_new_tries(site):
    site.cuts = [30_000] * 9
    get([f"{site.url}/lfw.tgz"], retries=1)
    assert whole()
    assert site.sent == len(DATA)


def test_next_call_resumes_what_a_failed_one_left(site):
    site.cuts = [100_000]
    with pytest.raises(GraftError, match="cut the connection at 100000 bytes"):
        get([f"{site.url}/lfw.tgz"], retries=0)
    assert raw() == ["lfw.tgz.part"]
    get([f"{site.url}/lfw.tgz"], retries=0)
    assert whole()
    assert site.requests[-1] == ("/lfw.tgz", "bytes=100000-", None)
    assert site.sent == len(DATA)


def test_another_mirror_continues_a_partial_file(site):
    site.cuts = [100_000]
    get([f"{site.url}/a", f"{site.url}/b"], retries=0)
    assert whole()
    assert site.requests == [("/a", None, None), ("/b", "bytes=100000-", None)]


def test_server_that_ignores_ranges_starts_over(site):
    site.ranges, site.cuts = False, [100_000]
    get([f"{site.url}/lfw.tgz"])
    assert whole()
    assert site.sent == len(DATA) + 100_000


@pytest.mark.parametrize("if_range", [True, False], ids=["honoured", "ignored"])
def test_without_a_digest_a_changed_file_is_started_over(site, if_range):
    site.data, site.cuts = OTHER, [100_000]
    with pytest.raises(GraftError):
        get([f"{site.url}/lfw.tgz"], sha256=None, retries=0)
    site.data, site.etag, site.if_range = DATA, '"two"', if_range
    with pytest.raises(GraftError, match=f"has sha256 {sha(DATA)}"):
        get([f"{site.url}/lfw.tgz"], sha256=None, retries=0)
    assert site.requests[1] == ("/lfw.tgz", "bytes=100000-", '"one"')


@pytest.mark.parametrize("etag", ['"one"', 'W/"one"'], ids=["strong", "weak"])
def test_without_a_digest_the_same_version_is_resumed(site, etag):
    """A weak tag cannot be used in If-Range, the date can (RFC 9110, 13.1.5)."""
    date = "Fri, 01 Jan 2021 00:00:00 GMT"
    site.etag, site.modified, site.cuts = etag, date, [100_000]
    site.if_range = etag == '"one"'
    with pytest.raises(GraftError, match="cut the connection"):
        get([f"{site.url}/lfw.tgz?token=secret"], sha256=None, retries=0)
    version = '"one"' if etag == '"one"' else date
    note = json.loads(Path("raw/lfw.tgz.part.json").read_text())
    assert note == {"mirror": f"{site.url}/lfw.tgz", "version": version}
    with pytest.raises(GraftError, match=f"has sha256 {sha(DATA)}"):
        get([f"{site.url}/lfw.tgz"], sha256=None, retries=0)
    assert site.requests[-1] == ("/lfw.tgz", "bytes=100000-", version)
    assert site.sent == len(DATA)


def test_without_a_digest_another_mirror_starts_over(site):
    site.cuts = [100_000]
    with pytest.raises(GraftError, match=f"has sha256 {sha(DATA)}"):
        get([f"{site.url}/a", f"{site.url}/b"], sha256=None, retries=0)
    assert site.requests == [("/a", None, None), ("/b", None, None)]


def test_a_changed_file_is_downloaded_once_more_where_a_digest_is_known(site):
    site.data, site.cuts = OTHER, [100_000]
    with pytest.raises(GraftError):
        get([f"{site.url}/lfw.tgz"], retries=0)
    site.data = DATA
    get([f"{site.url}/lfw.tgz"], retries=0)
    assert whole()
    assert [asked for _, asked, _ in site.requests] == [None, "bytes=100000-", None]


def test_a_file_that_stays_wrong_is_downloaded_only_once_more(site):
    site.cuts = [100_000]
    with pytest.raises(GraftError):
        get([f"{site.url}/lfw.tgz"], retries=0)
    site.data, site.cuts = OTHER, [50_000, len(OTHER), 100_000]
    with pytest.raises(GraftError, match=f"has sha256 {sha(OTHER)}, expected {sha(DATA)}"):
        get([f"{site.url}/lfw.tgz"], retries=1)
    ranges = ["100000-", "150000-", None, "100000-"]
    assert [asked and asked[6:] for _, asked, _ in site.requests[1:]] == ranges
    assert raw() == []


def test_partial_file_with_wrong_bytes_is_downloaded_again_from_the_same_mirror(site):
    site.cuts = [100_000]
    with pytest.raises(GraftError):
        get([f"{site.url}/lfw.tgz"], retries=0)
    Path("raw/lfw.tgz.part").write_bytes(bytes(100_000))
    get([f"{site.url}/lfw.tgz"], retries=0)
    assert whole()


@pytest.mark.parametrize("note", [None, "", "[1]", '{"mirror": 5}'])
def test_without_a_digest_a_partial_file_needs_a_readable_note(site, note):
    Path("raw").mkdir()
    Path("raw/lfw.tgz.part").write_bytes(OTHER[:1000])
    if note is not None:
        Path("raw/lfw.tgz.part.json").write_text(note)
    with pytest.raises(GraftError, match=f"has sha256 {sha(DATA)}"):
        get([f"{site.url}/lfw.tgz"], sha256=None)
    assert site.requests == [("/lfw.tgz", None, None)]


@pytest.mark.parametrize("size", [len(DATA), None])
def test_whole_partial_file_is_only_verified(site, size):
    site.cuts = [100_000]
    with pytest.raises(GraftError):
        get([f"{site.url}/lfw.tgz"], retries=0)
    Path("raw/lfw.tgz.part").write_bytes(DATA)
    get([f"{site.url}/lfw.tgz"], size=size)
    assert whole()
    assert site.sent == 100_000  # nothing more: unasked, or 416


@pytest.mark.parametrize("size", [len(DATA), None])
@pytest.mark.parametrize("extra", [0, 10], ids=["wrong bytes", "too long"])
def test_whole_partial_file_that_is_wrong_is_fetched_again(site, size, extra):
    site.cuts = [100_000]
    with pytest.raises(GraftError):
        get([f"{site.url}/lfw.tgz"], retries=0)
    Path("raw/lfw.tgz.part").write_bytes(bytes(len(DATA) + extra))
    get([f"{site.url}/lfw.tgz"], size=size)
    assert whole()


def test_body_without_a_length_is_measured_by_the_expected_size(site):
    site.length, site.cuts = False, [100_000]
    get([f"{site.url}/lfw.tgz"])
    assert whole()
    assert site.requests[-1][1] == "bytes=100000-"


def test_archive_that_a_server_declares_as_an_encoding_is_kept_packed(site):
    site.data, site.encoding = gzip.compress(DATA), "gzip"
    get([f"{site.url}/lfw.tgz"], data=site.data)
    assert whole(site.data)


def test_wrong_digest_then_a_good_mirror(site):
    Path("bad.tgz").write_bytes(OTHER)
    assert get(["bad.tgz", f"{site.url}/lfw.tgz"])["mirror"] == f"{site.url}/lfw.tgz"
    assert whole()


def test_wrong_digest_everywhere_is_an_error_with_both_digests(site):
    site.data = OTHER
    with pytest.raises(GraftError) as caught:
        get([f"{site.url}/lfw.tgz"])
    assert str(caught.value) == (
        f"{KEY}: lfw.tgz cannot be downloaded ({site.url}/lfw.tgz has sha256 {sha(OTHER)}, "
        f"expected {sha(DATA)} ({KEY}.sha256)). Correct {KEY}.url, or get it and put it at "
        "downloads/lfw.tgz."
    )
    assert raw() == []
    assert len(site.requests) == 1


def test_wrong_size_is_an_error_before_the_transfer(site):
    site.data = OTHER[:-1]
    with pytest.raises(GraftError, match=r"has 299999 bytes, expected 300000 \(datasets\..*size\)"):
        get([f"{site.url}/lfw.tgz"])
    assert raw() == []


def test_after_a_missing_file_the_next_mirror_follows_at_once(site):
    get([f"{site.url}/missing", f"{site.url}/lfw.tgz"])
    assert whole()
    assert [path for path, _, _ in site.requests] == ["/missing", "/lfw.tgz"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_tried_again(site, status, capsys):
    site.statuses = [status, status]
    get([f"{site.url}/lfw.tgz"])
    assert whole()
    assert len(site.requests) == 3
    assert f"HTTP {status}. Next try in 0.002 s." in capsys.readouterr().err


def test_retry_after_is_honoured_in_both_forms_up_to_a_limit(site, monkeypatch):
    waits = []
    monkeypatch.setattr(mirrors.time, "sleep", waits.append)
    site.statuses, site.headers = [503], {"Retry-After": "7"}
    get([f"{site.url}/lfw.tgz"])
    Path("raw/lfw.tgz").unlink()
    site.statuses, site.headers = [503], {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}
    get([f"{site.url}/lfw.tgz"])
    assert waits == [7, mirrors.LONGEST_WAIT]


def test_unreachable_server_is_tried_with_exponential_backoff(site, monkeypatch):
    waits = []
    monkeypatch.setattr(mirrors.time, "sleep", waits.append)
    url = site.url
    site.close()
    with pytest.raises(GraftError, match=r"cannot be reached \(ConnectionError\) \(tries: 4\)"):
        get([f"{url}/lfw.tgz"], retries=3, backoff=1)
    assert waits == [1, 2, 4]


def test_silent_server_is_given_up_after_the_timeout(site):
    site.pause = 1
    with pytest.raises(GraftError, match="cut the connection at 4096 "):
        get([f"{site.url}/lfw.tgz"], retries=0, timeout=0.1)


@pytest.mark.parametrize("form", ["file URL", "quoted", "absolute", "relative", "home"])
def test_local_mirrors_are_copied_and_not_touched(home, monkeypatch, form):
    monkeypatch.setenv("HOME", str(home))
    source = home / "with space.tgz"
    source.write_bytes(DATA)
    source.chmod(0o444)
    before = source.stat()
    mirror = {
        "file URL": f"file://{source}",
        "quoted": source.as_uri(),
        "absolute": str(source),
        "relative": "with space.tgz",
        "home": "~/with space.tgz",
    }[form]
    assert get([mirror])["size"] == len(DATA)
    assert whole()
    made, after = Path("raw/lfw.tgz").stat(), source.stat()
    assert made.st_ino != after.st_ino and after.st_nlink == 1
    assert (after.st_mtime_ns, after.st_mode) == (before.st_mtime_ns, before.st_mode)
    assert made.st_mode & 0o200


def test_wrong_local_file_does_not_cost_what_came_over_the_network(site):
    site.cuts = [100_000]
    Path("bad.tgz").write_bytes(OTHER)
    get([f"{site.url}/lfw.tgz", "bad.tgz", f"{site.url}/lfw.tgz"], retries=0)
    assert whole()
    assert site.sent == len(DATA)


def test_the_downloads_folder_comes_first(site):
    Path("downloads").mkdir()
    Path("downloads/lfw.tgz").write_bytes(DATA)
    assert get([f"{site.url}/lfw.tgz"])["mirror"] == "downloads/lfw.tgz"
    assert whole() and site.requests == []
    assert Path("downloads/lfw.tgz").read_bytes() == DATA


def test_a_failure_names_the_fault_of_each_mirror_and_what_to_do_by_hand(site):
    with pytest.raises(GraftError) as caught:
        get(
            [f"{site.url}/missing", "nowhere.tgz", ".", "file://elsewhere/x", "ftp://old.org/x"],
            manual="register at https://example.org/faces",
        )
    odd = "is not an http, https or file: URL on this machine, nor a path"
    assert str(caught.value) == (
        f"{KEY}: lfw.tgz cannot be downloaded ({site.url}/missing answers HTTP 404; nowhere.tgz "
        "cannot be read (No such file or directory); . cannot be read (Is a directory); "
        f"file://elsewhere/x {odd}; ftp://old.org/x {odd}). Get it by hand (register at "
        "https://example.org/faces) and put it at downloads/lfw.tgz."
    )
    assert raw() == []
    with pytest.raises(GraftError, match=r"\(no mirror is listed\)\. Get it by hand \(register\)"):
        get([], manual="register")


def test_missing_sha256_is_an_error_with_it_and_the_transfer_is_not_repeated(site):
    site.cuts = [100_000]
    for size in (None, len(DATA)):
        with pytest.raises(GraftError) as caught:
            get([f"{site.url}/lfw.tgz"], sha256=None, size=size)
        assert f"{KEY}.sha256 is missing" in str(caught.value)
        assert f"has sha256 {sha(DATA)} and {len(DATA)} bytes" in str(caught.value)
        assert not Path("raw/lfw.tgz").exists()
    get([f"{site.url}/lfw.tgz"], size=None)
    assert whole()
    assert site.sent == len(DATA)


def test_without_a_digest_a_file_may_be_trusted_and_its_digest_is_returned(site):
    site.cuts = [100_000]
    with pytest.raises(GraftError, match="cannot be downloaded"):
        get([f"{site.url}/lfw.tgz"], sha256=None, size=None, trust=True, retries=0)
    found = get([f"{site.url}/lfw.tgz"], sha256=None, size=None, trust=True)
    assert found["sha256"] == sha(DATA) and whole() and raw() == ["lfw.tgz"]
    assert site.sent == len(DATA)  # of one version, so resumed


def test_a_page_is_not_trusted(site):
    site.data, site.type = b"<!-- a --><html>Log in</html>", "text/html"
    with pytest.raises(GraftError, match="answers with a web page"):
        get([f"{site.url}/lfw.tgz"], sha256=None, size=None, trust=True)
    assert raw() == []


def test_another_file_than_the_first_one_is_refused_with_both_digests_and_what_to_do(site):
    site.data = OTHER
    with pytest.raises(GraftError) as caught:
        get([f"{site.url}/lfw.tgz"], size=None, locked=True, trust=True)
    text = str(caught.value)
    assert f"has sha256 {sha(OTHER)}, expected {sha(DATA)} (downloads.lock.yaml)" in text
    assert f"remove {KEY} from downloads.lock.yaml and run again; else get the first one" in text
    site.data = DATA
    assert get([f"{site.url}/lfw.tgz"], size=None, locked=True, trust=True)["size"] == len(DATA)


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><title>Log in</title>", b"\n <HTML lang='en'>"])
@pytest.mark.parametrize("digest", [None, sha(DATA)])
def test_a_web_page_instead_of_the_file_is_named_and_its_digest_is_not_offered(site, page, digest):
    """And what another call has left of the file is kept."""
    site.cuts = [100_000]
    with pytest.raises(GraftError):
        get([f"{site.url}/lfw.tgz"], retries=0)
    part = Path("raw/lfw.tgz.part").read_bytes()
    site.data, site.type, site.ranges = page, "text/html; charset=utf-8", False
    with pytest.raises(GraftError) as caught:
        get([f"{site.url}/lfw.tgz"], sha256=digest, size=None)
    assert "answers with a web page (text/html; charset=utf-8)" in str(caught.value)
    assert sha(page) not in str(caught.value)
    assert not Path("raw/lfw.tgz").exists()
    if digest:
        assert Path("raw/lfw.tgz.part").read_bytes() == part


def test_a_web_page_that_was_saved_by_hand_is_named(site):
    Path("downloads").mkdir()
    Path("downloads/lfw.tgz").write_bytes(b"<!doctype html><title>Quota exceeded</title>")
    with pytest.raises(GraftError, match=r"downloads/lfw.tgz is a web page instead of the file"):
        get([], sha256=None, size=None)


def test_without_a_digest_versions_are_never_mixed(site):
    site.etag, site.data, site.cuts = None, OTHER, [100_000]
    with pytest.raises(GraftError, match="cannot be downloaded"):
        get([f"{site.url}/lfw.tgz"], sha256=None, retries=0)
    site.data = DATA
    with pytest.raises(GraftError, match=sha(DATA)):
        get([f"{site.url}/lfw.tgz"], sha256=None)


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, 5])
def test_malformed_digest_is_refused(digest):
    with pytest.raises(GraftError, match=f"{KEY}.sha256 is .*hexadecimal"):
        get([], sha256=digest)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../lfw.tgz", "/etc/passwd", "a\\b", "a\0"])
def test_names_with_folders_are_refused(name):
    with pytest.raises(GraftError, match="Give a name without folders"):
        get([], name=name)


@pytest.mark.parametrize("target", ["http://plain.example/x", "file:///etc/passwd"])
def test_redirects_to_less_safe_places_are_refused(monkeypatch, target):
    asked = []

    def send(self, request, **settings):
        asked.append(request.url)
        response = requests.Response()
        response.status_code, response.url, response.request = 302, request.url, request
        response.headers["Location"] = target
        response.raw = io.BytesIO()
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    scheme = target.partition(":")[0]
    with pytest.raises(GraftError, match=f"redirects from https to {scheme}, which is refused"):
        get(["https://safe.example/x"])
    assert asked == ["https://safe.example/x"]


def test_redirects_to_equally_safe_places_are_followed(site):
    site.statuses, site.headers = [302], {"Location": "/moved/lfw.tgz"}
    get([f"{site.url}/lfw.tgz"])
    assert whole()
    assert site.requests[-1][0] == "/moved/lfw.tgz"


def test_an_unwritable_folder_is_one_sentence():
    Path("raw").write_text("in the way")
    with pytest.raises(GraftError, match=r"lfw\.tgz\.part: the file cannot be written \(.*\)\. "):
        get(["nowhere"])


DOWNLOADER = """
import sys
from graft.download.mirrors import fetch
fetch([sys.argv[1]], sys.argv[2], sha256=sys.argv[3], size=None, name="lfw.tgz", key="k")
"""


def test_kill_in_mid_download_then_the_same_bytes_with_none_sent_twice(site):
    site.pause = 0.02
    command = [sys.executable, "-c", DOWNLOADER, f"{site.url}/lfw.tgz", "raw/lfw.tgz", sha(DATA)]
    killed = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(SCRIPTS)}, stderr=subprocess.DEVNULL
    )
    part = Path("raw/lfw.tgz.part")
    try:
        limit = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size > 20_000):
            assert killed.poll() is None and time.monotonic() < limit
            time.sleep(0.01)
        # A second one must not write into the same partial file meanwhile.
        with pytest.raises(GraftError, match="another process is writing this file"):
            get([f"{site.url}/lfw.tgz"])
    finally:
        killed.kill()
        killed.wait()
    kept = part.stat().st_size
    assert 20_000 < kept < len(DATA) and raw() == ["lfw.tgz.part"]
    site.pause = 0
    get([f"{site.url}/lfw.tgz"])
    assert whole()
    assert site.requests == [("/lfw.tgz", None, None), ("/lfw.tgz", f"bytes={kept}-", None)]


def test_the_first_digits_of_a_digest_are_checked_where_no_more_are_published(site):
    prefix = sha(DATA)[:8]
    assert get([f"{site.url}/lfw.tgz"], sha256=prefix)["sha256"] == sha(DATA)
    wrong = ("0" if prefix[0] != "0" else "1") + prefix[1:]
    Path("raw/lfw.tgz").unlink()
    with pytest.raises(GraftError, match=f"expected {wrong}"):
        get([f"{site.url}/lfw.tgz"], sha256=wrong)
    assert raw() == []


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_an_md5_is_enough_where_no_sha256_is_published(site):
    site.cuts = [100_000]
    results = get([f"{site.url}/lfw.tgz"], sha256=None, md5=md5(DATA).upper())
    assert whole() and results["sha256"] == sha(DATA)
    assert [asked for _, asked, _ in site.requests] == [None, "bytes=100000-"]
    assert get([f"{site.url}/lfw.tgz"], sha256=None, md5=md5(DATA))["mirror"] is None
    Path("raw/lfw.tgz").write_bytes(OTHER)
    assert get([f"{site.url}/lfw.tgz"], sha256=None, md5=md5(DATA))["mirror"] is not None
    assert whole()


def test_the_next_call_resumes_by_md5_what_a_failed_one_left(site):
    site.cuts = [100_000]
    with pytest.raises(GraftError):
        get([f"{site.url}/lfw.tgz"], sha256=None, md5=md5(DATA), retries=0)
    get([f"{site.url}/lfw.tgz"], sha256=None, md5=md5(DATA))
    assert whole() and site.sent == len(DATA)


def test_a_partial_file_of_another_md5_is_replaced(site):
    site.data, site.cuts = OTHER, [100_000]
    with pytest.raises(GraftError):
        get([f"{site.url}/lfw.tgz"], sha256=None, md5=md5(OTHER), retries=0)
    site.data = DATA
    get([f"{site.url}/lfw.tgz"], sha256=None, md5=md5(DATA))
    assert whole()


@pytest.mark.parametrize("known", ["sha256", "md5"])
def test_of_two_digests_both_are_checked(site, known):
    right = {"sha256": sha(DATA), "md5": md5(DATA)}
    other = {"sha256": sha(OTHER), "md5": md5(OTHER)}
    digests = right | {known: other[known]}
    with pytest.raises(GraftError, match=f"has {known} {right[known]}, expected {other[known]}"):
        get([f"{site.url}/lfw.tgz"], **digests)
    assert raw() == []
    get([f"{site.url}/lfw.tgz"], **right)
    assert whole()


def test_a_file_fetched_without_a_digest_is_kept_for_its_md5(site):
    with pytest.raises(GraftError, match="sha256 is missing"):
        get([f"{site.url}/lfw.tgz"], sha256=None)
    get([f"{site.url}/lfw.tgz"], sha256=None, md5=md5(DATA))
    assert whole() and site.sent == len(DATA)


def test_a_file_fetched_without_a_digest_is_kept_for_both(site):
    with pytest.raises(GraftError, match="sha256 is missing"):
        get([f"{site.url}/lfw.tgz"], sha256=None)
    get([f"{site.url}/lfw.tgz"], md5=md5(DATA))
    assert whole() and site.sent == len(DATA)


@pytest.mark.parametrize("digest", ["", "abc", "g" * 32, sha(DATA)])
def test_a_malformed_md5_is_refused(digest):
    with pytest.raises(GraftError, match=f"{KEY}.md5 is .*hexadecimal"):
        get([], md5=digest)
