"""Networks by the name of their architecture: torchvision's, timm's, and a few of our own.

A network comes recorded as a graph (see `models.cuts`) that ends where its classifier begins. Those
that `config.architectures` lists end where their last block does.

To add a network of your own: register a function that builds it below, and list its blocks in
`config.architectures`. torchvision's and timm's need nothing.

timm is imported where it is used: it takes a second, which jobs without its networks save.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.models.vgg import cfgs, make_layers

from graft.config.architectures import NAMED, PUBLISHED_AS, TIMM
from graft.core.errors import GraftError, nearest
from graft.core.registry import Registry
from graft.models import inputs
from graft.models.cuts import Traced

NETWORKS: Registry[Callable[[], nn.Module]] = Registry("graft.models.zoo")
"""Functions that build a network with any weights, by the name of the architecture."""

_WITHOUT_AUXILIARY = ("googlenet", "inception_v3")


def traced(architecture: str, size: int | None = None) -> Traced:
    """A network, recorded, up to its classifier.

    Those that are listed have no memory for weights yet (they are on torch's device `meta`); the
    others have weights as their own constructors draw them. size: the side of pictures in pixels,
    for networks that are built for one size; None: their own.

    Raises GraftError if there is no such network, or if it cannot be recorded.
    """
    if architecture.startswith(TIMM):
        return _timm(architecture, size)
    if architecture not in NAMED:
        made = _torchvision(architecture)
        network = Traced(made, architecture, size or _size_of(architecture))
        network.drop_classifier()
        return network
    with torch.device("meta"):
        try:
            made = NETWORKS[architecture]()
        except KeyError:
            made = _torchvision(PUBLISHED_AS.get(architecture, architecture))
    network = Traced(made, architecture, size or inputs.DEFAULT_SIZE)
    if NAMED[architecture].blocks:
        network.end_at(network.end_of(list(NAMED[architecture].blocks.values())[-1]))
    return network


def classifier_of(architecture: str) -> tuple[str, ...]:
    """How the names of the classifier's tensors begin that timm leaves out of a network."""
    if not architecture.startswith(TIMM):
        return ()
    config = inputs.timm_config(architecture)
    names = () if config is None else config.classifier or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))


def torchvision_classifiers() -> list[str]:
    """The names of torchvision's classifiers of pictures."""
    return models.list_models(module=models)


def _torchvision(architecture: str) -> nn.Module:
    known = torchvision_classifiers()
    if architecture not in known:
        raise GraftError(
            f"torchvision has no classifier {architecture!r}. {nearest(architecture, known)} Those "
            f"of timm are named {TIMM}<model>."
        )
    options = {"aux_logits": False} if architecture in _WITHOUT_AUXILIARY else {}
    if architecture == "inception_v3":
        options["init_weights"] = False
    return models.get_model(architecture, weights=None, **options)


def _timm(architecture: str, size: int | None) -> Traced:
    import timm
    from timm.layers import BatchNormAct2d, DropPath, get_notrace_functions, get_notrace_modules

    name = architecture.removeprefix(TIMM)
    try:
        network = timm.create_model(name, num_classes=0, **timm_options(architecture, size))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise GraftError(
            f"{architecture} cannot be built for pictures of {size} pixels ({error}). Set the "
            "source's transform.size to a multiple of its patches."
        ) from None
    leaves = [*get_notrace_modules(), BatchNormAct2d, DropPath]
    side = size or _size_of(architecture)
    return Traced(network, architecture, side, leaves, get_notrace_functions())


def _size_of(architecture: str) -> int:
    return int(inputs.transform_of(architecture)["size"])


def timm_options(architecture: str, size: int | None) -> dict[str, Any]:
    """What a network of timm's is built with, for pictures of a size in pixels."""
    config = inputs.timm_config(architecture)
    # Dropout before the classifier is the head's; as a function it would not follow the mode.
    options: dict[str, Any] = {"drop_rate": 0.0}
    if size is not None and config is not None and config.fixed_input_size:
        options["img_size"] = size
    return options


@NETWORKS.register("vgg_mini")
def vgg_mini() -> nn.Module:
    """VGG-16 (configuration D of Simonyan and Zisserman 2015) at a quarter of its width."""
    widths = [width if isinstance(width, str) else width // 4 for width in cfgs["D"]]
    return models.VGG(make_layers(widths, batch_norm=True), init_weights=False)


@NETWORKS.register("mlp")
def mlp() -> nn.Module:
    """No layer at all: a multilayer perceptron is its head."""
    return nn.Sequential()


@NETWORKS.register("cnn3")
def cnn3() -> nn.Module:
    """Three times 32 filters of 5 x 5 without padding, ReLU, and max-pooling by 4."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, channels in enumerate((3, 32, 32), start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, 32, 5)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        layers[f"pool{number}"] = nn.MaxPool2d(4)
    return nn.Sequential(layers)
