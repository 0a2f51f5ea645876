"""Descriptions of networks: what a config needs to know of one before anything runs.

    python -m graft.models.describe resnet34 IMAGENET1K_V1

prints it as JSON (see `config.networks.Described`), and

    python -m graft.models.describe '{"backbone": ..., "side": 160, "cut": "layer3"}'

the number of values that a picture of that side has at the cut.
"""

import json
import sys
from typing import Any

import torch

from graft.config.stages import BackboneSettings
from graft.core.errors import GraftError
from graft.models.backbones import Backbone
from graft.models.inputs import transform_of
from graft.models.network import split
from graft.models.transforms import to_input


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


@torch.inference_mode()
def values(backbone: BackboneSettings, side: int, cut: str) -> int:
    """How many values a picture of `side` pixels, before the source's transform, has at a cut."""
    network = Backbone(
        backbone.architecture, backbone.experts, size=backbone.transform.size or side
    )
    prefix = split(network.eval(), cut)[0]
    black = torch.zeros((1, side, side, 3), dtype=torch.uint8)
    return prefix(to_input(black, backbone.transform)).numel()


def main(asked: str, weights: str | None = None) -> Any:
    if not asked.startswith("{"):
        return describe(asked, weights)
    keys = json.loads(asked)
    backbone = BackboneSettings.model_validate_json(json.dumps(keys["backbone"]))
    return values(backbone, keys["side"], keys["cut"])


if __name__ == "__main__":
    try:
        print(json.dumps(main(*sys.argv[1:])))
    except GraftError as error:
        sys.exit(str(error))
