"""Checkpoints: a network's tensors, found in what a training run saved.

A file may wrap the state dict in keys (`state_dict`, `model`, `teacher`), several of them, and the
names may have a prefix that a wrapper of the network left (`module.`, `backbone.`, `_orig_mod.`).
Neither is guessed from a list: every mapping with tensors in the file, with every beginning of its
names up to a dot, is a candidate, and the one that fits the network best is read. docs/weights.md
states the rule where several fit.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from graft.core.errors import GraftError
from graft.models import model_file, torch_files

Tensors = dict[str, torch.Tensor]
Shapes = Mapping[str, torch.Size]

FIRST = frozenset(
    ("teacher", "target_encoder", "ema", "ema_model", "ema_state_dict", "model_ema", "params_ema")
) | frozenset(("model_ema_state_dict", "state_dict_ema", "online_encoder", "online_network"))
"""Words of a path that are read before all others where these fit as well: the averages and the
teachers, which timm, DINO and I-JEPA evaluate, and BYOL's online network."""

LAST = frozenset(
    ("student", "encoder_k", "momentum_encoder", "momentum_network", "target_network", "optimizer")
)
"""Words of a path that are read after all others: DINO's student, and the momentum encoders of
MoCo and BYOL, whose authors transfer the other one."""

WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.")
"""Prefixes that are taken off only to tell of what other architecture the tensors are."""

POSITIONS = ("pos_embed", "pos_embedding", "position_embedding", "position_embeddings")
"""How names of position embeddings end: timm's, torchvision's, Hugging Face's."""

INTEGERS = ("num_batches_tracked", "index", "ids")
"""How names of tensors end that are counters and tables of indices, so int64."""

_DEPTH = 5  # levels of keys
_PREFIX_TOKENS = range(10)  # class, distillation, registers


@dataclass(frozen=True)
class Checkpoint:
    """A network's tensors, and how the file held them.

    `tensors` are by the network's own names, float32 where they were another float. Those that are
    not under `stripped` keep their name in the file and have no values (torch's `meta` device).
    """

    tensors: Tensors
    unwrapped: tuple[str, ...] = ()
    """The keys that were opened, the outermost first."""
    stripped: str = ""
    """The beginning that was taken off the names; "" if none."""
    notes: tuple[str, ...] = ()
    """Sentences on what was chosen, cast and resized."""


class UnmatchedError(GraftError):
    """None of a file's tensors has a name of the network's."""

    def __init__(self, message: str, tensors: Tensors):
        super().__init__(message)
        self.tensors = tensors
        """The largest mapping in the file, without prefixes that all its names share."""


@dataclass(frozen=True)
class _Candidate:
    keys: tuple[str, ...]
    prefix: str
    tensors: Tensors
    fitting: int
    """Tensors with a name and the shape of the network's."""
    named: int
    """Tensors with a name of the network's."""

    def order(self) -> tuple[int, ...]:
        words = [*self.keys, *self.prefix.split(".")[:-1]]
        rank = 0 if FIRST.intersection(words) else 2 if LAST.intersection(words) else 1
        return -self.fitting, -self.named, rank, len(words)

    def __str__(self) -> str:
        parts = [*map(_shown, self.keys), *([f"{_shown(self.prefix)}*"] if self.prefix else [])]
        return ": ".join(parts) or "the top level"


