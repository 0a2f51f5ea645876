"""Data sets of several others, and the registry of layouts."""

from collections import Counter

from builders import FOLDER, MERGED, build_rows, make_tar, overlay

from graft.config import stages
from graft.config.read import read_config
from graft.datasets import samples, table
from graft.download.archives import named


def test_a_merged_set_holds_the_rows_of_its_members(tmp_path):
    same = {f"cat/{i}.png": bytes([i]) for i in range(16)}
    files = {
        "mine": same | {f"dog/{i}.png": b"dog %d" % i for i in range(16)},
        "more": same | {f"hound/{i}.png": b"hound %d" % i for i in range(16)},
    }
    for name, pictures in files.items():
        (tmp_path / name / "raw").mkdir(parents=True)
        make_tar(tmp_path / name / "raw/x.tar", pictures)
    paths = [tmp_path / "mine/raw/x.tar", tmp_path / "more/raw/x.tar"]
    archives = named(paths, "both")
    assert archives == {"mine/x.tar": paths[0], "more/x.tar": paths[1]}
    assert named(paths[:1], "mine") == {"x.tar": paths[0]}
    member = {
        "files": {"x.tar": {"url": ["x.tar"], "md5": "0" * 32}},
        "options": {"group": "^(\\d+)"},
    }
    spec = stages.structure(
        read_config(
            overlay(
                "both",
                mine=FOLDER | member,
                more=FOLDER | member | {"classes": {"rename": {"hound": "dog"}}},
                both=MERGED | {"classes": {"only": ["cat", "dog"]}},
            )
        ),
        "both",
    )
    candidates = samples.samples(spec, archives, [])
    frame, counts = build_rows(candidates, archives, split=spec.split.model_dump())
    dropped = sum(counts["dropped"].values())
    assert counts["kept"] + dropped == 64 and counts["duplicates"] == 16
    assert set(frame["label"]) == {"cat", "dog"}
    assert Counter(frame["archive"]) == {"mine/x.tar": 32, "more/x.tar": 32}
    assert set(frame["group"]) == {f"{name}/{i}" for name in files for i in range(16)}
    # The same pictures lie in both, of other groups: each of them stays in one split.
    cats = frame[frame["label"] == "cat"]
    kept = cats[cats["drop_reason"] == ""]
    assert (kept.groupby("member")["split"].nunique() == 1).all()
    assert set(kept["member"]) == set(cats["member"]) and 0 < dropped == len(cats) - len(kept)
    assert frame["sample_id"].is_unique
    row = frame.iloc[0]
    name = table.sample_name(row["archive"], row["member"])
    data = files[row["archive"].split("/")[0]][row["member"]]
    table.check_sample(row["sample_id"], name, data)


def test_people_of_a_merged_set_stay_out_of_training_if_the_published_test_shows_them(tmp_path):
    """mine is published in splits; of everyone in more one picture is in mine's test."""
    mine = {f"train/{c}/{i}.png": f"train {c} {i}".encode() for c in "ab" for i in range(30)}
    mine |= {f"test/{c}/{i}.png": f"test {c} {i}".encode() for c in "ab" for i in range(10)}
    more = {f"{c}/{c}{i}_0.png": f"test {c} {i}".encode() for c in "ab" for i in range(10)}
    more |= {f"{c}/{c}{i}_1.png": f"more {c} {i}".encode() for c in "ab" for i in range(10)}
    archives = {
        "mine/x.tar": make_tar(tmp_path / "mine.tar", mine),
        "more/x.tar": make_tar(tmp_path / "more.tar", more),
    }
    sets = {"mine": FOLDER, "more": FOLDER | {"options": {"group": "^(.*)_"}}, "both": MERGED}
    spec = stages.structure(read_config(overlay("both", **sets)), "both")
    candidates = samples.samples(spec, archives, [])
    frame, counts = build_rows(candidates, archives, split=FOLDER["split"])
    assert counts["dropped"] == {"duplicate_of_test": 20}
    rest = frame[frame["group"].str.startswith("more/") & (frame["drop_reason"] == "")]
    assert len(rest) == 20 and set(rest["split"]) == {"test"}


def test_a_single_set_is_relabelled_once(tmp_path):
    path = make_tar(tmp_path / "x.tar", {"a/1.png": b"1", "b/2.png": b"2"})
    config = read_config(overlay(mine=FOLDER | {"classes": {"rename": {"a": "b", "b": "a"}}}))
    found = samples.samples(stages.structure(config, "mine"), {"mine.tar": path}, [])
    assert {row.member: row.label for row in found} == {"a/1.png": "b", "b/2.png": "a"}
