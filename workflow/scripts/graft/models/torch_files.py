"""PyTorch's files: tensors and plain containers, read without a class that a file names.

Files are unpickled by `torch.load(weights_only=True)`, which refuses every class but tensors and
plain containers. Checkpoints of training hold more: arguments, paths, numbers of NumPy, configs.
The names of such classes are allowed here, and stand for `_Left` or for an empty mapping, whatever
the file puts in: no class of theirs is imported or made, so it does not matter what they could do.
Every other name is refused, a whole pickled `nn.Module` too.
"""

import re
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch

from graft.core.errors import GraftError


class _Left:
    """Stands for an object that is no weight; what it is made of is dropped."""

    def __new__(cls, *arguments: object) -> "_Left":
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


class _Items:
    """Stands for a class of mappings: what it makes is an OrderedDict, empty at first."""

    def __new__(cls, *arguments: object) -> "OrderedDict[object, object]":  # type: ignore[misc]
        return OrderedDict()


def _of(modules: tuple[str, ...], names: tuple[str, ...]) -> list[str]:
    return [f"{module}.{name}" for module in modules for name in names]


LEFT = [
    "argparse.Namespace",
    *_of(("builtins",), ("bool", "dict", "float", "frozenset", "int", "list", "range", "slice")),
    *("builtins.str", "builtins.tuple"),
    *_of(("datetime",), ("date", "datetime", "timedelta")),
    *_of(("numpy",), ("dtype", "ndarray")),
    *_of(("numpy.core.multiarray", "numpy._core.multiarray"), ("_reconstruct", "scalar")),
    *_of(("pathlib", "pathlib._local"), ("Path", "PosixPath", "WindowsPath")),
    *_of(("pathlib", "pathlib._local"), ("PurePath", "PurePosixPath", "PureWindowsPath")),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig", "typing.Any"),
    *_of(("omegaconf.base",), ("ContainerMetadata", "Metadata")),
    *_of(("omegaconf.nodes",), ("AnyNode", "BooleanNode", "FloatNode", "IntegerNode")),
    *_of(("omegaconf.nodes",), ("PathNode", "StringNode")),
    "mmengine.logging.history_buffer.HistoryBuffer",
    # Lightning before 1.5 has the classes of callbacks as keys.
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
]
"""Names that stand for `_Left`. Those of `builtins` are only referred to, as types of settings."""

ITEMS = [
    "collections.defaultdict",
    "easydict.EasyDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "yacs.config.CfgNode",
]
"""Names of mappings that stand for `_Items`."""

_ALLOWED: list[Callable | tuple[Callable, str]] = [
    *((_Left, name) for name in LEFT),
    *((_Items, name) for name in ITEMS),
]

SAVE = "Save the state dict alone: torch.save(model.state_dict(), 'weights.pth')."


def load(path: Path) -> object:
    """What a file of `torch.save` holds, of its zip or its older format, on the CPU.

    Raises GraftError, with the name of the class, if the file needs one that is not allowed here,
    or if it is a TorchScript archive, damaged, or no such file.
    """
    try:
        with torch.serialization.safe_globals(_ALLOWED), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything on a damaged file
        raise _refusal(path, str(error) or type(error).__name__) from None


def _refusal(path: Path, message: str) -> GraftError:
    """torch.load's message as one sentence, without its advice and its codes of colours."""
    message = re.sub(r"\x1b\[[0-9;]*m", "", message)
    if name := re.search(r"GLOBAL ([\w.]+)", message):
        return GraftError(
            f"{path.name}: the file holds an object of {name[1]}, which is no tensor and is not "
            f"unpickled, because a class can run code. {SAVE}"
        )
    if "TorchScript" in message:
        return GraftError(
            f"{path.name}: the file is a TorchScript archive, a program with its weights. Save "
            "them alone: torch.save(torch.jit.load(path).state_dict(), 'weights.pth')."
        )
    reason = message.rpartition("WeightsUnpickler error:")[2].strip().splitlines()[0]
    return GraftError(
        f"{path.name}: the file is no PyTorch state dict ({reason.rstrip('.')}). Publish it as "
        "safetensors or a state dict."
    )
