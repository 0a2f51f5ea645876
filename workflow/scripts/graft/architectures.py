"""The backbones Graft knows, by name, with their ordered blocks. No torch in here.

A block is the unit that can be frozen or transferred. The names are those of the papers or of
torchvision: VGG's five convolution stages, AlexNet's five convolutions, SqueezeNet's Fire
modules, ResNet's stem and four stages.
"""

VGG = ("block1", "block2", "block3", "block4", "block5")
RESNET = ("stem", "layer1", "layer2", "layer3", "layer4")

BLOCKS: dict[str, tuple[str, ...]] = {
    "vgg_mini": VGG,
    "vgg16": VGG,
    "alexnet": ("conv1", "conv2", "conv3", "conv4", "conv5"),
    "squeezenet1_1": ("stem", *(f"fire{i}" for i in range(2, 10))),
    "resnet18": RESNET,
    "resnet50": RESNET,
}

POOLS = ("avgpool", "flatten")
"""How the last block's maps become one vector; also the name of the cut after everything."""

IMAGE = "image"
"""The cut before everything: nothing is frozen and training reads pictures."""

MODES = ("from_scratch", "feature_extraction", "fine_tuning")
FREEZE = "freeze_"


def cut(mode: str, pool: str) -> str:
    """Where the frozen prefix of a mode ends: `image`, a block's name, or the pooling."""
    if mode.startswith(FREEZE):
        return mode.removeprefix(FREEZE)
    return pool if mode == "feature_extraction" else IMAGE


def is_mode(mode: str, architecture: str) -> bool:
    """Whether a mode makes sense for an architecture."""
    return mode in MODES or (
        mode.startswith(FREEZE) and mode.removeprefix(FREEZE) in BLOCKS[architecture]
    )


def is_transferred(mode: str) -> bool:
    """Whether a mode starts from the source's weights."""
    return mode != "from_scratch"


def warm_up(mode: str) -> str | None:
    """The mode whose trained head a mode starts from, so that tuning begins warm."""
    return "feature_extraction" if mode not in ("from_scratch", "feature_extraction") else None
