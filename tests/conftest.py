"""What all tests share: the library on the path, and the default training settings."""

import copy
import os
from pathlib import Path

import pytest
import torch
import yaml

from graft.config import plan
from graft.config.read import read_config

# Tests run beside the jobs they start; spinning threads would only slow both down.
torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent


def _shipped() -> dict:
    merged: dict = {}
    for name in ("config", "datasets", "sources", "experiments"):
        merged |= yaml.safe_load((ROOT / f"config/{name}.yaml").read_text(encoding="utf-8"))
    return merged


SHIPPED = _shipped()
"""The config as shipped, before defaults."""


def _default_training() -> dict:
    config = copy.deepcopy(SHIPPED)
    config["experiments"]["portraits_sex"]["train"] = {}
    training = plan.hyperparameters(read_config(config), "portraits_sex", "from_scratch")
    return {**training.model_dump(mode="json"), "tune": {}}


TRAIN = _default_training()
"""Training settings as they are when an experiment sets none."""

KIT = Path(os.environ.get("GRAFT_KIT", ROOT.parent / "shared" / "data")).resolve()
"""Real data and weights that stand beside the project and are no part of it."""

needs_kit = pytest.mark.skipif(
    not (KIT / "README.md").exists(),
    reason=f"the real-data kit is not at {KIT.name} beside the project",
)


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """One store for the runs on real pictures, so that what two of them need is made once."""
    return tmp_path_factory.mktemp("store")


SHARED = ("done", "store")
"""Fixtures that take minutes to make; the tests that use one run in one process."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests in tests/real are marked `real`; for pytest-xdist each test gets a group.

    A group runs in one process: the tests that use one of `SHARED`, or else those of a module.
    """

    def group(item: pytest.Item) -> str:
        shared = [name for name in SHARED if name in item.fixturenames]
        return shared[0] if shared else item.path.stem

    for item in items:
        if "real" in item.path.relative_to(ROOT).parts:
            item.add_marker(pytest.mark.real)
        item.add_marker(pytest.mark.xdist_group(group(item)))
    if hasattr(config, "workerinput"):  # the longest first, so that no process ends much later
        slow = [
            *SHARED,
            *dict.fromkeys(group(i) for i in items if i.get_closest_marker("workflow")),
        ]
        items.sort(key=lambda item: (*slow, group(item)).index(group(item)))
