"""Structuring the real published data; needs the kit (GRAFT_KIT, or ../shared/data)."""

import gzip
import shutil
from collections import Counter

import pytest
from builders import build_rows, read_layout
from conftest import KIT, needs_kit

from graft.datasets.table import check_sample
from graft.download.archives import Archive

SPLIT = {"train": 0.7, "val": 0.1, "test": 0.2, "seed": 0}

pytestmark = needs_kit


def test_wikis_metadata_filter_keeps_the_well_known_rows():
    path = KIT / "imdb-wiki" / "wiki.mat"
    rows = read_layout("imdb_wiki", {"wiki.mat": path}, "sex")
    assert Counter(row.drop_reason for row in rows) == {
        "": 38_138,
        "low_face_score": 19_335,
        "second_face": 4_070,
        "bad_age": 49,
        "no_label": 736,
    }
    stays = [row for row in rows if not row.drop_reason]
    assert Counter(row.label for row in stays) == {"male": 28_601, "female": 9_537}
    assert rows[0].member == "wiki_crop/17/10000217_1981-05-05_2009.jpg"
    assert rows[0].group == "Sami Jauhojärvi" and rows[0].box == "57.29 57.29 198.67 198.67"
    assert all(row.group and row.box for row in stays)


@pytest.fixture(scope="module")
def lfw(tmp_path_factory):
    tar = tmp_path_factory.mktemp("lfw") / "lfw-deepfunneled.tar"
    with gzip.open(KIT / "lfw" / "lfw-deepfunneled.tgz") as packed, open(tar, "wb") as plain:
        shutil.copyfileobj(packed, plain)
    lists = {name: KIT / "lfw" / name for name in ("female_names.txt", "male_names.txt")}
    return {tar.name: tar, **lists}


def test_lfw_by_sex_is_split_by_person_and_by_label(lfw):
    rows = read_layout("lfw", lfw, "sex")
    frame, counts = build_rows(rows, lfw, split=SPLIT, shards={"train": 2})
    assert counts["published"] == counts["kept"] == 2968 and counts["dropped"] == {}
    labels = Counter(frame["label"])
    assert labels == {"male": 2291, "female": 677}
    for split in ("train", "val", "test"):
        held = counts["splits"][split]
        # Chance divides 1,504 people of 2 pictures, give or take.
        assert abs(sum(held.values()) - SPLIT[split] * 2968) <= 0.03 * 2968
        assert abs(held["male"] / sum(held.values()) - 2291 / 2968) < 0.05
    assert counts["uneven"] == []
    assert (frame.groupby("group")["split"].nunique() == 1).all()
    (name,) = set(frame["archive"])
    with Archive(lfw[name]) as archive:
        for row in frame.head(100).itertuples():
            data = archive.read(row.offset, row.size)
            check_sample(row.sample_id, row.member, data)
            assert data.startswith(b"\xff\xd8")


def test_lfw_by_identity_has_every_class_in_training(lfw):
    rows = read_layout("lfw", lfw, "identity", min_pictures=8)
    frame, counts = build_rows(rows, lfw, split=SPLIT)
    assert counts["published"] == 2968
    assert counts["kept"] + counts["dropped"]["too_few_pictures"] == 2968
    classes = set(frame[frame["drop_reason"] == ""]["label"])
    assert set(counts["splits"]["train"]) == classes
    assert all(counts["splits"].values())
