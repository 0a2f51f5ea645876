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
    sgd = {"name": "sgd", "weight_decay": 0.0005, "clip": 0.0}
    values = training.model_dump(mode="json")
    plain = {"optimizer": {**values["optimizer"], **sgd}, "tune": {}, "lr": 0.01}
    return {**values, **plain, "schedule": {**values["schedule"], "warm_up": 0.0}}


TRAIN = _default_training()
"""Training settings as they are when an experiment sets none, but with plain SGD."""

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


def _group(path: str) -> str:
    """For pytest-xdist: what has one name runs in one process, since it shares finished runs."""
    if path.startswith("tests/real/"):
        return "real"
    of_done = ("test_workflow", "test_soundness", "test_predict_and_export", "test_portable")
    return "done" if Path(path).stem in of_done else path


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests in tests/real are marked `real`."""
    for item in items:
        if "real" in item.path.relative_to(ROOT).parts:
            item.add_marker(pytest.mark.real)
    if hasattr(config, "workerinput"):  # the longest first, so that no process ends much later
        items.sort(
            key=lambda item: not {"real", "workflow"} & {m.name for m in item.iter_markers()}
        )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid.partition("::")[0])

    return Groups(config, log)
