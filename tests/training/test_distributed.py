"""Training on several processes: two on this CPU compute what one does, and write once."""

import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
import ranks
import torch
from conftest import ROOT
from networks import network_of, train_settings
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from graft.core.errors import GraftError
from graft.models import model_file
from graft.training import distributed, launch, train
from graft.training.distributed import Group

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
"""Of weights and of what is measured, after a few epochs in float32."""

# 64 rows in batches of 9 and 10, which two ranks share unequally.
COMMON = {"epochs": 3, "batch_size": 10, "augment": {"flip": True, "shift": 0.1}}
TRAININGS = {
    "head": (
        "feature_extraction",
        "avgpool",
        {"class_weights": "balanced", "balance": "weighted", "label_smoothing": 0.1},
    ),
    "from_scratch": ("from_scratch", "image", {"lr": 0.0001}),
    "frozen_batch_norm": (
        "fine_tuning",
        "image",
        {"batch_norm": "frozen", "unfreeze": {"every": 1}, "ema": 0.9},
    ),
    "tuned": (
        "freeze_block3",
        "block3",
        {"tune": {"lr": [0.1, 0.01], "trials": [0.5]}, "head": {"hidden": [8]}},
    ),
}


def task(data, out, name, **changes):
    mode, cut, options = TRAININGS[name]
    prefix = "" if cut == "image" else f"{cut}-"
    out.mkdir(parents=True, exist_ok=True)
    return partial(
        train.train,
        [data / f"{prefix}train.h5"],
        [data / f"{prefix}val.h5"],
        out / "model.safetensors",
        out / "history.csv",
        source=None if mode == "from_scratch" else data / "source.safetensors",
        warm_up=None,
        settings=train_settings(mode, cut, **{**COMMON, **options, **changes}),
        seed=3,
        name="experiments.test",
        identity="x",
    )


def on_two(run, on_epoch=lambda epoch, row: None):
    return launch.run(run, 2, "cpu", on_epoch)


@pytest.fixture(scope="module", autouse=True)
def findable():
    """Other processes find the tests' modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests"))
        yield


@pytest.fixture(scope="module")
def shared(data, tmp_path_factory):
    """Each training by two processes: (folder, reports, what `on_epoch` was called with)."""
    folder, seen = tmp_path_factory.mktemp("shared"), []
    tasks = [task(data, folder / name, name) for name in TRAININGS]
    found = on_two(partial(ranks.several, tasks), lambda *epoch: seen.append(epoch))
    return folder, dict(zip(TRAININGS, found["reports"], strict=True)), seen


def history(folder):
    return pd.read_csv(folder / "history.csv")


@pytest.mark.parametrize("name", [name for name in TRAININGS if name != "from_scratch"])
def test_two_processes_train_the_model_that_one_does(data, shared, tmp_path, name):
    folder, reports, _ = shared
    report = launch.run(task(data, tmp_path, name), 1, "cpu", lambda epoch, row: None)
    pd.testing.assert_frame_equal(history(folder / name), history(tmp_path), **TOLERANCE)
    alone, _ = model_file.load(tmp_path / "model.safetensors")
    together, _ = model_file.load(folder / name / "model.safetensors")
    assert alone.keys() == together.keys()
    for key, tensor in alone.items():
        torch.testing.assert_close(together[key], tensor, **TOLERANCE, msg=key)
    for key in ("best_epoch", "chosen", "updates", "samples", "transfer"):
        assert reports[name][key] == report[key]


AMPLIFIED = {"the ranks'": 0.002, "torch's": 0.02}
"""How far histories are apart, relatively, by the batch norm that one process has."""


@pytest.mark.parametrize("norm", AMPLIFIED)
def test_many_batch_norms_amplify_what_rounding_changes(data, shared, tmp_path, monkeypatch, norm):
    """Thirteen at random weights. Torch's own of one process sums float32 less exactly."""
    if norm == "the ranks'":
        monkeypatch.setattr(distributed.dist, "all_reduce", lambda values: None)
        monkeypatch.setattr(Group, "whole_batches", lambda self: distributed._WholeBatches())
    launch.run(task(data, tmp_path, "from_scratch"), 1, "cpu", lambda epoch, row: None)
    two = history(shared[0] / "from_scratch")
    pd.testing.assert_frame_equal(two, history(tmp_path), rtol=AMPLIFIED[norm])


def test_epochs_are_reported_once_where_the_training_was_started(shared):
    folder, _, seen = shared
    assert [epoch for epoch, _ in seen] == [1, 2, 3] * len(TRAININGS)
    last = history(folder / "tuned").iloc[-1]
    found = [value for name, value in seen[-1][1].items() if name.endswith(".val_loss")]
    assert found == [pytest.approx(last["val_loss"])]


