"""Reading tar archives by offset: right where the archive is sound, an error where it is not."""

import gzip
import io
import tarfile
import tracemalloc
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
from builders import make_tar

from graft.core.errors import GraftError
from graft.download.archives import Archive, by_name, check_name, members

FILES = {
    "root/a.jpg": b"first",
    "root/b/c.jpg": b"x" * 1000,
    "root/empty": b"",
    "d.txt": b"\0" * 512,
}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_agree_with_tarfile_and_give_the_bytes(tmp_path, format):
    long = "/".join(["folder"] * 25) + "/é, long.jpg"
    files = FILES if format == tarfile.USTAR_FORMAT else FILES | {long: b"long"}
    path = make_tar(tmp_path / "a.tar", files, format=format)
    listed = list(members(path))
    with tarfile.open(path) as tar:
        assert listed == [(m.name, m.offset_data, m.size) for m in tar.getmembers()]
    with Archive(path) as archive:
        assert {name: archive.read(offset, size) for name, offset, size in listed} == files


def test_directories_are_skipped_and_names_normalised(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        folder = tarfile.TarInfo("./root")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        tar.addfile(tarfile.TarInfo("./root//a.jpg"))
    assert [member.name for member in members(path)] == ["root/a.jpg"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_in_one_normal_form(tmp_path, form):
    name = unicodedata.normalize(form, "café/à é.jpg")
    path = make_tar(tmp_path / "a.tar", {name: b"x"})
    assert [m.name for m in members(path)] == ["café/à é.jpg"] == [check_name("x.tar", name)]


def test_of_members_of_one_name_the_last_is_what_an_archive_holds(tmp_path):
    again = unicodedata.normalize("NFD", "é.jpg")
    path = make_tar(
        tmp_path / "a.tar", {"b.jpg": b"old", "./b.jpg": b"new", "é.jpg": b"1", again: b"2"}
    )
    held = by_name(path)
    with Archive(path) as archive:
        read = {name: archive.read(offset, size) for name, offset, size in held.values()}
    assert read == {"b.jpg": b"new", "é.jpg": b"2"}


def test_an_archive_without_files_has_no_members(tmp_path):
    assert list(members(make_tar(tmp_path / "a.tar", {}))) == []


def test_the_walk_holds_one_member_at_a_time(tmp_path):
    path = make_tar(tmp_path / "a.tar", {f"{i:06}.jpg": b"" for i in range(3000)})
    tracemalloc.start()
    count = sum(1 for _ in members(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 3000
    assert peak < 300_000  # 3,000 TarInfo objects would take several megabytes


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "absolute"),
        ("../up.jpg", r"'\.\.'"),
        ("root/../../up.jpg", r"'\.\.'"),
        ("root\\..\\up.jpg", "backslash"),
        ("a\0b.jpg", "NUL"),
        ("caf\udce9.jpg", "not UTF-8"),
        ("", "empty"),
        ("./.", "empty"),
    ],
)
def test_a_bad_name_is_refused(name, reason):
    with pytest.raises(GraftError, match=rf"x\.tar: the member name .* {reason}"):
        check_name("x.tar", name)


@pytest.mark.parametrize("name", ["/a.jpg", "a/../b.jpg", "a\\b.jpg", "a\0b.jpg", "caf\udce9.jpg"])
def test_an_archive_with_a_bad_name_is_refused(tmp_path, name):
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("short" if "\0" in name else name)
    if "\0" in name:  # only an extended header can carry it
        info.pax_headers = {"path": name}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    with pytest.raises(GraftError, match=r"a\.tar: the member name"):
        list(members(path))


@pytest.mark.parametrize(
    "type", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_special_files_are_refused(tmp_path, type):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("odd.jpg")
        info.type = type
        info.linkname = "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(GraftError, match=r"a\.tar: the member 'odd\.jpg' is a link"):
        list(members(path))


def test_sparse_files_are_refused(tmp_path):
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("sparse.jpg")
    info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "100"}
    info.size = 1
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(GraftError, match="sparse"):
        list(members(path))


def test_every_truncation_is_noticed(tmp_path):
    whole = make_tar(tmp_path / "a.tar", FILES).read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        last = tar.getmembers()[-1]
    end = last.offset_data + 512  # where the end-of-archive blocks begin
    cut = tmp_path / "cut.tar"
    for length in [*range(0, end + 512, 61), end - 1, end, end + 511]:
        cut.write_bytes(whole[:length])
        with pytest.raises(GraftError, match=r"cut\.tar"):
            list(members(cut))
    cut.write_bytes(whole[: end + 512])  # one of the two closing blocks is left: nothing is lost
    assert len(list(members(cut))) == len(FILES)


def test_a_damaged_header_is_noticed(tmp_path):
    path = make_tar(tmp_path / "a.tar", FILES)
    whole = bytearray(path.read_bytes())
    whole[1024 + 3] ^= 1  # in the second member's name; its checksum no longer holds
    path.write_bytes(whole)
    with pytest.raises(GraftError, match=r"a\.tar: the archive is damaged at byte 1024"):
        list(members(path))


def test_data_after_the_end_is_noticed(tmp_path):
    first = make_tar(tmp_path / "a.tar", {"a": b"1"}).read_bytes()
    second = make_tar(tmp_path / "b.tar", {"b": b"2"}).read_bytes()
    (tmp_path / "both.tar").write_bytes(first + second)
    with pytest.raises(GraftError, match=r"both\.tar: .* has data after its end at byte 1024"):
        list(members(tmp_path / "both.tar"))


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"hello" * 1000, gzip.compress(bytes(4096), mtime=0)]
)
def test_what_is_no_tar_is_refused(tmp_path, data):
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    with pytest.raises(GraftError, match=r"a\.tar: not a readable uncompressed tar"):
        list(members(path))


def test_what_cannot_be_opened_is_refused(tmp_path):
    for path in (tmp_path / "absent.tar", tmp_path):
        with pytest.raises(GraftError, match="cannot be read"):
            list(members(path))
    with pytest.raises(GraftError, match="cannot be read"), Archive(tmp_path / "absent.tar"):
        pass


@pytest.mark.parametrize(("offset", "size"), [(0, 11), (10, 1), (99, 1), (-1, 0), (-1, 5)])
def test_a_short_read_is_refused(tmp_path, offset, size):
    path = tmp_path / "a.tar"
    path.write_bytes(b"0123456789")
    with Archive(path) as archive:
        assert archive.read(2, 3) == b"234"
        assert archive.read(10, 0) == b""
        with pytest.raises(GraftError, match=r"a\.tar: holds no"):
            archive.read(offset, size)


def test_threads_may_share_an_archive(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"".join(i.to_bytes(4, "big") * 256 for i in range(500)))
    with Archive(path) as archive, ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: archive.read(i * 1024, 1024), range(500)))
    assert read == [i.to_bytes(4, "big") * 256 for i in range(500)]
