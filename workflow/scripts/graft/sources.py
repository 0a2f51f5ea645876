"""Sources: pre-trained weights of any origin, normalised to one file.

Whatever they were published as, weights leave this stage as a safetensors file under
torchvision's names, with the architecture and the input transform in its header.
"""

from pathlib import Path

import torch

from graft import networks
from graft.backbones import Backbone
from graft.errors import GraftError
from graft.transforms import Transform

_COUNTER = "num_batches_tracked"


def read(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a `.safetensors` file or of a PyTorch state dict (`.pth`, `.pt`).

    A state dict may be wrapped as {"state_dict": ...} or {"model": ...}, and its names may
    carry the prefix `module.` that DataParallel leaves. Never unpickles anything but tensors.
    """
    if path.suffix == ".safetensors":
        return networks.load(path)[0]
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything on a damaged file
        raise GraftError(
            f"{path.name} is not a PyTorch state dict of plain tensors "
            f"({str(error).splitlines()[0]}); publish it as safetensors or a state dict."
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(torch.is_tensor(v) for v in loaded.values()):
        raise GraftError(f"{path.name} holds no state dict (names mapped to tensors).")
    return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}


def normalise(
    tensors: dict[str, torch.Tensor],
    destination: Path,
    *,
    architecture: str,
    transform: dict,
    key: str,
    origin: dict,
) -> dict:
    """Write the backbone's part of `tensors` to `destination`; return the import report.

    The report lists the tensors that were imported and those that were skipped (a classifier,
    another head). Raises GraftError if nothing matches, or if any layer of the architecture
    is missing or has another shape: half a backbone is no source.
    """
    backbone = Backbone(architecture)
    own = backbone.tensors()
    given = dict(tensors)
    for name, tensor in own.items():
        # State dicts from before PyTorch 0.4.1 lack this counter, which inference never reads.
        if name.endswith(_COUNTER):
            given.setdefault(name, tensor)
    matching = [name for name in own if name in tensors]
    if not matching:
        raise GraftError(
            f"{key}: none of the {len(tensors)} tensors in the weights matches a layer of "
            f"{architecture} (theirs begin with {_examples(tensors)}, ours with "
            f"{_examples(own)}); check {key}.architecture."
        )
    try:
        imported = backbone.load(given)
    except GraftError as error:
        raise GraftError(f"{key}: {error} Check {key}.architecture.") from None
    if not all(torch.isfinite(tensor).all() for tensor in backbone.tensors().values()):
        raise GraftError(f"{key}: the weights hold values that are not finite; they are damaged.")
    description = {
        "architecture": architecture,
        "transform": Transform.from_dict(transform).to_dict(),
        "origin": origin,
    }
    networks.save(destination, backbone.tensors(), description)
    return {
        "imported": imported,
        "skipped": sorted(set(tensors) - set(own)),
        "parameters": sum(p.numel() for p in backbone.parameters()),
    }


def torchvision_weights(architecture: str, name: str) -> tuple[str, str]:
    """(URL, first 8 digits of the sha256) of a torchvision weights enum, e.g. IMAGENET1K_V1."""
    from torchvision.models import get_model_weights

    try:
        enum = get_model_weights(architecture)
    except ValueError:
        raise GraftError(f"torchvision has no weights for {architecture}.") from None
    if name not in enum.__members__:
        raise GraftError(
            f"torchvision has no {architecture} weights {name!r}; it has "
            f"{', '.join(enum.__members__)}."
        )
    url = enum[name].url
    return url, url.rsplit("-", 1)[1].split(".")[0]


def _examples(names) -> str:
    return ", ".join(list(names)[:2])
