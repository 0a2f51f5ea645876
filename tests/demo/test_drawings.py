"""The registry of drawn data sets."""

from typing import get_args, get_type_hints

from graft.config.datasets import Render
from graft.demo.drawings import DRAWINGS


def test_each_kind_of_the_config_is_registered():
    kinds = get_args(get_type_hints(Render)["kind"])
    assert set(kinds) == {"wiki", "lfw", "digits"}
    assert {DRAWINGS[kind].__module__ for kind in kinds} == {f"graft.demo.{k}" for k in kinds}
