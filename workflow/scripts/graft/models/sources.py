"""Sources: pre-trained weights of any origin, normalised to one file.

Whatever they were published as, weights leave this stage as a safetensors file under
torchvision's names, with the architecture and the input transform in its header.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from graft.core.errors import GraftError, nearest
from graft.models import keras_weights, model_file
from graft.models.backbones import Backbone
from graft.models.transforms import Transform

_COUNTER = "num_batches_tracked"


def read(
    path: Path,
    *,
    architecture: str | None = None,
    allow_new: Sequence[str] = (),
    key: str = "the source",
) -> dict[str, torch.Tensor]:
    """Tensors of a `.safetensors` file, a PyTorch state dict (`.pth`, `.pt`) or Keras's `.h5`.

    A state dict may be wrapped as {"state_dict": ...} or {"model": ...}, and its names may
    carry the prefix `module.` that DataParallel leaves. Keras's files name their layers
    otherwise, so they need the architecture (see `keras_weights.read`) and what of it they may
    lack; `key` names the source in messages. Never unpickles anything but tensors, and never
    runs what a file holds.
    """
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return model_file.load(path)[0]
    if suffix in (".h5", ".hdf5"):
        with _about(key):
            optional = _new_names(Backbone(architecture, skip_init=True), allow_new)
            return keras_weights.read(path, architecture, optional)
    if suffix == ".keras":
        raise GraftError(
            f"{path.name}: Keras 3 archives are not read. Save the weights in the layout of Keras "
            "2, as .h5, or as safetensors."
        )
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything on a damaged file
        raise GraftError(
            f"{path.name}: it is no PyTorch state dict of plain tensors "
            f"({(str(error).splitlines() or [type(error).__name__])[0]}). Save it as safetensors, "
            "or as a state dict."
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(map(_is_named, loaded, loaded.values())):
        raise GraftError(
            f"{path.name}: it holds no state dict (names mapped to plain tensors). Save one with "
            "torch.save(model.state_dict(), ...), or as safetensors."
        )
    return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}


def _is_named(name, value) -> bool:
    return (
        isinstance(name, str)
        and torch.is_tensor(value)
        and value.layout == torch.strided
        and not (value.is_quantized or value.is_complex() or value.is_meta)
    )


def normalise(
    tensors: dict[str, torch.Tensor],
    destination: Path,
    *,
    architecture: str,
    transform: dict,
    key: str,
    origin: dict,
    allow_new: Sequence[str] = (),
    experts: dict[str, dict] | None = None,
) -> dict:
    """Write the backbone's part of `tensors` to `destination`; return the import report.

    The report lists the tensors that were imported, those that start anew, and those that were
    skipped (a classifier, another head). `allow_new` are blocks, or beginnings of tensors' names,
    that may be missing from the weights or have another shape there: these start at random,
    equal every time. `transform` is what the written source expects of its input. `experts`
    describes the members of a stack.

    Raises GraftError if nothing matches, or if any other layer of the architecture is missing or
    has another shape: half a backbone is no source.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = Backbone(architecture, experts)
    own = backbone.tensors()
    with _about(key):
        allowed = _new_names(backbone, allow_new)
    new = {
        name for name in allowed if name not in tensors or tensors[name].shape != own[name].shape
    }
    if not any(name in tensors and name not in new for name in own):
        raise GraftError(
            f"{key}: none of the {len(tensors)} tensors in the weights matches a layer of "
            f"{architecture} (the file has {_examples(tensors)}, {architecture} has "
            f"{_examples(own)}). Check {key}.architecture."
        )
    given = {**tensors, **{name: own[name] for name in new}}
    for name, tensor in own.items():
        # State dicts from before PyTorch 0.4.1 lack this counter, which inference never reads.
        if name.endswith(_COUNTER):
            given.setdefault(name, tensor)
    with _about(key, f" Check {key}.architecture."):
        backbone.load(given)
    if not all(torch.isfinite(tensor).all() for tensor in backbone.tensors().values()):
        raise GraftError(f"{key}: the weights hold values that are not finite. Fetch them again.")
    description = {
        "architecture": architecture,
        "transform": Transform.from_dict(transform).to_dict(),
        "origin": origin,
        **({"experts": experts} if experts else {}),
    }
    model_file.save(destination, backbone.tensors(), description)
    return {
        "imported": [name for name in own if name not in new],
        "new": [name for name in own if name in new],
        "skipped": sorted(set(tensors) - set(own)),
        "parameters": sum(p.numel() for p in backbone.parameters()),
    }


def stack(members: Mapping[str, Path]) -> tuple[dict[str, torch.Tensor], dict[str, dict]]:
    """Several sources as one: tensors named `{member}.{torchvision's name}`, and the experts.

    The experts say of each member, by name, its {"architecture", "transform"}.
    """
    tensors, experts = {}, {}
    for member, path in members.items():
        loaded, description = model_file.load(path)
        tensors |= {f"{member}.{name}": tensor for name, tensor in loaded.items()}
        experts[member] = {key: description[key] for key in ("architecture", "transform")}
    return tensors, experts


_PUBLISHED_AS = {"vgg16_fc7": "vgg16"}
"""torchvision's name of an architecture that is one of its own, cut elsewhere."""


def torchvision_weights(architecture: str, name: str) -> tuple[str, str]:
    """(URL, first 8 digits of the sha256) of a torchvision weights enum, e.g. IMAGENET1K_V1."""
    from torchvision.models import get_model_weights

    try:
        enum = get_model_weights(_PUBLISHED_AS.get(architecture, architecture))
    except ValueError:
        raise GraftError(
            f"torchvision has no weights for {architecture}. Use another kind of weights."
        ) from None
    if name not in enum.__members__:
        raise GraftError(
            f"torchvision has no {architecture} weights {name!r}. "
            f"{nearest(name, list(enum.__members__))}"
        )
    url = enum[name].url
    return url, url.rsplit("-", 1)[1].split(".")[0]


@contextlib.contextmanager
def _about(key: str, advice: str = "") -> Iterator[None]:
    """Name the source in what goes wrong within."""
    try:
        yield
    except GraftError as error:
        raise GraftError(f"{key}: {error}{advice}") from None


def _new_names(backbone: Backbone, allow_new: Sequence[str]) -> set[str]:
    """The tensors that stand in these blocks, or whose names begin with these parts."""
    names: set[str] = set()
    for entry in allow_new:
        found = {
            name for name in backbone.tensors() if f"{name}.".startswith(f"{entry.rstrip('.')}.")
        }
        if entry in backbone.blocks:
            found |= set(backbone.tensors([entry]))
        if not found:
            raise GraftError(
                f"allow_new names {entry!r}, which is neither a block of {backbone.architecture} "
                f"({', '.join(backbone.blocks)}) nor the beginning of a tensor's name (such as "
                f"{_examples(backbone.tensors())}). Correct it."
            )
        names |= found
    return names


def _examples(names) -> str:
    return ", ".join(list(names)[:2])
