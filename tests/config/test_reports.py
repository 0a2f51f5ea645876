"""The settings of the report."""

import copy

from conftest import SHIPPED

from graft.config import plan, reports
from graft.config.read import read_config


def test_the_report_shows_target_tasks_first_and_their_source_tasks_after():
    config = read_config(SHIPPED)
    assert config.run == ("portraits_identity", "portraits_sex")
    settings = reports.report(config, {"dropped": "Counts."})
    assert [(e.name, e.target) for e in settings.experiments] == [
        ("portraits_sex", True),
        ("portraits_identity", False),
    ]
    assert settings.captions == {"dropped": "Counts."}


def test_experiments_that_none_starts_from_are_targets_in_the_order_of_run():
    shipped = copy.deepcopy(SHIPPED)
    other = shipped["experiments"]["portraits_sex"] | {"title": "Again"}
    shipped["experiments"]["again"] = other
    shipped["run"] = ["again", "portraits_sex"]
    assert plan.targets(read_config(shipped)) == ["again", "portraits_sex"]
