"""Descriptions of networks: what a config needs to know of one before anything runs.

    python -m graft.models.describe resnet34 IMAGENET1K_V1

prints it as JSON (see `config.networks.Described`).
"""

import json
import sys
from typing import Any

from graft.core.errors import GraftError
from graft.models.backbones import Backbone
from graft.models.inputs import transform_of


def describe(architecture: str, weights: str | None = None) -> dict[str, Any]:
    """The description of an architecture, with the input of torchvision's `weights` of that name.

    Raises GraftError if there is no such network or no such weights, or if it cannot be cut.
    """
    transform = transform_of(architecture, weights)
    backbone = Backbone(architecture, size=transform.get("size"))
    names = {name: name for name in backbone.ends}
    by_node = {node: name for name, node in backbone.ends.items()}
    for cut in backbone.traced.cuts():
        names |= dict.fromkeys(cut.names, by_node.get(cut.node, cut.names[0]))
    nodes = {name: backbone.cut_at(name) for name in set(names.values())}
    return {
        "blocks": backbone.blocks,
        "cuts": names,
        "after_weights": sorted(n for n in nodes if not backbone.blocks_after(n)),
        "transform": transform,
    }


if __name__ == "__main__":
    try:
        print(json.dumps(describe(*sys.argv[1:])))
    except GraftError as error:
        sys.exit(str(error))
