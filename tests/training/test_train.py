"""Training: what is frozen stays, what is resumed equals what was not, the best is kept."""

import functools
import shutil
import types

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TRAIN
from networks import AUGMENT, CPU, SIZE, TRANSFORM, network_of, run, train_settings, write_pack

from graft.config.sources import Transform
from graft.core import hdf5
from graft.core.errors import GraftError
from graft.core.files import canonical_json
from graft.evaluation import evaluate, metrics
from graft.evaluation.failure import fall
from graft.evaluation.warnings import collapse_warning
from graft.images.packs import open_parts
from graft.models import model_file
from graft.training import loop, schedule, train
from graft.training.batches import Batches

MODES = [
    ("from_scratch", "image"),
    ("feature_extraction", "avgpool"),
    ("freeze_block3", "block3"),
    ("fine_tuning", "image"),
]


@pytest.mark.parametrize(("mode", "cut"), MODES)
def test_every_mode_learns_a_task_that_can_be_learnt(data, tmp_path, mode, cut):
    lr = 0.1 if mode == "feature_extraction" else 0.02
    model, report = run(data, tmp_path, mode, cut, epochs=15, lr=lr)
    test = [data / ("test.h5" if cut == "image" else f"{cut}-test.h5")]
    frame, _, _ = evaluate.predict(model, test, test, threads=1, **CPU)
    assert (frame["true"] == frame["predicted"]).mean() >= 0.9
    assert report["transfer"]["imported"] == (
        0 if mode == "from_scratch" else report["transfer"]["of"]
    )


@pytest.mark.parametrize(("mode", "cut"), MODES)
def test_a_training_on_a_part_is_a_training_on_those_samples_alone(data, tmp_path, mode, cut):
    pack = "train.h5" if cut == "image" else f"{cut}-train.h5"
    rows = train.subset(open_parts([data / pack]), 10, 3, "e")
    alone = tmp_path / "alone"
    shutil.copytree(data, alone)
    with h5py.File(data / pack) as file, h5py.File(alone / pack, "w") as part:
        name = "images" if cut == "image" else "features"
        chosen = np.flatnonzero(np.isin(hdf5.read_strings(file, "sample_id"), rows.sample_ids))
        part[name] = file[name][...][chosen]
        for column in ("labels", "sample_id", "group"):
            part[column] = file[column][...][chosen]
        part.attrs["classes"] = file.attrs["classes"]
    settings = train_settings(mode, cut, epochs=2, batch_size=4)
    model, report = run(
        data,
        tmp_path / "part",
        mode,
        cut,
        settings=settings.model_copy(update={"train_size": 10}),
    )
    expected, _ = run(alone, tmp_path / "expected", mode, cut, settings=settings)
    assert report["samples"]["train"] == 10
    assert model.read_bytes() == expected.read_bytes()


def test_parts_of_a_seed_nest_and_hold_the_classes_in_proportion(data):
    rows = open_parts([data / "train.h5"])
    parts = {n: set(train.subset(rows, n, 3, "e").sample_ids) for n in (2, 9, 32, 64)}
    assert parts[2] < parts[9] < parts[32] < parts[64]
    assert np.bincount(train.subset(rows, 9, 3, "e").labels).tolist() in ([4, 5], [5, 4])
    assert set(train.subset(rows, 9, 4, "e").sample_ids) != parts[9]


@pytest.mark.parametrize("size", [1, 65])
def test_a_part_of_too_few_or_too_many_samples_is_refused(data, size):
    with pytest.raises(GraftError, match=f"e: train_sizes has {size}, but there are 64 training"):
        train.subset(open_parts([data / "train.h5"]), size, 3, "e")


@pytest.mark.parametrize(("mode", "cut"), MODES[1:3])
def test_the_frozen_prefix_equals_the_source_buffers_included(data, tmp_path, mode, cut):
    model, _ = run(data, tmp_path, mode, cut, epochs=2)
    source, _ = model_file.load(data / "source.safetensors")
    trained, _ = model_file.load(model)
    network, _ = model_file.load_network(model)
    prefix = network.backbone.tensors(cut)
    assert any(name.endswith("running_var") for name in prefix)
    assert all(trained[name].numpy().tobytes() == source[name].numpy().tobytes() for name in prefix)
    rest = set(network.backbone.tensors()) - set(prefix)
    if rest:
        assert any(not torch.equal(trained[name], source[name]) for name in rest)


