"""Settings of data sets: one sentence for each mistake."""

import copy

import pytest
import yaml
from builders import FOLDER, MERGED, overlay
from conftest import ROOT, SHIPPED
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from graft.config import plan
from graft.config.datasets import LAYOUTS
from graft.config.read import read_config
from graft.core.errors import GraftError


def test_only_folders_of_sets_that_are_needed_are_looked_at():
    config = read_config(overlay("both", mine=FOLDER, more=FOLDER, other=FOLDER, both=MERGED))
    assert plan.folders(config) == [("mine", "mine.tar"), ("more", "mine.tar")]
    assert list(plan.members(config, "both")) == ["mine", "more"]
    assert plan.raw_files(config, "both") == [("mine", "mine.tar"), ("more", "mine.tar")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mine": {"files": {"a.tar": {"folder": "p", "url": ["x"]}}}}, "exactly one of url"),
        ({"mine": {"files": {"a.tar": {}}}}, "exactly one of url"),
        ({"mine": {"files": {"a.zip": {"folder": "p"}}}}, r"a\.zip .* must end in \.tar"),
        ({"mine": {"files": {"a.tar": {"folder": "p", "size": 3}}}}, "both folder and size"),
        ({"mine": {"files": {"a.tar": {"folder": "p", "md5": "0" * 32}}}}, "both folder and md5"),
        ({"mine": {"classes": {"rename": {1: "one"}}}}, r"rename has the key 1, .* Quote it\."),
        (
            {"mine": {"files": {"a.zip": {"url": ["x"]}, "a.tgz": {"url": ["x"]}}}},
            "equal once unpacked",
        ),
        *(
            ({"mine": {"files": {name: {"url": ["x"]}}}}, rf"Use letters.*: write {usable} here,")
            for name, usable in {
                "archive (1).zip": r"archive_1\.zip",
                "My Pets.tar.gz": r"My_Pets\.tar\.gz",
                "café.zip": r"cafe\.zip",
                "写真.zip": r"zip",
                "../x.tar": r"x\.tar",
                "-x.tar": r"x\.tar",
            }.items()
        ),
        ({"mine": {"files": {"a.7z": {"url": ["x"]}}}}, "a 7-Zip archive by its name"),
        ({"mine": {"files": {"a.tar.Z": {"url": ["x"]}}}}, "a compress archive by its name"),
        (
            {"mine": {"files": {"a.tar": {"url": ["x"], "zip_encoding": "cp850"}}}},
            r"zip_encoding, which is for files named \.zip",
        ),
        *(
            (
                {"mine": {"files": {"a.zip": {"url": ["x"], "zip_encoding": page}}}},
                f"zip_encoding is '{page}', which is no code page",
            )
            for page in ("cp-850x", "hex", "undefined", "rot13")
        ),
        ({"mine": {"layout": None}}, r"datasets\.mine\.layout is missing\. Add it, or name"),
        ({"both": {"label": "class"}}, r"datasets\.both has both merge and label"),
        ({"both": {"options": {"group": "(a)"}}}, "has both merge and options"),
        (
            {"both": {"merge": ["mine", "mroe"]}},
            r"'mroe', which is not defined\. Did you mean more",
        ),
        ({"both": {"merge": ["mine", "both"]}}, "names both, which is merged itself"),
        (
            {"both": {"merge": ["mine"]}},
            r"datasets\.both\.merge is \['mine'\]\. Give a list of at least 2",
        ),
        ({"mine": {"classes": {"one_vs_rest": "rest"}}}, "the name of all other classes"),
        ({"mine": {"classes": {"onyl": ["a"]}}}, "Did you mean only"),
    ],
)
def test_a_config_that_says_too_little_or_too_much_is_refused(changes, message):
    sets = {"mine": FOLDER, "more": FOLDER, "both": MERGED}
    changed = {name: spec | changes.get(name, {}) for name, spec in sets.items()}
    with pytest.raises(GraftError, match=message):
        read_config(overlay("both", **changed))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            {"render": {"kind": "digits", "seed": 1}},
            r"of the kind digits, which takes no seed\. Remove it",
        ),
        ({"render": {"kind": "digits", "size": 64}}, r"of the kind digits, which takes no size"),
        (
            {"render": {"kind": "wiki", "seed": 1}},
            r"files\.x\.render is of the kind wiki, which needs people",
        ),
        ({"render": {"kind": "lfw"}}, r"which needs people, pictures, seed. Add"),
        ({"render": {"kind": "wiki", "people": 3, "pictures": 2, "seed": 1}}, "takes no pictures"),
        ({"render": {"kind": "digit"}}, "Did you mean digits"),
        ({"url": ["x"], "md5": "abc"}, r"files\.x\.md5 is 'abc'\. Give 32"),
    ],
)
def test_what_a_file_cannot_be_is_one_sentence(file, message):
    with pytest.raises(GraftError, match=message) as caught:
        read_config(with_dataset(files={"x": file}))
    assert "\n" not in str(caught.value)


def with_dataset(**changes):
    spec = {
        "layout": "mnist",
        "files": {"x-images-idx3-ubyte.gz": {"url": ["x"], "md5": "0" * 32}},
        "label": "digit",
        "crop": "whole",
        "packed_size": 8,
    }
    return SHIPPED | {"datasets": SHIPPED["datasets"] | {"x": spec | changes}}


