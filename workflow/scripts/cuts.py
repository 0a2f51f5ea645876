"""Print where a network can be cut: `make cuts ARCHITECTURE=resnet34 SIZE=224`.

For each cut: the parameters before and after it, the bytes of a picture's features there, and the
share of the floating-point operations that is before it, and so done once.
"""

import argparse
import math
import sys

from graft.core.errors import GraftError
from graft.models.backbones import Backbone
from graft.models.inputs import transform_of
from graft.models.network import split


def rows(architecture: str, size: int | None) -> list[tuple[str, int, int, int, float]]:
    """(cut, parameters before, parameters after, bytes a picture, share of operations before)."""
    backbone = Backbone(architecture, size=size or transform_of(architecture).get("size"))
    traced = backbone.traced
    total = sum(parameter.numel() for parameter in backbone.body.parameters())
    flops = [traced.observed[node].flops for node in traced.nodes]
    nodes = {cut.node: cut.names[0] for cut in traced.cuts()}
    nodes |= {end: name for name, end in backbone.ends.items()}
    found = []
    for node, name in sorted(nodes.items(), key=lambda item: traced.place[item[0]]):
        before = sum(p.numel() for p in split(backbone, name)[0].parameters())
        done = sum(flops[: traced.place[node] + 1]) / max(sum(flops), 1)
        shape = traced.observed[node].shapes[0] or (0,)
        found.append((name, before, total - before, 2 * math.prod(shape[1:]), done))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architecture", help="such as resnet34 or timm/convnext_tiny.fb_in1k")
    parser.add_argument("--size", type=int, help="side of the pictures in pixels")
    asked = parser.parse_args()
    try:
        found = rows(asked.architecture, asked.size)
    except GraftError as error:
        sys.exit(str(error))
    width = max(len("cut"), *(len(name) for name, *_ in found)) if found else 3
    print(f"{'cut':{width}}  {'before':>12}  {'after':>12}  {'bytes/picture':>13}  {'work':>6}")
    for name, before, after, size, done in found:
        print(f"{name:{width}}  {before:12,}  {after:12,}  {size:13,}  {done:6.1%}")
    print(
        "before, after: parameters. bytes/picture: of its features (float16, one view). work: the "
        "share of the operations before the cut."
    )


if __name__ == "__main__":
    main()