def test_a_changed_frozen_layer_is_refused(data):
    source, _ = model_file.load(data / "source.safetensors")
    network = network_of("vgg_mini", "block3", size=SIZE)
    network.backbone.load(source)
    train.check_frozen(network, source)
    network.backbone.tensors()["features.1.running_mean"].add_(1e-6)
    with pytest.raises(GraftError, match=r"features\.1\.running_mean"):
        train.check_frozen(network, source)


def test_the_same_seed_gives_the_same_bytes(data, tmp_path):
    one, _ = run(data, tmp_path / "a", "fine_tuning", "image", epochs=2)
    two, _ = run(data, tmp_path / "b", "fine_tuning", "image", epochs=2)
    assert one.read_bytes() == two.read_bytes()
    history = "history.csv"
    assert (one.parent / history).read_bytes() == (two.parent / history).read_bytes()


class Killed(Exception):
    pass


RESUMABLE = {
    "plain": {},
    "last": {"select": "last"},
    "downsample": {"balance": "downsample"},
    "upsample": {"balance": "upsample", "augment": {"flip": True, "shift": 0.1}},
    "weighted": {"balance": "weighted"},
    "views": {"augment": AUGMENT},
    "mixed": {"augment": {"flip": True, "mixup": 0.2}},
    "plateau": {"schedule": {**TRAIN["schedule"], "name": "plateau", "patience": 1}},
    "averaged": {"ema": 0.9, "unfreeze": {"every": 1}, "label_smoothing": 0.1},
}


def resumable(what):
    """(mode, cut, settings); what moves no pictures trains on features, which is faster."""
    options = {"epochs": 3, "tune": {"lr": [0.1, 0.01]}, "head": {"dropout": 0.3, "hidden": [8]}}
    pictures = what in ("upsample", "views")
    mode = ("fine_tuning", "image") if pictures else ("freeze_block3", "block3")
    return *mode, options | RESUMABLE[what]


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """The folder of a training that nothing interrupts."""

    @functools.cache
    def train_whole(what):
        mode, cut, options = resumable(what)
        return run(data, tmp_path_factory.mktemp(what), mode, cut, **options)[0].parent

    return train_whole


@pytest.mark.parametrize(
    ("what", "after"),
    [*(("plain", after) for after in (1, 3, 4)), *((what, 2) for what in [*RESUMABLE][1:])],
)
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    data, tmp_path, undisturbed, what, after
):
    mode, cut, options = resumable(what)
    done = []

    def kill(epoch, row):
        done.append(epoch)
        if len(done) > after:
            raise Killed

    with pytest.raises(Killed):
        run(data, tmp_path, mode, cut, on_epoch=kill, **options)
    resumed = []
    run(data, tmp_path, mode, cut, on_epoch=lambda epoch, row: resumed.append(epoch), **options)
    assert len(resumed) == 6 - after, "finished epochs must not be trained again"
    for file in ("model.safetensors", "history.csv"):
        assert (tmp_path / file).read_bytes() == (undisturbed(what) / file).read_bytes()


HALVING = {"lr": [1e-12, 0.1, 0.3, 1e30], "trials": [0.1, 0.2]}