def read(path: Path, own: Shapes) -> Checkpoint:
    """The tensors of a file for a network whose names and shapes are `own`.

    The file is one of safetensors or of `torch.save` (`.pth`, `.pt`, `.bin`, `.ckpt`, `.pth.tar`).
    Raises GraftError if it is neither, needs a class to unpickle (see `torch_files`) or holds the
    network's tensors as integers, quantized, complex, sparse or without values; UnmatchedError if
    nothing in it has a name of the network's.
    """
    loaded = model_file.load(path)[0] if is_safetensors(path) else torch_files.load(path)
    mappings = list(_mappings(loaded))
    candidates = [
        candidate for keys, found in mappings for candidate in _candidates(keys, found, own)
    ]
    if not candidates:
        raise _unmatched(path, loaded, [tensors for _, tensors in mappings], own)
    best = min(candidates, key=_Candidate.order)
    notes = list(_notes_of_choice(best, candidates))
    tensors, beside = _split(best, own)
    for name in own:
        if name in tensors and (problem := _problem(name, tensors[name])):
            raise GraftError(
                f"{path.name}: its {name} is {problem}, and is not what {name} was trained as. "
                "Save the state dict in float32, without quantization."
            )
    cast = {name: _float32(tensor) for name, tensor in tensors.items()}
    notes += _notes_of_casts(tensors, cast)
    tensors = cast
    for name in own:
        if name in tensors and (grids := _grids(name, tensors[name].shape, own[name])):
            prefix_tokens, old, new = grids
            tensors[name] = resized_positions(tensors[name], own[name], prefix_tokens)
            notes.append(
                f"{name} was resized from a grid of {old} x {old} to {new} x {new}, bicubically, "
                f"but for {prefix_tokens} tokens before it"
            )
    return Checkpoint({**beside, **tensors}, best.keys, best.prefix, tuple(notes))


def resized_positions(
    tensor: torch.Tensor, own_shape: torch.Size, prefix_tokens: int
) -> torch.Tensor:
    """Position embeddings (1, prefix_tokens + side ** 2, d) float32 on the square grid of another.

    The grid is interpolated bicubically, as timm does; the tokens before it are copied.
    """
    from timm.layers import resample_abs_pos_embed

    side = math.isqrt(own_shape[1] - prefix_tokens)
    return resample_abs_pos_embed(
        tensor, new_size=[side, side], num_prefix_tokens=prefix_tokens
    ).contiguous()


def is_safetensors(path: Path) -> bool:
    """By its name, or by its contents: the length of a JSON header as 8 bytes, and the header."""
    if path.suffix.lower() == ".safetensors":
        return True
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _mappings(
    loaded: object, keys: tuple[str, ...] = (), seen: set[int] | None = None
) -> Iterator[tuple[tuple[str, ...], Tensors]]:
    """The mappings of names to tensors, with the keys that lead there; each object once."""
    seen = set() if seen is None else seen
    if not isinstance(loaded, Mapping) or id(loaded) in seen or len(keys) > _DEPTH:
        return
    seen.add(id(loaded))
    named = {key: value for key, value in loaded.items() if isinstance(key, str)}
    tensors = {key: t.detach() for key, t in named.items() if isinstance(t, torch.Tensor)}
    if tensors:
        yield keys, tensors
    for key, value in named.items():
        yield from _mappings(value, (*keys, key), seen)


def _candidates(keys: tuple[str, ...], tensors: Tensors, own: Shapes) -> Iterator[_Candidate]:
    """The prefixes, up to a dot, behind which some name is one of the network's."""
    fitting, named = Counter[str](), Counter[str]()
    for name, tensor in tensors.items():
        for prefix in _prefixes(name):
            rest = name[len(prefix) :]
            if rest in own and not rest.endswith(INTEGERS):
                named[prefix] += 1
                fitting[prefix] += tensor.shape == own[rest]
    for prefix in named:
        yield _Candidate(keys, prefix, tensors, fitting[prefix], named[prefix])


def _prefixes(name: str) -> Iterator[str]:
    yield ""
    for at, character in enumerate(name):
        if character == ".":
            yield name[: at + 1]


def _split(chosen: _Candidate, own: Collection[str]) -> tuple[Tensors, Tensors]:
    """What is under the prefix, by its names without it, and the rest without values."""
    tensors, beside = {}, {}
    for name, tensor in chosen.tensors.items():
        if name.startswith(chosen.prefix):
            tensors[name.removeprefix(chosen.prefix)] = tensor
        elif name not in own:
            beside[name] = torch.empty(tensor.shape, device="meta")
    return tensors, beside


