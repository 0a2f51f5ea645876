"""Drawn identities: what depends on sex, and what a classifier could achieve at best."""

import math
from dataclasses import asdict, replace
from operator import attrgetter

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score

from graft.demo.identity import SEX_SEPARATION, draw_identity, sex_log_odds

CARRIERS = [*SEX_SEPARATION, "beard"]


def test_bayes_rate_is_about_95_percent():
    people = [draw_identity(21, person) for person in range(6000)]
    male = np.array([identity.sex == "male" for identity in people])
    odds = np.array([sex_log_odds(identity) for identity in people])
    assert 0.48 < male.mean() < 0.52
    assert 0.93 < ((odds > 0) == male).mean() < 0.975
    # An estimate without knowledge of the densities agrees.
    attributes = np.array([attrgetter(*CARRIERS)(identity) for identity in people])
    scores = cross_val_score(LinearDiscriminantAnalysis(), attributes, male, cv=4)
    assert 0.93 < scores.mean() < 0.975
    # No single attribute is enough.
    for column, name in zip(attributes.T, CARRIERS, strict=True):
        scores = cross_val_score(LinearDiscriminantAnalysis(), column[:, None], male, cv=4)
        assert 0.6 < scores.mean() < 0.85, name


def test_log_odds_by_hand():
    identity = replace(draw_identity(1, 0), hair_length=1.0, jaw=0.0, brow=0.5, lips=0.0, beard=0.0)
    expected = -1.4 * 1.0 + 1.6 * 0.5 + math.log((1 - 0.4) / (1 - 0.01))
    assert sex_log_odds(identity) == pytest.approx(expected)
    bearded = sex_log_odds(replace(identity, beard=0.5))
    assert bearded == pytest.approx(-0.6 + math.log(0.4 / 0.01))


def test_sex_changes_its_carriers_and_no_other_attribute():
    for person in range(50):
        man = asdict(draw_identity(3, person, "male"))
        woman = asdict(draw_identity(3, person, "female"))
        for name in man:
            if name not in (*CARRIERS, "sex"):
                assert man[name] == woman[name]
        for name, separation in SEX_SEPARATION.items():
            assert man[name] - woman[name] == pytest.approx(separation)


def test_seeds_and_people_differ():
    assert draw_identity(1, 0) == draw_identity(1, 0)
    people = {draw_identity(seed, person) for seed in (1, 2) for person in range(20)}
    assert len(people) == 40
