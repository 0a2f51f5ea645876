"""IDX files."""

import numpy as np
import pytest
from builders import grey, idx_bytes, pictures_of
from hypothesis import given
from hypothesis.extra import numpy as arrays

from graft.core.errors import GraftError
from graft.datasets import containers, idx


def test_idx_is_read_as_its_specification_says(tmp_path):
    path = tmp_path / "t-images-idx3-ubyte"
    path.write_bytes(bytes.fromhex("00000803 00000002 00000002 00000003 000102030405 fafbfcfdfeff"))
    assert idx.shape(path, 3) == (2, 2, 3)
    assert [tuple(member) for member in idx.members(path)] == [("00000", 16, 6), ("00001", 22, 6)]
    (_, first), (_, second) = pictures_of(path)
    assert first.tolist() == grey([[0, 1, 2], [3, 4, 5]]).tolist()
    assert second.tolist() == grey([[250, 251, 252], [253, 254, 255]]).tolist()
    path.write_bytes(bytes.fromhex("00000801 00000003 070009"))
    assert idx.labels(path).tolist() == [7, 0, 9]
    assert idx.labels(path).dtype == np.uint8


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6)))
def test_idx_survives_writing_and_reading(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("idx") / "x.idx3-ubyte"
    path.write_bytes(idx.encode(values))
    assert path.read_bytes() == idx_bytes(values)
    assert [name for name, _ in pictures_of(path)] == [f"{n:05d}" for n in range(len(values))]
    assert np.array_equal([picture for _, picture in pictures_of(path)], grey(values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda data: b"\x1f\x8b\x08\x08" + data[4:],
            "0x1f8b0808, and IDX of 3 dimensions with 0x00000803",
        ),
        (lambda data: data[:3] + b"\x01" + data[4:], "begins with 0x00000801, and"),
        (lambda data: data[:2] + b"\x0d" + data[3:], "begins with 0x00000d03, and"),
        (lambda data: b"", "begins with 0x, and"),
        (lambda data: data[:9], r"ends within its header\)\. Fetch it again"),
        (lambda data: data[:-1], "has 39 bytes, and its header requires 40"),
        (lambda data: data + b"\0", "has 41 bytes, and its header requires 40"),
        (lambda data: data[:8] + bytes(8), "pictures are of 0 x 0 pixels"),
    ],
)
def test_what_is_no_sound_idx_is_one_sentence(tmp_path, damage, message):
    path = tmp_path / "t-images-idx3-ubyte"
    path.write_bytes(damage(idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))))
    for read in (containers.decoder, lambda path: list(containers.members(path))):
        with pytest.raises(GraftError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_every_truncation_of_idx_is_noticed(tmp_path):
    data = idx_bytes(np.zeros((3, 2, 2), np.uint8))
    path = tmp_path / "t-images-idx3-ubyte"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(GraftError):
            list(idx.members(path))
    with pytest.raises(GraftError, match="cannot be read"):
        list(idx.members(tmp_path / "lost-images-idx3-ubyte"))
