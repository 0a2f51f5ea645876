"""The schedule: rates by hand and as torch has them, and which epoch and candidate is the model."""

import math

import numpy as np
import pytest
import torch
from builders import hyperparameters

from graft.training import schedule


@pytest.mark.parametrize(
    ("spec", "factors"),
    [
        ({"name": "plateau", "gamma": 0.5, "min_lr": 0.0}, [1, 0.5, 0.25]),
        ({"name": "plateau", "gamma": 0.5, "min_lr": 0.06}, [1, 0.5, 0.3]),
        ({"name": "plateau", "gamma": 0.5, "min_lr": 0.7}, [1, 1, 1]),
        ({"name": "constant"}, [1, 1, 1]),
        ({"name": "step", "step_size": 2, "gamma": 0.1}, [1, 1, 0.1]),
        # neon's Schedule(step_config=[1, 2], change=0.1).
        ({"name": "step", "steps": [1, 2], "gamma": 0.1}, [1, 0.1, 0.01]),
        ({"name": "cosine"}, [1, 0.75, 0.25]),
        ({"name": "time", "decay": 0.5}, [1, 1 / 1.5, 1 / 2]),
    ],
)
def test_schedules_by_hand(spec, factors):
    settings = hyperparameters(schedule=spec, epochs=3, lr=0.2)
    rates = [schedule.learning_rate_factor(settings, e, e, 1, drops=e) for e in range(3)]
    assert rates == pytest.approx(factors)


