"""Keras's files: the arrays of each layer, of every network that a file holds.

Keras 1 and 2 (`.h5`): a file lists its layers (`layer_names`), each a group that lists its arrays
(`weight_names`); `model.save` writes the same one level down, in `model_weights`. The arrays of a
network within the model are all in its one group.

Keras 3 (`.weights.h5`, and `.keras`, a zip that holds it as `model.weights.h5`): a layer is a group
named by its class and a number, with the group `vars` of arrays 0, 1, ...; the attribute `name` of
`vars` is the layer's. Keras 3.0 to 3.5 write no such names (3.8 does); in `.keras` they follow from
`config.json`. A network within the model is a group with `layers` of its own.

Only arrays are read: never the code in a model's description, no link out of a file is followed,
and no member of an archive is written under its name.
"""

import contextlib
import json
import re
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from graft.core.errors import GraftError

Arrays = list[h5py.Dataset]

WEIGHTS, CONFIG = "model.weights.h5", "config.json"
"""The members of a `.keras` archive that are read."""

LARGEST = {WEIGHTS: 8 * 1024**3, CONFIG: 64 * 1024**2}
"""Bytes that a member may have unpacked: several times the largest network that is supported,
VGG-16 with its top and the optimizer's state."""


@dataclass(frozen=True)
class Network:
    """A model, or a network within one: the groups that lead to it, and its layers' arrays."""

    path: tuple[str, ...]
    layers: dict[str, Arrays] = field(default_factory=dict)


def is_keras(path: Path) -> bool:
    """By its name, or by its contents: HDF5, or a zip with Keras 3's weights."""
    if path.suffix.lower() in (".h5", ".hdf5", ".keras"):
        return True
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        return WEIGHTS in archive.namelist()
    return bool(h5py.is_hdf5(path))


@contextlib.contextmanager
def networks(path: Path) -> Iterator[list[Network]]:
    """The networks of a file while it is open, the outermost first.

    Raises GraftError if the file is in none of the layouts, or damaged (within the block too).
    """
    with _opened(path) as (file, names):
        root = file.get("model_weights", file)
        if "layer_names" in root.attrs:
            found = _keras_2(path, file, root)
        else:
            found = _keras_3(path, file, names)
        yield sorted(found, key=lambda network: len(network.path))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, dict[str, str]]]:
    """The HDF5 file, and the layers' names by their groups where an archive tells them."""
    try:
        with contextlib.ExitStack() as stack:
            source: Any = path
            names: dict[str, str] = {}
            if zipfile.is_zipfile(path):
                archive = stack.enter_context(zipfile.ZipFile(path))
                source = stack.enter_context(tempfile.TemporaryFile())
                with _member(path, archive, WEIGHTS) as member:
                    shutil.copyfileobj(member, source)
                with _member(path, archive, CONFIG) as member:
                    names = dict(_names(json.load(member)))
            yield stack.enter_context(h5py.File(source, "r", locking=False)), names
    # What h5py raises depends on where in the file the damage is.
    except (
        *(OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GraftError(
            f"{path.name}: the file is damaged or no HDF5 file of weights ({reason}). Fetch it "
            "again."
        ) from None


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> Any:
    if name not in archive.namelist():
        raise GraftError(
            f"{path.name}: the archive has no {name}, so it is not Keras 3's. Save the model again "
            "as .keras or .weights.h5."
        )
    size = archive.getinfo(name).file_size
    if size > LARGEST[name]:
        raise GraftError(
            f"{path.name}: its {name} has {size} bytes unpacked, and at most {LARGEST[name]} are "
            "read. Save the weights of the network alone."
        )
    return archive.open(name)


def _names(config: Mapping[str, Any], base: str = "") -> Iterator[tuple[str, str]]:
    """The groups of a model's layers, by their classes and numbers, with their names."""
    numbers = Counter[str]()
    for layer in config["config"].get("layers", ()):
        kind = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", layer["class_name"]))
        kind = re.sub("([a-z])([A-Z])", r"\1_\2", kind).lower()  # as Keras does, to snake case
        group = f"{base}layers/{kind}" + (f"_{numbers[kind]}" if numbers[kind] else "")
        numbers[kind] += 1
        yield group, layer["config"].get("name", "")
        yield from _names(layer, f"{group}/")


def _keras_2(path: Path, file: h5py.File, root: h5py.Group) -> list[Network]:
    if "theano" in texts([root.attrs.get("backend", file.attrs.get("backend", ""))]):
        raise GraftError(
            f"{path.name}: it was saved by Keras on Theano, which flips kernels. Save its "
            "weights again on TensorFlow."
        )
    opened = () if root == file else ("model_weights",)
    model, inner = Network(opened), []
    for name in texts(root.attrs["layer_names"]):
        group = root[name]
        by_layer: dict[tuple[str, ...], Arrays] = {}
        for array in texts(group.attrs["weight_names"]):
            by_layer.setdefault(tuple(array.split("/")[:-1]), []).append(group[array])
        _check_all(path, name, [array for arrays in by_layer.values() for array in arrays], file)
        if len(by_layer) == 1:
            model.layers[name] = next(iter(by_layer.values()))
        elif by_layer:
            levels = zip(*by_layer, strict=False)
            shared = len(list(takewhile(lambda names: len(set(names)) == 1, levels)))
            within = {"/".join(layer[shared:]): arrays for layer, arrays in by_layer.items()}
            inner.append(Network((*opened, name), within))
    return [model, *inner]


def _keras_3(path: Path, file: h5py.File, names: Mapping[str, str]) -> list[Network]:
    groups: list[str] = []
    # Soft and external links are not visited, and an object with several names only once.
    file.visit(lambda name: groups.append(name) if name.endswith("/vars") else None)
    found: dict[tuple[str, ...], Network] = {}
    named = False
    for group in groups:
        variables, layer = file[group], group.removesuffix("/vars")
        if layer.startswith("optimizer") or not isinstance(variables, h5py.Group):
            continue
        arrays = [variables[key] for key in sorted(variables, key=lambda key: (len(key), key))]
        if not arrays:
            continue
        _check_all(path, layer, arrays, file)
        name = texts([variables.attrs.get("name", names.get(layer, ""))])[0]
        named |= bool(name)
        parts = tuple(layer.split("/"))[:-1]
        parts = parts[:-1] if parts[-1:] == ("layers",) else parts
        found.setdefault(parts, Network(parts)).layers[name or layer] = arrays
    if not named:
        raise GraftError(
            f"{path.name}: it lists no layer_names, as Keras 2 does, and no names of layers, as "
            "Keras 3.8 does. Save the whole model as .keras, or the weights with Keras 3.8."
        )
    return list(found.values())


def _check_all(path: Path, layer: str, arrays: Arrays, file: h5py.File) -> None:
    """Raise GraftError for an array whose numbers are not in the file itself."""
    for array in arrays:
        if (
            not isinstance(array, h5py.Dataset)
            or array.file.id != file.id
            or array.external is not None
            or array.is_virtual
        ):
            raise GraftError(
                f"{path.name}: the layer {layer} is not stored in the file itself. Save the "
                "weights again."
            )


def texts(values: object) -> list[str]:
    """Attributes of texts, which are bytes in older files."""
    return [v.decode() if isinstance(v, bytes) else str(v) for v in np.asarray(values).ravel()]