def test_pictures_may_be_as_small_as_the_digits():
    found = read_config(with_dataset()).datasets["x"]
    assert found.packed_size == 8 and found.files["x-images-idx3-ubyte.gz"].sha256 is None
    with pytest.raises(GraftError, match=r"datasets\.x\.packed_size .* 8"):
        read_config(with_dataset(packed_size=7))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "mnits"}, r"datasets\.x\.layout is 'mnits'\. Did you mean mnist\?"),
        ({"label": "colour"}, r"datasets\.x\.label is 'colour'"),
        ({"options": {"group": "(a)"}}, r"datasets\.x\.options\.group is not a known key"),
        ({"layout": "folder", "label": "digit"}, r"datasets\.x\.label is 'digit'"),
    ],
)
def test_layouts_labels_and_options_are_checked(changes, message):
    with pytest.raises(GraftError, match=message):
        read_config(with_dataset(**changes))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_refuses_a_label_that_it_does_not_have(layout):
    with pytest.raises(GraftError, match=r"datasets\.x\.label is 'colour'"):
        read_config(with_dataset(layout=layout, label="colour"))


@pytest.mark.parametrize(
    ("splits", "read"),
    [
        ("none", "none"),
        ({"train": "A", "test": ["B", "C"]}, {"train": ["A"], "val": None, "test": ["B", "C"]}),
        (None, None),
    ],
)
def test_the_names_of_splits_are_one_or_several(splits, read):
    config = read_config(overlay(mine=FOLDER | {"options": {"splits": splits}}))
    assert config.datasets["mine"].options.model_dump(mode="json")["splits"] == read


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"test": "B"}, r"options\.splits\.train is missing"),
        ({"train": "A", "tset": "B"}, r"options\.splits\.tset is not a known key\. Did you mean"),
        ({"train": ["A", "A"]}, "lists a value twice"),
        ("nothing", r"options\.splits is 'nothing'\. "),
        (True, r"options\.splits is True\. "),
    ],
)
def test_names_of_splits_that_cannot_be_are_refused(splits, message):
    with pytest.raises(GraftError, match=message):
        read_config(overlay(mine=FOLDER | {"options": {"splits": splits}}))


@pytest.mark.parametrize(
    ("classes", "key"),
    [
        ("{only: [yes, no]}", "only.0"),
        ("{only: [cat, off]}", "only.1"),
        ("{only: [0, 1]}", "only.0"),
        ("{only: [cat, ~]}", "only.1"),
        ("{only: [2020-01-01]}", "only.0"),
        ("{only: yes}", "only"),
        ("{one_vs_rest: no}", "one_vs_rest"),
        ("{one_vs_rest: 0}", "one_vs_rest"),
        ("{rename: {cat: yes}}", "rename.cat"),
        ("{rename: {cat: 1.5}}", "rename.cat"),
        ("{rename: {yes: cat}}", "rename"),
        ("{rename: {0: cat}}", "rename"),
        ("{rename: {2020-01-01: cat}}", "rename"),
    ],
)
def test_what_yaml_reads_as_no_text_is_to_be_quoted(classes, key):
    """Bare yes, no, numbers, dates and null as names of classes."""
    with pytest.raises(GraftError, match=rf"datasets\.mine\.classes\.{key} .*[Qq]uote it") as error:
        read_config(overlay(mine=FOLDER | {"classes": yaml.safe_load(classes)}))
    assert "\n" not in str(error.value)


def test_quoted_names_are_classes():
    classes = yaml.safe_load('{only: ["yes", "0"], rename: {"no": "off"}}')
    config = read_config(overlay(mine=FOLDER | {"classes": classes}))
    assert config.datasets["mine"].classes.only == ("yes", "0")
    assert config.datasets["mine"].classes.rename == {"no": "off"}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"near_duplicates": "drop"}, r"split\.near_duplicates is 'drop'"),
        ({"near_duplicates": True}, r"split\.near_duplicates is True"),
        ({"conflicting_labels": "group"}, r"split\.conflicting_labels is 'group'"),
        ({"conflicting_label": "drop"}, r"split\.conflicting_label is not a known key"),
    ],
)
def test_what_is_done_with_repeated_pictures_is_one_of_few_words(split, message):
    with pytest.raises(GraftError, match=message):
        read_config(overlay(mine={**FOLDER, "split": FOLDER["split"] | split}))


@pytest.mark.parametrize("word", ["group", "report", "off", '"off"'])
def test_the_words_are_read_as_yaml_writes_them(word):
    split = FOLDER["split"] | yaml.safe_load(f"near_duplicates: {word}")
    config = read_config(overlay(mine={**FOLDER, "split": split}))
    assert config.datasets["mine"].split.near_duplicates == word.strip('"')


def test_published_recipes_keep_the_published_training_set():
    for name in ("fer2013", "voc2007"):
        merged = copy.deepcopy(SHIPPED)
        update_config(merged, load_configfile(ROOT / "config" / f"{name}.yaml"))
        assert read_config(merged).datasets[name].split.near_duplicates == "report"