def test_trials_choose_the_candidate_that_is_trained_in_full(data, tmp_path):
    _, report = run(
        data, tmp_path, "feature_extraction", "avgpool", epochs=20, patience=None, tune=HALVING
    )
    tried = {c["lr"]: [trial["updates"] for trial in c["trials"]] for c in report["tuning"]}
    updates = -(-64 // TRAIN["batch_size"])
    assert tried == {1e-12: [2 * updates], 0.1: [2 * updates, 4 * updates]} | {
        0.3: [2 * updates, 4 * updates],
        1e30: [2 * updates],
    }
    assert report["chosen"]["lr"] in (0.1, 0.3)
    trained = {c["lr"]: c["epochs"] for c in report["tuning"] if c["epochs"]}
    assert trained == {report["chosen"]["lr"]: 20}
    assert report["updates"] == {"trials": 16 * updates, "full": 20 * updates}


@pytest.mark.parametrize("select", ["loss", "accuracy"])
def test_a_trial_that_diverged_has_no_value(data, tmp_path, select):
    tune = {"lr": [0.01, 1e30], "trials": [0.5]}
    _, report = run(data, tmp_path, "from_scratch", "image", epochs=2, select=select, tune=tune)
    (good,), (bad,) = (candidate["trials"] for candidate in report["tuning"])
    assert bad["val"] is None and bad["val_loss"] is None and good["val"] is not None
    canonical_json(report)  # which refuses NaN


def test_a_training_chosen_by_trials_is_the_one_that_its_rate_alone_gives(data, tmp_path):
    options = {"epochs": 3, "patience": None}
    tuned, report = run(
        data, tmp_path / "a", "feature_extraction", "avgpool", tune=HALVING, **options
    )
    number = [c["lr"] for c in report["tuning"]].index(report["chosen"]["lr"])
    # The number of a candidate draws the order of its rows.
    plain = {"lr": [1e-13] * number + [report["chosen"]["lr"]]}
    alone, _ = run(data, tmp_path / "b", "feature_extraction", "avgpool", tune=plain, **options)
    assert tuned.read_bytes() == alone.read_bytes()


def test_a_winner_of_trials_that_diverges_in_full_gives_way_to_the_next(
    data, tmp_path, monkeypatch
):
    grid = {"lr": [0.1, 0.3], "trials": [0.5]}
    options = {"epochs": 2, "tune": grid}
    _, plain = run(data, tmp_path / "a", "feature_extraction", "avgpool", **options)
    updates = loop.Learner.updates

    def diverging(self, pieces, rng):
        loss, accuracy = updates(self, pieces, rng)
        full = not isinstance(pieces, types.GeneratorType) or pieces.gi_code.co_name == "_epoch"
        return (
            float("nan") if full and self.settings.lr == plain["chosen"]["lr"] else loss
        ), accuracy

    monkeypatch.setattr(loop.Learner, "updates", diverging)
    _, report = run(data, tmp_path / "b", "feature_extraction", "avgpool", **options)
    assert {report["chosen"]["lr"], plain["chosen"]["lr"]} == {0.1, 0.3}
    assert [c["diverged"] for c in report["tuning"] if c["lr"] == plain["chosen"]["lr"]] == [True]


def test_a_killed_trial_is_run_again_and_those_before_it_are_not(data, tmp_path, monkeypatch):
    options = {"epochs": 3, "tune": HALVING}
    whole, _ = run(data, tmp_path / "whole", "freeze_block3", "block3", **options)
    tried, trial = [], loop._trial

    def killed(learner, number, candidate, val, *, seed):
        tried.append((number, candidate))
        if len(tried) == 3:
            raise Killed
        return trial(learner, number, candidate, val, seed=seed)

    monkeypatch.setattr(loop, "_trial", killed)
    with pytest.raises(Killed):
        run(data, tmp_path / "killed", "freeze_block3", "block3", **options)
    again, _ = run(data, tmp_path / "killed", "freeze_block3", "block3", **options)
    assert tried[:4] == [(0, 0), (0, 1), (0, 2), (0, 2)]
    assert again.read_bytes() == whole.read_bytes()


def test_a_checkpoint_of_something_else_is_ignored(data, tmp_path):
    whole, _ = run(data, tmp_path / "whole", "fine_tuning", "image", epochs=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".checkpoint.pt").write_bytes(b"not a checkpoint")
    other, _ = run(data, tmp_path / "other", "fine_tuning", "image", epochs=1)
    assert other.read_bytes() == whole.read_bytes()


def test_fine_tuning_starts_from_the_head_of_the_linear_probe(data, tmp_path):
    warm, _ = run(data, tmp_path / "warm", "feature_extraction", "avgpool", epochs=6, lr=0.1)
    tuned, report = run(
        data, tmp_path / "tuned", "fine_tuning", "image", epochs=1, lr=1e-12, warm_up=warm
    )
    head = {k: v for k, v in model_file.load(warm)[0].items() if k.startswith("head.")}
    after = model_file.load(tuned)[0]
    assert report["transfer"]["head"] == "warm-up" and report["warm_up"] == "feature_extraction"
    for name, tensor in head.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)