def test_a_warm_up_rises_linearly_update_by_update_and_the_fall_goes_on():
    settings = hyperparameters(schedule={"name": "constant", "warm_up": 1.5}, epochs=3)
    rates = [schedule.learning_rate_factor(settings, u // 2, u, 2) for u in range(6)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1])
    settings = hyperparameters(schedule={"name": "cosine", "warm_up": 1}, epochs=2)
    rates = [schedule.learning_rate_factor(settings, u // 2, u, 2) for u in range(4)]
    assert rates == pytest.approx([0.5, 1, 0.5, 0.5])


def test_a_warm_up_is_that_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 8, 1.0, total_iters=7)
    settings = hyperparameters(schedule={"name": "constant", "warm_up": 2}, epochs=3)
    for update in range(12):
        ours = schedule.learning_rate_factor(settings, update // 4, update, 4)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    ("losses", "patience", "drops"),
    [
        ([], 1, 0),
        ([1.0], 1, 0),
        ([1.0, 0.5, 0.4], 1, 0),
        ([1.0, 1.0], 1, 1),
        ([1.0, 0.99995], 1, 1),  # not by more than 1e-4
        ([1.0, 1.1, 0.9, 1.0, 1.0], 2, 1),
        ([1.0, 1.1, 1.1, 1.1], 2, 1),  # after a drop the count starts again
        ([1.0, 1.1, 1.1, 1.05, 1.05], 2, 2),  # the lowest loss stands
    ],
)
def test_a_plateau_by_hand(losses, patience, drops):
    assert schedule.plateau_drops(losses, patience) == drops


def test_plateaus_are_those_of_torch():
    rng = np.random.default_rng(4)
    losses = 1 / np.arange(1, 61) ** 0.3 + 0.05 * rng.standard_normal(60)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # torch waits until the count is above its patience, Keras until it has reached it.
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=3, threshold=1e-4, threshold_mode="abs", eps=0
    )
    drops = []
    for loss in losses:
        theirs.step(loss)
        drops.append(round(-np.log2(optimizer.param_groups[0]["lr"])))
    assert [schedule.plateau_drops(losses[: n + 1], 4) for n in range(60)] == drops
    assert drops[-1] > 3


def test_epochs_are_ranked_by_what_is_asked_and_ties_by_the_loss():
    row = {"val_accuracy": 0.75, "val_balanced_accuracy": 0.5, "val_loss": 1.25}
    assert schedule.rank(row, "accuracy") == schedule.rank(row, "last") == (0.75, -1.25)
    assert schedule.rank(row, "balanced_accuracy") == (0.5, -1.25)
    assert schedule.rank(row, "loss") == (-1.25, -1.25)


def history(*accuracies, loss=1.0):
    return [
        {"epoch": e, "train_loss": loss, "val_loss": loss, "val_accuracy": accuracy}
        for e, accuracy in enumerate(accuracies, start=1)
    ]


def diverging(*accuracies):
    rows = history(*accuracies)
    return [*rows[:-1], {**rows[-1], "train_loss": math.nan}]


@pytest.mark.parametrize(
    ("rows", "select", "epoch"),
    [
        (history(), "accuracy", None),
        (history(0.5, 0.7, 0.7, 0.6), "accuracy", 2),
        (history(0.5, 0.7, 0.7, 0.6), "last", 4),
        (diverging(0.5, 0.7, 0.9), "accuracy", 2),
        (diverging(0.5, 0.7, 0.9), "last", None),
        (diverging(0.9), "accuracy", None),
    ],
)
def test_the_selected_epoch(rows, select, epoch):
    assert schedule.selected_epoch(rows, select) == epoch


def test_the_first_of_the_best_candidates_is_selected():
    rows = [diverging(0.9), history(0.5, 0.8), history(0.8, 0.5), history(0.9, 0.1)]
    histories = dict(enumerate(rows))
    assert schedule.selected_candidate(histories, "accuracy") == 3
    assert schedule.selected_candidate(dict(enumerate(rows[:3])), "accuracy") == 1
    assert schedule.selected_candidate(histories, "last") == 1
    assert schedule.selected_candidate({0: rows[0]}, "accuracy") is None


@pytest.mark.parametrize(
    ("rows", "patience", "stopped", "finished"),
    [
        (history(0.5, 0.4), 2, False, False),
        (history(0.5, 0.4, 0.4), 2, True, True),
        (history(0.5, 0.4, 0.4), None, False, False),
        (history(0.5, 0.4, 0.4, 0.6), 2, False, True),
        (diverging(0.5), 2, False, True),
    ],
)
def test_a_training_ends_by_patience_divergence_or_epochs(rows, patience, stopped, finished):
    settings = hyperparameters(epochs=4, patience=patience)
    assert schedule.is_stopped_early(rows, settings) == stopped
    assert schedule.is_finished(rows, settings) == finished


def start_then(*accuracies):
    """A history with a start; each epoch's validation accuracy, from the start on."""
    return [
        {"epoch": epoch, "val_accuracy": value, "val_loss": 1.0}
        | ({"train_loss": 1.0} if epoch else {})
        for epoch, value in enumerate(accuracies)
    ]


@pytest.mark.parametrize(
    ("accuracies", "best"), [((0.8, 0.7, 0.8), 0), ((0.8, 0.7, 0.9), 2), ((0.8,), 0)]
)
def test_the_start_is_the_model_unless_an_epoch_is_better(accuracies, best):
    history = start_then(*accuracies)
    assert schedule.selected_epoch(history, "accuracy") == best
    assert schedule.epochs_done(history) == len(accuracies) - 1


def test_patience_counts_from_the_start_and_epochs_do_not_include_it():
    settings = hyperparameters(epochs=3, patience=2)
    assert not schedule.is_finished(start_then(0.8, 0.7), settings)
    assert schedule.is_finished(start_then(0.8, 0.7, 0.7), settings)
    assert not schedule.is_finished(start_then(0.8, 0.9, 0.7), settings)
    assert schedule.is_finished(start_then(0.8, 0.81, 0.82, 0.83), settings)


def test_with_last_patience_counts_from_the_best_epoch_after_the_start():
    settings = hyperparameters(epochs=5, patience=2, select="last")
    assert not schedule.is_finished(start_then(0.8, 0.6, 0.7, 0.6), settings)
    assert schedule.is_finished(start_then(0.8, 0.6, 0.7, 0.6, 0.6), settings)
    assert schedule.selected_epoch(start_then(0.8), "last") is None


def test_a_start_that_is_not_finite_ends_a_training():
    assert schedule.diverged([{"epoch": 0, "val_accuracy": 0.5, "val_loss": math.nan}])


@pytest.mark.parametrize(
    ("updates", "epochs"), [(1, 100), (20, 100), (65, 31), (100, 20), (200, 10), (5000, 10)]
)
def test_automatic_epochs_are_two_thousand_updates_within_bounds(updates, epochs):
    assert schedule.resolved(hyperparameters(epochs="auto"), updates).epochs == epochs
    assert schedule.resolved(hyperparameters(epochs=7), updates).epochs == 7


@pytest.mark.parametrize(
    ("epochs", "patience", "waited"),
    [(100, "auto", 50), (31, "auto", 15), (4, "auto", 10), (100, 5, 5), (100, None, None)],
)
def test_an_automatic_patience_is_half_of_the_epochs(epochs, patience, waited):
    settings = hyperparameters(epochs=epochs, patience=patience)
    assert schedule.resolved(settings, 1).patience == waited


HALVING = {"tune": {"lr": [1, 2, 3, 4, 5, 6], "trials": [0.05, 0.1]}}


def trials_of(number, **accuracies):
    """Trials of a round; the validation accuracy by candidate (`c0` ...)."""
    return [
        {
            "round": number,
            "candidate": int(name[1:]),
            "updates": 1,
            "row": {"val_accuracy": value, "val_loss": math.nan if value is None else 1.0},
        }
        for name, value in accuracies.items()
    ]


MANY = 10**9
"""Validation rows of which one standard error is nothing."""


def candidates_of(*rates, **changes):
    tune = {"lr": list(rates), "trials": [0.05, 0.1]}
    return schedule.candidates(hyperparameters(epochs=10, tune=tune, **changes), True)


def test_half_of_the_candidates_go_on_and_of_the_last_round_one():
    candidates = candidates_of(1, 2, 3, 4, 5, 6)
    first = trials_of(0, c0=0.1, c1=0.6, c2=0.5, c3=None, c4=0.6, c5=0.2)
    for done in range(6):
        assert schedule.next_trial(first[:done], candidates, MANY) == (0, done)
        assert schedule.survivors(first[:done], candidates, MANY) == [0, 1, 2, 3, 4, 5]
    assert schedule.survivors(first, candidates, MANY) == [1, 2, 4]
    second = trials_of(1, c1=0.6, c2=0.7, c4=0.7)
    for done, candidate in enumerate((1, 2, 4)):
        trials = [*first, *second[:done]]
        assert schedule.next_trial(trials, candidates, MANY) == (1, candidate)
    assert schedule.next_trial([*first, *second], candidates, MANY) is None
    assert schedule.survivors([*first, *second], candidates, MANY) == [2], "of equals the first"


def test_without_rounds_or_with_one_candidate_nothing_is_tried():
    grid = schedule.candidates(hyperparameters(tune={"lr": [1, 2]}), True)
    assert schedule.next_trial([], grid, 9) is None
    assert schedule.survivors([], grid, 9) == [0, 1]
    assert schedule.next_trial([], candidates_of(1), 9) is None
    trials = trials_of(0, c0=0.1, c1=0.2)
    assert schedule.next_trial(trials, candidates_of(1, 2), MANY) is None, "one is left"


def test_where_the_best_trial_diverges_in_full_the_next_best_is_trained():
    candidates = candidates_of(1, 2, 3, 4)
    trials = trials_of(0, c0=0.1, c1=None, c2=0.8, c3=0.7)
    assert schedule.order(trials[:2], candidates, MANY) == [0, 1, 2, 3], "all are still in"
    trials += trials_of(1, c2=0.8, c3=0.9)
    assert schedule.order(trials, candidates, MANY) == [3, 2, 0]


@pytest.mark.parametrize(
    ("val_rows", "chosen"),
    [(MANY, 2), (400, 2), (300, 1), (100, 1)],  # sqrt(.84 * .16 / 336) = .02
)
def test_within_a_standard_error_the_usual_rate_is_chosen(val_rows, chosen):
    candidates = candidates_of(0.0001, 0.001, 0.01, optimizer={"name": "adamw"})
    trials = trials_of(0, c0=0.5, c1=0.82, c2=0.84)
    assert schedule.survivors(trials, candidates, val_rows) == [chosen]


def test_the_usual_rate_of_sgd_is_ten_times_as_large():
    trials = trials_of(0, c0=0.84, c1=0.83, c2=0.84)
    for name, chosen in (("sgd", 2), ("adam", 1)):
        candidates = candidates_of(0.0001, 0.001, 0.01, optimizer={"name": name})
        assert schedule.survivors(trials, candidates, 50) == [chosen]


def test_losses_have_no_standard_error():
    candidates = candidates_of(0.0001, 0.001, 0.01, optimizer={"name": "adamw"}, select="loss")
    rows = [{"val_loss": loss, "val_accuracy": 0.5} for loss in (0.9, 0.6, 0.5)]
    trials = [{"round": 0, "candidate": n, "updates": 1, "row": row} for n, row in enumerate(rows)]
    assert schedule.survivors(trials, candidates, 10) == [2]


def test_a_trial_is_the_schedule_compressed():
    spec = {"name": "cosine", "warm_up": 1}
    settings = hyperparameters(schedule=spec, epochs=10, **HALVING)
    assert schedule.trial_updates(settings, 0, 100) == 50
    assert schedule.trial_updates(settings, 1, 3) == 3
    assert schedule.trial_updates(settings, 0, 1) == 1
    factors = schedule.trial_factors(settings, 50, 100)
    assert [epoch for epoch, _ in factors] == [number // 5 for number in range(50)]
    for number, (epoch, factor) in enumerate(factors):
        assert factor == schedule.learning_rate_factor(settings, epoch, 20 * number, 100)
    whole = schedule.trial_factors(settings, 1000, 100)
    assert whole[150] == (1, schedule.learning_rate_factor(settings, 1, 150, 100))
