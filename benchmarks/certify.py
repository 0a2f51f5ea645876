"""Certify networks: that each equals its two halves at the cuts behind its blocks.

    make certify                                  # all of torchvision's and timm's; hours
    make certify MODELS="resnet18 timm/vit_tiny_patch16_224"

Random weights; pictures of 96 pixels, or of the size that a network is built for. A network that is
refused is listed with the reason, and the exit status is then 1.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

import timm  # noqa: E402
import torch  # noqa: E402

from graft.config.architectures import TIMM  # noqa: E402
from graft.core.errors import GraftError  # noqa: E402
from graft.models import zoo  # noqa: E402
from graft.models.backbones import Backbone  # noqa: E402
from graft.models.certificate import certify  # noqa: E402
from graft.models.inputs import DEFAULT_SIZE, transform_of  # noqa: E402

SIZE = 96


def certified(architecture: str) -> str:
    """What is found for a network, in words; GraftError where it is refused."""
    torch.manual_seed(0)
    own = transform_of(architecture).get("size")
    try:
        proof = certify(Backbone(architecture, size=SIZE), SIZE)
    except (RuntimeError, AssertionError, ValueError, GraftError):
        proof = certify(Backbone(architecture, size=own), int(own or DEFAULT_SIZE))
    return f"{len(proof.cuts)} cuts at {proof.size} pixels"


def main() -> None:
    asked = sys.argv[1:]
    names = asked or [
        *zoo.torchvision_classifiers(),
        *(f"{TIMM}{name}" for name in timm.list_models()),
    ]
    refused = 0
    for name in names:
        try:
            print(f"{name}: {certified(name)}", flush=True)
        except Exception as error:  # a network of any kind, with errors of its own
            refused += 1
            print(f"{name}: refused ({str(error).splitlines()[0][:200]})", flush=True)
    print(f"{len(names) - refused} of {len(names)} networks equal their halves.")
    sys.exit(1 if refused else 0)


if __name__ == "__main__":
    main()
