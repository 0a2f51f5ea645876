"""Files without a digest: which they are, and the config with digests from elsewhere."""

import pytest
from builders import FOLDER, MERGED, overlay

from graft.config import digests, plan, stages
from graft.config.read import read_config

WITH, A, B = "c" * 64, "a" * 64, "b" * 64


@pytest.fixture
def config():
    mine = FOLDER | {
        "files": {
            "a.zip": {"url": ["a.zip"], "sha256": None},
            "b.tar": {"url": ["b.tar"], "sha256": WITH},
            "c.tar": {"url": ["c.tar"], "md5": "d" * 32},
            "d.tar": {"folder": "photos"},
        }
    }
    raw = overlay("both", mine=mine, more=FOLDER, both=MERGED)
    resnet = {"architecture": "resnet18"}
    raw["sources"] |= {
        "net": resnet | {"weights": {"url": ["net.pth"]}},
        "known": resnet | {"weights": {"url": ["net.pth"]}, "sha256": WITH},
        "named": resnet | {"weights": {"torchvision": "IMAGENET1K_V1"}},
        "own": resnet | {"weights": {"file": "own.pth"}},
    }
    return read_config(raw)


KEYS = ["datasets.mine.files.a.zip", "sources.net"]


def test_what_has_no_digest_is_what_is_fetched_without_one(config):
    assert digests.missing(config) == KEYS
    assert config.download.require_digest is False


def test_a_digest_from_elsewhere_is_as_one_of_the_config(config):
    entered = digests.entered(config, dict(zip(KEYS, (A, B), strict=True)))
    assert digests.missing(entered) == []
    assert stages.download(entered, "mine", "a.tar").sha256 == A
    assert stages.download(entered, "mine", "b.tar").sha256 == WITH
    assert stages.weights(entered, "net").sha256 == B
    assert stages.weights(entered, "known").sha256 == WITH
    assert stages.weights(entered, "own").sha256 is None
    assert plan.raw_files(entered, "both") == plan.raw_files(config, "both")
    assert digests.entered(config, {}) == config
