"""The backbones Graft knows, by name, with their ordered blocks. No torch in here.

A block is the unit that can be frozen or transferred. The names are those of the papers or of
torchvision: VGG's five convolution stages, AlexNet's five convolutions (of both perhaps the two
wide fully connected layers too), SqueezeNet's Fire modules, Inception's groups of modules on one
grid, MobileNetV3's bottlenecks, EfficientNet's stages 2 to 8, ResNet's stem and four stages. `mlp`
and `cnn3` are plain baselines: no block at all, and three small convolutions. A `stack` is
several backbones side by side, which are one block.
"""

VGG = ("block1", "block2", "block3", "block4", "block5")
ALEXNET = ("conv1", "conv2", "conv3", "conv4", "conv5")
SQUEEZENET = ("stem", *(f"fire{i}" for i in range(2, 10)))
RESNET = ("stem", "layer1", "layer2", "layer3", "layer4")
STACK = "stack"

BLOCKS: dict[str, tuple[str, ...]] = {
    "vgg_mini": VGG,
    "vgg16": VGG,
    "vgg16_fc7": (*VGG, "fc6", "fc7"),
    "alexnet": ALEXNET,
    "alexnet_fc7": (*ALEXNET, "fc6", "fc7"),
    "squeezenet1_0": SQUEEZENET,
    "squeezenet1_1": SQUEEZENET,
    "inception_v3": ("stem", "mixed5", "mixed6", "mixed7"),
    "resnet18": RESNET,
    "resnet50": RESNET,
    "mobilenet_v3_small": ("stem", *(f"bneck{i}" for i in range(1, 12)), "top"),
    "efficientnet_b0": ("stem", *(f"stage{i}" for i in range(2, 9)), "top"),
    "mlp": (),
    "cnn3": ("conv1", "conv2", "conv3"),
    STACK: ("experts",),
}

LEAST_SIDES = {
    **dict.fromkeys(("vgg_mini", "vgg16", "vgg16_fc7"), 32),
    **{
        "alexnet": 63,
        "alexnet_fc7": 63,
        "squeezenet1_0": 21,
        "squeezenet1_1": 17,
        "inception_v3": 75,
        "cnn3": 148,
    },
}
"""The smallest pictures that an architecture takes, in pixels a side; 8 where it is not listed."""

VGG_LAYERS = {
    f"conv{block}_{layer}": f"block{block}"
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1)
    for layer in range(1, depth + 1)
}

LAYERS: dict[str, dict[str, str]] = {
    "vgg_mini": VGG_LAYERS,
    "vgg16": VGG_LAYERS,
    "vgg16_fc7": VGG_LAYERS,
}
"""Layers that can be named instead of a block, in order, each with the block it stands in."""

POOLS = ("avgpool", "flatten")
"""How the last block's maps become one vector; also the name of the cut after everything."""

IMAGE = "image"
"""The cut before everything: nothing is frozen and training reads pictures."""

PROBES = ("logistic_probe", "knn_probe")
"""Modes whose head is not trained by epochs but solved for, or made of the training rows."""

MODES = ("from_scratch", "feature_extraction", *PROBES, "fine_tuning")
FREEZE = "freeze_"

ON_FEATURES = ("feature_extraction", *PROBES)
"""Modes that freeze the whole backbone; they start from no other mode's head."""


def cut(mode: str, architecture: str, pool: str) -> str:
    """Where a mode's frozen prefix ends: `image`, a block's or layer's name, or the pooling.

    A block's last layer is the block, so that one cut has one name and one set of features.
    """
    if not mode.startswith(FREEZE):
        return pool if mode in ON_FEATURES else IMAGE
    part = mode.removeprefix(FREEZE)
    block = LAYERS.get(architecture, {}).get(part)
    return block if block and part == _layers_of(architecture, block)[-1] else part


def frozen(architecture: str, cut: str) -> list[str]:
    """What is frozen before a cut: blocks in order, then the layers of one that is cut through."""
    blocks = list(BLOCKS[architecture])
    if cut == IMAGE or cut in POOLS:
        return [] if cut == IMAGE else blocks
    if cut in blocks:
        return blocks[: blocks.index(cut) + 1]
    block = LAYERS[architecture][cut]
    layers = _layers_of(architecture, block)
    return blocks[: blocks.index(block)] + layers[: layers.index(cut) + 1]


def is_mode(mode: str, architecture: str) -> bool:
    """Whether a mode makes sense for an architecture; one without blocks has none to transfer."""
    blocks = BLOCKS[architecture]
    if not is_transferred(mode) or not blocks:
        return mode == "from_scratch"
    part = mode.removeprefix(FREEZE)
    return mode in MODES or (
        mode.startswith(FREEZE) and (part in blocks or part in LAYERS.get(architecture, {}))
    )


def modes(architecture: str) -> str:
    """The modes that make sense for an architecture, in words."""
    named = [mode for mode in MODES if is_mode(mode, architecture)]
    blocks = [f"{FREEZE}{block}" for block in BLOCKS[architecture]]
    layers = list(LAYERS.get(architecture, {}))
    within = f", and freeze_<layer> for {layers[0]} to {layers[-1]}" if layers else ""
    return ", ".join([*named, *blocks]) + within


def is_transferred(mode: str) -> bool:
    """Whether a mode starts from the source's weights."""
    return mode != "from_scratch"


def trains_transferred(mode: str, architecture: str) -> bool:
    """Whether a mode trains layers that come from the source, and not a head alone, as one that
    freezes the last block does."""
    if not is_transferred(mode) or mode in ON_FEATURES:
        return False
    return frozen(architecture, cut(mode, architecture, POOLS[0])) != list(BLOCKS[architecture])


def warm_up(mode: str) -> str | None:
    """The mode whose trained head a mode starts from, so that tuning begins warm."""
    return "feature_extraction" if is_transferred(mode) and mode not in ON_FEATURES else None


def _layers_of(architecture: str, block: str) -> list[str]:
    return [layer for layer, its in LAYERS.get(architecture, {}).items() if its == block]