def test_a_fine_tuning_that_only_harms_returns_what_it_started_from(data, tmp_path):
    """A rate at which the first update destroys the network: its start is epoch 0."""
    warm, probe = run(data, tmp_path / "warm", "feature_extraction", "avgpool", epochs=6, lr=0.1)
    out = tmp_path / "tuned"
    model, report = run(data, out, "fine_tuning", "image", epochs=2, lr=0.5, warm_up=warm)
    history = pd.read_csv(out / "history.csv")
    assert report["best_epoch"] == 0 and history["epoch"].tolist() == [0, 1, 2]
    assert report["start_value"] == report["best_value"] >= history["val_accuracy"].max()
    assert report["start_value"] == pytest.approx(probe["best_value"])
    before, after = model_file.load(warm)[0], model_file.load(model)[0]
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_a_training_that_diverges_at_once_still_has_its_start(data, tmp_path):
    warm, _ = run(data, tmp_path / "warm", "feature_extraction", "avgpool", epochs=2)
    _, report = run(
        data, tmp_path / "tuned", "fine_tuning", "image", epochs=2, lr=1e30, warm_up=warm
    )
    assert report["best_epoch"] == 0 and report["tuning"][0]["diverged"]


def test_the_last_epoch_is_kept_although_the_start_was_better(data, tmp_path):
    warm, _ = run(data, tmp_path / "warm", "feature_extraction", "avgpool", epochs=6, lr=0.1)
    settings = {"epochs": 2, "lr": 1.0, "select": "last"}
    out = tmp_path / "tuned"
    _, report = run(data, out, "fine_tuning", "image", warm_up=warm, **settings)
    assert report["best_epoch"] == 2 and report["best_value"] < report["start_value"]
    fell = fall(pd.read_csv(out / "history.csv"), select="accuracy", best_epoch=2, val_rows=24)
    assert fell is not None and fell.start == report["start_value"]


def test_a_killed_fine_tuning_resumes_from_its_start(data, tmp_path):
    warm, _ = run(data, tmp_path / "warm", "feature_extraction", "avgpool", epochs=2)
    options = {"epochs": 3, "lr": 0.1, "warm_up": warm}

    def kill(epoch, row):
        if epoch == 2:
            raise Killed

    run(data, tmp_path / "whole", "fine_tuning", "image", **options)
    with pytest.raises(Killed):
        run(data, tmp_path / "killed", "fine_tuning", "image", on_epoch=kill, **options)
    run(data, tmp_path / "killed", "fine_tuning", "image", **options)
    for file in ("model.safetensors", "history.csv"):
        whole, killed = tmp_path / "whole" / file, tmp_path / "killed" / file
        assert whole.read_bytes() == killed.read_bytes()


def test_without_a_warm_up_the_head_starts_random_though_the_layers_are_transferred(data, tmp_path):
    _, report = run(data, tmp_path, "fine_tuning", "image", epochs=1)
    assert report["transfer"]["head"] == "random" and report["warm_up"] is None
    assert report["transfer"]["imported"] == report["transfer"]["of"]


def test_a_warm_head_of_another_shape_is_refused(data, tmp_path):
    warm, _ = run(data, tmp_path / "warm", "feature_extraction", "avgpool", epochs=1)
    with pytest.raises(GraftError, match=r"train\.head"):
        run(
            data,
            tmp_path / "tuned",
            "fine_tuning",
            "image",
            warm_up=warm,
            head={**TRAIN["head"], "hidden": [7]},
        )


@pytest.mark.parametrize("every", [None, 1])
def test_a_transferred_rate_of_zero_moves_the_head_alone(data, tmp_path, every):
    """Unfreezing would update the statistics of layers that have no rate."""
    options = {"epochs": 2, "transferred_lr_scale": 0.0, "unfreeze": {"every": every}}
    model, _ = run(data, tmp_path, "fine_tuning", "image", **options)
    source, _ = model_file.load(data / "source.safetensors")
    trained, _ = model_file.load(model)
    assert all(torch.equal(trained[name], source[name]) for name in source)