def _problem(name: str, tensor: torch.Tensor) -> str:
    """Why a tensor's values are not weights, such as its dtype; "" if they are."""
    if tensor.is_quantized:
        return f"quantized ({_shown_dtype(tensor.dtype)})"
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_meta:
        return "without values"
    floats = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    if tensor.dtype in floats or (tensor.dtype == torch.int64 and name.endswith(INTEGERS)):
        return ""
    return _shown_dtype(tensor.dtype)


def _float32(tensor: torch.Tensor) -> torch.Tensor:
    plain = tensor.layout == torch.strided and not tensor.is_quantized
    return tensor.float() if plain and tensor.is_floating_point() else tensor


def _shown_dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _grids(name: str, shape: torch.Size, own_shape: torch.Size) -> tuple[int, int, int] | None:
    """(tokens before the grid, its side, the network's side) of position embeddings of another
    grid, both square; None for everything else."""
    if not name.endswith(POSITIONS) or shape == own_shape:
        return None
    if not len(shape) == len(own_shape) == 3 or (shape[0], shape[2]) != (1, own_shape[2]):
        return None
    for prefix_tokens in _PREFIX_TOKENS:
        old, new = (math.isqrt(max(s[1] - prefix_tokens, 0)) for s in (shape, own_shape))
        tokens = old**2 + prefix_tokens, new**2 + prefix_tokens
        if min(old, new) > 1 and tokens == (shape[1], own_shape[1]):
            return prefix_tokens, old, new
    return None


def _notes_of_choice(best: _Candidate, candidates: Iterable[_Candidate]) -> Iterator[str]:
    """One sentence where something else in the file fits at least half as well."""
    others = [c for c in candidates if c is not best and c.fitting > best.fitting / 2]
    if others:
        listed = ", ".join(f"{other} ({other.fitting})" for other in others[:3])
        yield (
            f"{best} was read, of which {best.fitting} tensors fit; the file also holds {listed}"
        )


def _notes_of_casts(tensors: Tensors, cast: Tensors) -> Iterator[str]:
    """One sentence for each float that is not float32."""
    changed = (t.dtype for name, t in tensors.items() if cast[name].dtype != t.dtype)
    for dtype, count in Counter(changed).items():
        yield f"{count} tensors are {_shown_dtype(dtype)} in the file, and were cast to float32"


def _unmatched(path: Path, loaded: object, found: list[Tensors], own: Shapes) -> GraftError:
    """One sentence that names the keys that were seen, and how the network's names begin."""
    if not isinstance(loaded, Mapping):
        return GraftError(
            f"{path.name}: it holds a {type(loaded).__name__}, where a mapping of names to tensors "
            f"belongs. {torch_files.SAVE}"
        )
    tensors = max(found, key=len, default={})
    while tensors and (shared := [w for w in WRAPPERS if all(n.startswith(w) for n in tensors)]):
        tensors = {name.removeprefix(shared[0]): tensor for name, tensor in tensors.items()}
    ours = f" (its names begin with {', '.join(list(own)[:2])})" if own else ""
    return UnmatchedError(
        f"{path.name}: nothing in it has the name of a tensor of the network{ours}: it holds "
        f"{_keys(loaded)}. Rename its tensors to the network's names.",
        tensors,
    )


def _keys(mapping: Mapping, limit: int = 6) -> str:
    """The first keys of the first two levels, such as "state_dict (conv1.weight, ...), epoch"."""
    shown = []
    for key, value in list(mapping.items())[:limit]:
        inner = f" ({_keys(value, 2)})" if isinstance(value, Mapping) and limit > 2 else ""
        shown.append(_shown(key) + inner)
    return ", ".join([*shown, *(["..."] if len(mapping) > limit else [])]) or "nothing"


def _shown(key: object) -> str:
    """A key of a file, which may be anything, as short printable text."""
    text = str(key) if isinstance(key, str | int) else type(key).__name__
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 60 else f"{text[:57]}..."