def test_a_training_whose_rank_is_killed_says_so_and_goes_on(data, shared, tmp_path):
    name = "from_scratch"
    with pytest.raises(GraftError, match="process 1 of 2 .* ended by SIGKILL"):
        on_two(partial(ranks.one_dies, task(data, tmp_path, name), 2))
    assert train.checkpoint_of(tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "model.safetensors").exists()
    resumed = []
    on_two(task(data, tmp_path, name), lambda epoch, row: resumed.append(epoch))
    assert resumed in ([2, 3], [3]), "finished epochs must not be trained again"
    for file in ("model.safetensors", "history.csv"):
        assert (tmp_path / file).read_bytes() == (shared[0] / name / file).read_bytes()


def test_ranks_end_with_the_process_that_waits_for_them(tmp_path):
    code = (
        "import sys; from functools import partial; from pathlib import Path\n"
        "import ranks; from graft.training import launch\n"
        "launch.run(partial(ranks.endless, Path(sys.argv[1])), 2, 'cpu', print)"
    )
    path = f"{ROOT / 'tests'}:{ROOT / 'workflow' / 'scripts'}"
    waiting = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], env={**os.environ, "PYTHONPATH": path}
    )
    files = [tmp_path / "pid-0", tmp_path / "pid-1"]
    try:
        wait_until(lambda: all(f.exists() and f.read_text() for f in files))
    finally:
        waiting.send_signal(signal.SIGKILL)
        waiting.wait()
    wait_until(lambda: not any(alive(int(f.read_text())) for f in files))


def wait_until(done, limit=60):
    end = time.monotonic() + limit
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("rows", "block"), [(10, 1), (7, 1), (2, 1), (700, 256), (100, 256)])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_parts_are_all_rows_in_order_in_whole_blocks(rows, block, size):
    parts = [Group(rank, size).part(rows, block) for rank in range(size)]
    assert np.concatenate([np.arange(rows)[part] for part in parts]).tolist() == list(range(rows))
    assert all(part.start % block == 0 or part.start == rows for part in parts)
    blocks = [-(-(part.stop - part.start) // block) for part in parts]
    assert max(blocks) - min(blocks) <= 1


def test_an_update_of_fewer_samples_than_processes_is_refused():
    with pytest.raises(GraftError, match="training_processes: an update of 2 samples"):
        Group(0, 3).batch(2)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5, 3)])
def test_the_batch_norm_of_all_ranks_is_torchs_where_one_has_all(monkeypatch, shape):
    """Outputs, running statistics and gradients, of float64 in torch, as its sums of float32 are
    less exact. With a single rank a sum is what it has."""
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda values: None)
    torch.manual_seed(0)
    given = [10 + 3 * torch.randn(shape), torch.randn(4), torch.randn(4), torch.randn(shape)]

    def run(function, dtype):
        inputs, weight, bias = (t.to(dtype, copy=True).requires_grad_() for t in given[:3])
        mean, variance = torch.zeros(4, dtype=dtype), torch.ones(4, dtype=dtype)
        outputs = function(inputs, mean, variance, weight, bias, training=True, momentum=0.3)
        (outputs * given[3]).sum().backward()
        return outputs, mean, variance, inputs.grad, weight.grad, bias.grad

    wanted = run(functional.batch_norm, torch.float64)
    for own, tensor in zip(run(distributed.batch_norm, torch.float32), wanted, strict=True):
        torch.testing.assert_close(own.double(), tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("architecture", ["resnet18", "timm/test_efficientnet"])
def test_every_batch_norm_in_training_is_over_all_ranks(monkeypatch, architecture):
    """Also timm's, which has its activation in the same module."""
    seen = []
    monkeypatch.setattr(distributed, "batch_norm", lambda *a, **k: seen.append(k) or a[0])
    network = network_of(architecture, size=64).train()
    with Group(0, 2).whole_batches():
        network.whole(torch.rand(2, 3, 64, 64))
    layers = [m for m in network.backbone.body.modules() if isinstance(m, _BatchNorm)]
    assert len(seen) == len(layers) > 10 and all(call["training"] for call in seen)


def test_of_several_failures_the_one_that_led_to_the_others_is_told(tmp_path):
    def fails(rank, error, second):
        path = tmp_path / f"error-{rank}"
        path.write_bytes(pickle.dumps(error))
        os.utime(path, (second, second))

    killed = launch._cause(tmp_path, {0: -signal.SIGTERM, 1: -signal.SIGKILL}, 2)
    assert "process 1 of 2" in str(killed) and "SIGKILL" in str(killed)
    fails(0, RuntimeError("connection closed by peer"), 5)
    assert "SIGKILL" in str(launch._cause(tmp_path, {0: 1, 1: -signal.SIGKILL}, 2))
    assert "closed" in str(launch._cause(tmp_path, {0: 1, 1: -signal.SIGTERM}, 2))
    fails(1, GraftError("train.lr: too high. Lower it."), 6)
    assert str(launch._cause(tmp_path, {0: 1, 1: 1}, 2)).startswith("train.lr")
    fails(2, OSError(28, "No space left on device"), 4)
    assert launch._cause(tmp_path, {0: 1, 1: 1, 2: 1}, 3).errno == 28