def test_the_best_epoch_by_the_declared_metric_is_kept_and_stopping_is_early(data, tmp_path):
    model, report = run(data, tmp_path, "from_scratch", "image", epochs=30, patience=2, lr=0.1)
    history = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    assert report["best_value"] == history["val_accuracy"].max()
    assert report["stopped_early"] and len(history) == report["best_epoch"] + 2
    val = [data / "val.h5"]
    frame, _, _ = evaluate.predict(model, val, val, threads=1, **CPU)
    assert (frame["true"] == frame["predicted"]).mean() == pytest.approx(report["best_value"])


def test_the_last_epoch_can_be_the_model_whatever_its_value(data, tmp_path):
    options = {"epochs": 30, "patience": 2, "lr": 0.002, "select": "last"}
    model, report = run(data, tmp_path, "from_scratch", "image", **options)
    history = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    accuracies = history["val_accuracy"]
    assert report["stopped_early"], "patience counts by accuracy"
    assert len(history) == accuracies.argmax() + 1 + 2
    assert report["best_epoch"] == len(history) and accuracies[-1] < accuracies.max()
    assert report["best_value"] == accuracies[-1]
    val = [data / "val.h5"]
    frame, _, _ = evaluate.predict(model, val, val, threads=1, **CPU)
    right = np.where(frame["true"] == "dark", frame["confidence_dark"], frame["confidence_light"])
    assert -np.log(right).mean() == pytest.approx(history["val_loss"][-1], rel=1e-4, abs=1e-6)


def test_candidates_that_keep_their_last_epoch_are_ranked_by_its_accuracy(data, tmp_path):
    grid = {"lr": [1e-12, 0.1]}
    _, report = run(
        data, tmp_path, "feature_extraction", "avgpool", epochs=6, select="last", tune=grid
    )
    assert [c["best_epoch"] for c in report["tuning"]] == [6, 6]
    assert report["chosen"]["lr"] == 0.1 and report["best_value"] == report["tuning"][1]["val"]
    assert report["tuning"][1]["val"] > report["tuning"][0]["val"]


def test_a_candidate_that_diverged_has_no_last_epoch_to_keep(data, tmp_path):
    tune = {"lr": [1e30, 0.01]}
    _, report = run(data, tmp_path, "from_scratch", "image", epochs=2, select="last", tune=tune)
    assert report["chosen"]["lr"] == 0.01 and report["tuning"][0]["best_epoch"] is None


@pytest.mark.parametrize(
    ("balance", "rows"), [("none", 48), ("downsample", 24), ("upsample", 72), ("weighted", 48)]
)
def test_an_epoch_has_the_rows_of_its_balance(data, tmp_path, monkeypatch, balance, rows):
    write_pack(tmp_path / "train.h5", 48, 9, unequal=True)
    (tmp_path / "val.h5").symlink_to(data / "val.h5")
    seen = []
    read = Batches.read

    def spy(self, indices, rng=None, *part):
        if rng is not None:
            seen.append(self.labels[indices])
        return read(self, indices, rng, *part)

    monkeypatch.setattr(Batches, "read", spy)
    _, report = run(tmp_path, tmp_path, "from_scratch", "image", epochs=1, balance=balance)
    assert report["rows_per_epoch"] == rows == len(np.concatenate(seen))
    assert report["samples"]["train"] == 48
    counts = np.bincount(np.concatenate(seen))
    assert (counts[0] == counts[1]) == (balance in ("downsample", "upsample"))


@pytest.mark.parametrize(("mode", "cut"), [("from_scratch", "image"), ("freeze_block3", "block3")])
def test_a_network_learns_from_mixtures_and_is_right_about_their_larger_share(
    data, tmp_path, mode, cut
):
    options = {"epochs": 12, "lr": 0.02, "augment": {"flip": True, "mixup": 0.2}}
    run(data, tmp_path, mode, cut, **options)
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["val_accuracy"].max() >= 0.9
    assert history["train_accuracy"].max() >= 0.8


