"""Calibration: temperatures against a grid and known factors, bins by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probabilities import logs
from scipy.special import log_softmax

from graft.core.errors import GraftError
from graft.evaluation import calibration, metrics
from graft.evaluation.calibration import at_temperature, fit_temperature
from graft.evaluation.predictions import predictions_frame

BOOTSTRAP = {"resamples": 200, "seed": 0, "level": 0.95}


def _calibrated(rng, n=4000, classes=3):
    """Labels, and log-probabilities that they were drawn by."""
    scores = log_softmax(rng.normal(scale=2, size=(n, classes)), axis=1)
    drawn = rng.random((n, 1)) > np.exp(scores).cumsum(axis=1)[:, :-1]
    return drawn.sum(axis=1), scores


def _loss(true, scores, temperature):
    return -at_temperature(scores, temperature)[np.arange(len(true)), true].mean()


def _ece(true, scores):
    return calibration.calibration_error(true, scores, np.ones((len(true), 1)))[0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 5]), st.floats(0.3, 4))
def test_the_temperature_is_the_best_of_a_fine_grid(seed, classes, factor):
    rng = np.random.default_rng(seed)
    true, scores = _calibrated(rng, 200, classes)
    scores = log_softmax(factor * scores, axis=1)
    fitted = fit_temperature(true, scores)
    grid = np.geomspace(*calibration.TEMPERATURES, 2000)
    losses = [_loss(true, scores, temperature) for temperature in grid]
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=0.01)
    assert _loss(true, scores, fitted) <= min(losses)


@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_the_factor_of_over_or_underconfident_logits_is_recovered_and_mends_them(factor):
    true, scores = _calibrated(np.random.default_rng(0))
    wrong = log_softmax(factor * scores, axis=1)
    assert fit_temperature(true, wrong) == pytest.approx(factor, rel=0.06)
    # The same distribution comes out whatever the factor was.
    assert fit_temperature(true, wrong) == pytest.approx(factor * fit_temperature(true, scores))
    mended = at_temperature(wrong, fit_temperature(true, wrong))
    assert (mended.argmax(axis=1) == wrong.argmax(axis=1)).all()
    assert _ece(true, mended) < 0.03
    if factor != 1:
        assert _ece(true, mended) < 0.3 * _ece(true, wrong)


def test_rows_that_are_all_right_have_no_temperature_and_others_stop_at_a_bound():
    right, ties = logs([[0.9, 0.1], [0.4, 0.6]]), logs([[0.9, 0.1], [0.5, 0.5]])
    assert fit_temperature([0, 1], right) is None
    assert fit_temperature([0, 1], ties) is None
    # All but ties: at 0.05 the right row still gains more than the wrong one loses.
    assert fit_temperature([0, 0], logs([[0.505, 0.495], [0.49995, 0.50005]])) == 0.05
    # Where most rows are wrong, the less confident the better.
    assert fit_temperature([1, 1, 1, 0], np.tile(logs([[0.9, 0.1]]), (4, 1))) == 20
    with pytest.raises(GraftError, match="at least one test row"):
        fit_temperature(np.zeros(0, int), np.zeros((0, 2)))


def test_a_temperature_by_hand():
    # 3 of 4 right at odds of 9: the loss is least where the odds are 3, so 9^(1/T) = 3.
    scores = np.tile(logs([[0.9, 0.1]]), (4, 1))
    assert fit_temperature([0, 0, 0, 1], scores) == pytest.approx(2)
    assert np.exp(at_temperature(scores, 2))[0] == pytest.approx([0.75, 0.25])


def test_scores_at_the_temperature_stand_beside_the_raw_ones():
    true = np.array([0, 0, 0, 1] * 5)
    frame = predictions_frame(
        [f"s{k}" for k in range(20)],
        [f"g{k // 2}" for k in range(20)],
        true,
        np.tile(logs([[0.9, 0.1]]), (20, 1)),
        ["n", "p"],
    )
    raw = metrics.measure(frame, temperature=None, **BOOTSTRAP)
    scaled = metrics.measure(frame, temperature=2.0, **BOOTSTRAP)
    assert raw["temperature"] == {
        **dict.fromkeys(("value", *calibration.SCORES)),
        "intervals": dict.fromkeys(calibration.SCORES),
    }
    assert {**scaled, "temperature": 0} == {**raw, "temperature": 0}
    found = scaled["temperature"]
    assert raw["ece"] == pytest.approx(0.15)
    assert found["value"] == 2 and found["ece"] == pytest.approx(0, abs=1e-12)
    assert found["brier"] == pytest.approx(2 * (3 * 0.25**2 + 0.75**2) / 4)
    assert found["log_loss"] == pytest.approx(-(3 * np.log(0.75) + np.log(0.25)) / 4)
    for name in calibration.SCORES:
        low, high = found["intervals"][name]
        assert low <= high
    # Both are of the same resamples: the Brier score is linear in the share of p.
    lows = [run["intervals"]["brier"][0] for run in (raw, found)]
    shares = [(lows[0] / 2 - 0.01) / 0.8, (lows[1] / 2 - 0.0625) / 0.5]
    assert shares[0] == pytest.approx(shares[1])


def test_bins_by_hand_and_intervals_only_of_enough_groups():
    # 20 rows of 10 groups with confidence 0.9 (bin 13), three quarters right; 2 of 0.6 (bin 8).
    true = np.array([0, 0, 0, 1] * 5 + [0, 1])
    scores = np.concatenate([np.tile(logs([[0.9, 0.1]]), (20, 1)), logs([[0.6, 0.4]] * 2)])
    groups = np.array([f"g{k % 10}" for k in range(22)])
    table = calibration.reliability(true, scores, groups, **BOOTSTRAP)
    assert list(table.index) == [8, 13]
    assert table["n"].tolist() == [2, 20] and table["groups"].tolist() == [2, 10]
    assert table["confidence"].tolist() == pytest.approx([0.6, 0.9])
    assert table["accuracy"].tolist() == [0.5, 0.75]
    assert np.isnan(table.loc[8, ["low", "high"]]).all()
    assert 0.4 < table.loc[13, "low"] < 0.75 < table.loc[13, "high"] <= 1
    few = calibration.reliability(true, scores, groups == "g0", **BOOTSTRAP)
    assert few[["low", "high"]].isna().all(axis=None)


def test_the_edges_of_the_bins():
    confidences = np.array([8 / 15, 8 / 15 + 1e-9, 1.0])
    _, bins = calibration.binned(logs(np.column_stack([confidences, 1 - confidences])))
    assert bins.tolist() == [7, 8, 14]