def test_every_candidate_of_the_grid_is_tried_and_recorded(data, tmp_path):
    grid = {"lr": [1e-12, 0.1], "transferred_lr_scale": [0.1, 1.0]}
    _, report = run(data, tmp_path, "fine_tuning", "image", epochs=2, tune=grid)
    assert [(c["lr"], c["transferred_lr_scale"]) for c in report["tuning"]] == [
        (1e-12, 0.1),
        (1e-12, 1.0),
        (0.1, 0.1),
        (0.1, 1.0),
    ]
    best = max(candidate["val"] for candidate in report["tuning"])
    assert report["best_value"] == best
    assert best in [c["val"] for c in report["tuning"] if report["chosen"].items() <= c.items()]


def test_a_loss_that_is_not_finite_is_an_error_and_another_candidate_wins(data, tmp_path):
    with pytest.raises(GraftError, match=r"train\.lr: .* Lower it"):
        run(data, tmp_path / "a", "from_scratch", "image", epochs=2, lr=1e30)
    tune = {"lr": [1e30, 1e31], "trials": [0.5]}  # the second is not trained in full
    with pytest.raises(GraftError, match=r"full \(1e\+30\)\. Lower it"):
        run(data, tmp_path / "c", "from_scratch", "image", epochs=2, tune=tune)
    _, report = run(
        data, tmp_path / "b", "from_scratch", "image", epochs=2, tune={"lr": [1e30, 0.01]}
    )
    assert report["chosen"]["lr"] == 0.01 and report["tuning"][0]["diverged"]


def rows_of(labels):
    return types.SimpleNamespace(labels=labels, classes=["dark", "light"])


def test_a_class_without_a_training_sample_is_named():
    with pytest.raises(GraftError, match="experiments.x: .* of light"):
        train.check_samples(rows_of(np.zeros(4, int)), 1, "experiments.x")
    with pytest.raises(GraftError, match="experiments.x: no validation sample"):
        train.check_samples(rows_of(np.arange(2)), 0, "experiments.x")


def test_a_plateau_lowers_the_rates_of_head_and_layers_alike(data, tmp_path):
    plateau = {"name": "plateau", "patience": 1, "gamma": 0.5, "min_lr": 0.15}
    tune = {"lr": [0.4]}
    options = {"schedule": {**TRAIN["schedule"], **plateau}, "tune": tune, "patience": None}
    run(data, tmp_path, "fine_tuning", "image", epochs=8, **options)
    history = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    drops = [schedule.plateau_drops(history["val_loss"][:e], 1) for e in range(8)]
    assert history["learning_rate"] == pytest.approx(np.maximum(0.4 * 0.5 ** np.array(drops), 0.15))
    assert drops[-1] >= 1, "this test needs a loss that does not fall all the time"


def test_a_perceptron_on_raw_pixels_collapses_with_a_warning_and_a_normalised_one_does_not(
    tmp_path,
):
    """What had happened to the digits article's baselines, and what they needed."""
    parts = {}
    for number, name in enumerate(("train", "val", "test")):
        parts[name] = write_pack(tmp_path / f"{name}.h5", 48, number)
    raw = Transform(scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
    warnings = {}
    for name, transform in (("raw", raw), ("normalised", TRANSFORM)):
        settings = train_settings(
            "from_scratch",
            "image",
            "mlp",
            transform=transform,
            head={"pool": "flatten", "hidden": [20, 20]},
            epochs=6,
            lr=0.05,
            patience=None,
        )
        out = tmp_path / name
        model, _ = run(tmp_path, out, "from_scratch", "image", settings=settings, seed=0)
        test = [parts["test"]]
        frame, _, _ = evaluate.predict(model, test, test, threads=1, **CPU)
        measured = metrics.measure(frame, temperature=None, resamples=100, seed=0, level=0.95)
        history = pd.read_csv(out / "history.csv")
        warnings[name] = collapse_warning(measured, history, metric="accuracy")
    assert warnings["raw"] is not None and "normalise the input" in warnings["raw"]
    assert warnings["normalised"] is None


def test_a_batch_too_small_for_a_batch_norm_is_refused(data, tmp_path):
    options = {"backbone": "resnet18", "batch_size": 1}
    with pytest.raises(GraftError, match=r"train\.batch_size: a batch of 1 is too small"):
        run(data, tmp_path, "from_scratch", "image", **options)
