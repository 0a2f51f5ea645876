"""Checkpoints as people have them: found, unwrapped and stripped, or refused with a sentence."""

import argparse
import collections
import datetime
import itertools
import os
import pathlib
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

from graft.core.errors import GraftError
from graft.models import checkpoints, torch_files


def network(seed=0):
    """The tensors of a small residual network with a classifier, as a state dict."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "conv1.weight": (4, 3, 3, 3),
        "bn1.weight": (4,),
        "bn1.running_mean": (4,),
        "layer1.0.conv1.weight": (4, 4, 3, 3),
        "layer1.0.conv2.weight": (6, 4, 1, 1),
        "layer1.0.conv2.bias": (6,),
        "fc.weight": (10, 6),
    }
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {**tensors, "bn1.num_batches_tracked": torch.tensor(7)}


TENSORS = network()
OWN = {name: tensor.shape for name, tensor in TENSORS.items() if name != "fc.weight"}


def prefixed(prefix, tensors=TENSORS):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def wrapped(keys, tensors):
    for key in reversed(keys):
        tensors = {"epoch": 3, key: tensors}
    return tensors


def read(tmp_path, loaded, name="weights.pth", own=OWN):
    torch.save(loaded, tmp_path / name)
    return checkpoints.read(tmp_path / name, own)


def assert_equal(found, tensors=TENSORS):
    for name in tensors:
        assert torch.equal(found.tensors[name], tensors[name]), name


WRAPPERS = [
    (),
    *[(key,) for key in ("state_dict", "model", "model_state_dict", "state_dict_ema", "teacher")],
    *[(key,) for key in ("net", "model_ema", "weights", "params", "params_ema", "network")],
    ("model", "state_dict"),
    ("ema", "module"),
    ("optimizer", "anything at all", "0"),
]
PREFIXES = [
    *("", "module.", "model.", "backbone.", "encoder.", "_orig_mod.", "net."),
    *("module.encoder_q.", "module.base_encoder.", "module.backbone.", "module._orig_mod."),
    *("_orig_mod.module.", "model.backbone.", "encoder.0.", "a.prefix.of.any.length."),
]


@pytest.mark.parametrize(
    ("keys", "prefix"),
    list(itertools.product(WRAPPERS, PREFIXES)),
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_network_is_found_in_every_wrapping_behind_every_prefix(tmp_path, keys, prefix):
    found = read(tmp_path, wrapped(keys, prefixed(prefix)))
    assert found.tensors.keys() == TENSORS.keys()
    assert_equal(found)
    assert (found.unwrapped, found.stripped, found.notes) == (keys, prefix, ())


def zipped(tensors, path):
    torch.save({"state_dict": tensors}, path)


def legacy(tensors, path):
    torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        *((f"weights{suffix}", zipped) for suffix in (".pth", ".pt", ".pth.tar", ".ckpt", ".bin")),
        *((f"weights{suffix}", legacy) for suffix in (".pth", ".pth.tar", "")),
        *((f"weights{suffix}", save_file) for suffix in (".safetensors", ".bin")),
    ],
)
def test_every_kind_of_file_is_told_by_its_contents(tmp_path, name, write, prefix):
    write(prefixed(prefix), tmp_path / name)
    found = checkpoints.read(tmp_path / name, OWN)
    assert_equal(found)
    assert found.stripped == prefix


@pytest.mark.parametrize("write", [save_file, zipped])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_cast_with_a_note(tmp_path, write, dtype):
    tensors = {k: t.to(dtype) if t.is_floating_point() else t for k, t in TENSORS.items()}
    write(tensors, tmp_path / "weights.safetensors" if write is save_file else tmp_path / "w.pth")
    (path,) = tmp_path.iterdir()
    found = checkpoints.read(path, OWN)
    assert_equal(found, {name: t.float() for name, t in tensors.items() if name in OWN})
    assert {t.dtype for t in found.tensors.values()} == {torch.float32, torch.int64}
    shown = str(dtype).removeprefix("torch.")
    assert found.notes == (f"7 tensors are {shown} in the file, and were cast to float32",)


@pytest.mark.parametrize(
    ("taken", "other"),
    [
        (("state_dict_ema",), ("state_dict",)),
        (("model_ema",), ("model",)),
        (("ema", "module"), ("model",)),
        (("params_ema",), ("params",)),
        (("teacher",), ("student",)),
        (("target_encoder",), ("encoder",)),
        (("model",), ("optimizer", "averages")),
        (("weights",), ("model", "state_dict")),  # the shorter path
        (("b",), ("a",)),  # the first in the file
    ],
    ids=" ".join,
)
def test_of_several_networks_one_is_read_by_rule_and_the_others_are_noted(tmp_path, taken, other):
    two = wrapped(taken, prefixed("module.")) | wrapped(other, prefixed("module.", network(1)))
    orders = [two] if taken == ("b",) else [two, dict(reversed(two.items()))]
    for held in orders:
        found = read(tmp_path, held)
        assert_equal(found)
        assert found.unwrapped == taken
        assert found.notes == (
            f"{': '.join(taken)}: module.* was read, of which 6 tensors fit; the file also holds "
            f"{': '.join(other)}: module.* (6)",
        )


@pytest.mark.parametrize(
    ("taken", "other"),
    [
        ("module.encoder_q.", "module.encoder_k."),
        ("module.base_encoder.", "module.momentum_encoder."),
        ("online_encoder.", "target_encoder.net."),
        ("teacher.backbone.", "student.backbone."),
        ("", "module."),
    ],
)
def test_of_several_prefixes_one_is_read_and_what_is_beside_has_no_values(tmp_path, taken, other):
    both = prefixed(other, network(1)) | prefixed(taken) | {"projector.weight": torch.ones(2)}
    found = read(tmp_path, {"state_dict": both})
    assert_equal(found)
    assert found.stripped == taken and len(found.notes) == 1
    if taken:
        beside = set(prefixed(other)) | {"projector.weight"}
        assert {name for name, tensor in found.tensors.items() if tensor.is_meta} == beside
    else:  # no prefix can tell them apart
        assert not any(tensor.is_meta for tensor in found.tensors.values())


def test_the_most_matching_tensors_win_over_the_name_of_the_key(tmp_path):
    partial = {name: tensor for name, tensor in network(1).items() if name != "bn1.weight"}
    found = read(tmp_path, {"state_dict_ema": partial, "state_dict": TENSORS})
    assert found.unwrapped == ("state_dict",) and "state_dict_ema (5)" in found.notes[0]


def test_the_shape_counts_and_counters_do_not(tmp_path):
    """The averages have no counter, as torch.optim.swa_utils leaves buffers out."""
    wide = {name: torch.zeros(*t.shape, 2) for name, t in TENSORS.items()}
    without = {name: t for name, t in TENSORS.items() if "num_batches" not in name}
    found = read(tmp_path, {"teacher": wide, "ema": without, "model": network(1)})
    assert found.unwrapped == ("ema",)


def test_dinos_checkpoint(tmp_path):
    """As its main_dino.py saves it: the student is wrapped for several processes."""
    held = {
        "student": prefixed("module.backbone.", network(1))
        | {"module.head.mlp.0.weight": torch.ones(3, 6)},
        "teacher": prefixed("backbone.") | {"head.mlp.0.weight": torch.ones(3, 6)},
        "optimizer": {"state": {0: {"exp_avg": torch.ones(4)}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small", output_dir=pathlib.Path("out")),
        "dino_loss": {"center": torch.ones(1, 3)},
    }
    found = read(tmp_path, held, "dino_deitsmall16_pretrain_full_checkpoint.pth")
    assert_equal(found)
    assert (found.unwrapped, found.stripped) == (("teacher",), "backbone.")
    assert found.tensors["head.mlp.0.weight"].is_meta
    assert "student: module.backbone.* (6)" in found.notes[0]


HARMLESS = {
    "arguments": argparse.Namespace(lr=np.float32(0.1), out=pathlib.PurePosixPath("out")),
    "numbers of NumPy": [np.float64(1), np.arange(3), np.dtype("float32"), np.random.get_state()],
    "objects of NumPy": np.array([{}, None], dtype=object),
    "mappings": collections.defaultdict(list, {"acc": [1]}),
    "dates": datetime.timedelta(1),
    "types": {"types": [int, dict, str]},
    "Counter": collections.Counter("ab"),
}


@pytest.mark.parametrize("write", [zipped, legacy])
@pytest.mark.parametrize("kind", HARMLESS)
def test_what_training_leaves_beside_the_weights_is_dropped(tmp_path, kind, write):
    write({**TENSORS, "hyper_parameters": HARMLESS[kind]}, tmp_path / "last.ckpt")
    found = checkpoints.read(tmp_path / "last.ckpt", OWN)
    assert_equal(found)
    assert found.tensors.keys() == TENSORS.keys()


def test_a_class_of_a_file_is_neither_imported_nor_made():
    """An object array of NumPy with a state of its own could point anywhere in memory."""
    for stand_in, name in torch_files._ALLOWED:
        assert stand_in in (torch_files._Left, torch_files._Items), name
    left = torch_files._Left("anything")
    left.__setstate__({"attribute": 1})
    assert not vars(left)


class Runs:
    """What runs a command when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Own(torch.nn.Module):
    pass


@pytest.mark.parametrize("write", [zipped, legacy])
@pytest.mark.parametrize("where", [lambda held: held, lambda held: argparse.Namespace(a=[held])])
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ((os.system, "touch {}"), r"posix\.system"),
        ((os.mkdir, "{}"), r"posix\.mkdir"),
        ((eval, "open('{}', 'w')"), "eval"),
        ((open, "{}", "w"), r"(_?io\.)?open"),
    ],
)
def test_a_pickle_that_would_run_code_does_not(tmp_path, command, name, where, write):
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    function, argument, *others = command
    write({**TENSORS, "args": where(Runs(function, argument.format(trace), *others))}, path)
    with pytest.raises(GraftError, match=rf"evil\.pth: .* an object of {name}, .* alone: torch"):
        checkpoints.read(path, OWN)
    assert not trace.exists()


@pytest.mark.parametrize("write", [torch.save, zipped, legacy])
def test_a_whole_pickled_network_is_refused_by_its_class_in_one_sentence(tmp_path, write):
    write(Own(), tmp_path / "model.pth")
    sentence = (
        r"^model\.pth: the file holds an object of \S*test_checkpoints\.Own, [^.\x1b]*\. Save"
    )
    with pytest.raises(GraftError, match=sentence) as caught:
        checkpoints.read(tmp_path / "model.pth", OWN)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def quantized(tensor):
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda t: t.to(torch.int8), "int8"),
        (lambda t: t.to(torch.uint8), "uint8"),
        (lambda t: t.to(torch.int64), "int64"),
        (lambda t: t > 0, "bool"),
        (lambda t: t.to(torch.complex64), "complex64"),
        (lambda t: t.to(torch.float8_e4m3fn), "float8_e4m3fn"),
        (quantized, r"quantized \(qint8\)"),
        (lambda t: t.to_sparse(), "sparse"),
        (lambda t: t.to("meta"), "without values"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_that_are_no_weights_are_refused(tmp_path, change, shown):
    held = {"model": {**TENSORS, "conv1.weight": change(TENSORS["conv1.weight"])}}
    with pytest.raises(GraftError, match=rf"weights\.pth: its conv1\.weight is {shown}, .*float32"):
        read(tmp_path, held)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_they_may_be_beside_the_network(tmp_path):
    held = {**TENSORS, "mask": torch.ones(2).to(torch.int8), "fc.weight": quantized(torch.ones(2))}
    assert_equal(read(tmp_path, held), {name: TENSORS[name] for name in OWN})


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        (
            {"state_dict": {"stem.a": torch.ones(1), "stem.b": torch.ones(1)}, "epoch": 3},
            r"\(its names begin with conv1\.weight, bn1\.weight\): it holds "
            r"state_dict \(stem\.a, stem\.b\), epoch\. Rename",
        ),
        ({0: torch.ones(1)}, r"it holds 0\. Rename"),
        ({}, r"it holds nothing\. Rename"),
        ({"arrays": {"conv1.weight": np.ones(2)}}, r"it holds arrays \(conv1\.weight\)\. Rename"),
        ({f"k{i}": i for i in range(9)}, r"it holds k0, k1, k2, k3, k4, k5, \.\.\.\. Rename"),
        ({"a\n\x1b[31m" + "b" * 99: 1}, r"it holds a\?\?\[31mb{50}\.\.\.\. Rename"),
        ([torch.ones(1)], "it holds a list, where a mapping of names to tensors belongs"),
        (torch.ones(1), "it holds a Tensor, where a mapping"),
    ],
)
def test_a_file_without_the_network_is_refused_with_the_keys_seen(tmp_path, held, sentence):
    with pytest.raises(GraftError, match=rf"^weights\.pth: .*{sentence}") as caught:
        read(tmp_path, held)
    assert "\n" not in str(caught.value)


def test_what_does_not_match_comes_with_the_error_under_plain_names(tmp_path):
    held = {"model": {"module.model.a": torch.ones(1), "module.model.b": torch.ones(1)}}
    with pytest.raises(checkpoints.UnmatchedError) as caught:
        read(tmp_path, held)
    assert list(caught.value.tensors) == ["a", "b"]


def test_a_mapping_that_holds_itself_ends(tmp_path):
    held = {"model": dict(TENSORS)}
    held["self"] = held["model"]["self"] = held
    assert_equal(read(tmp_path, held))


def scripted(path):
    torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1)).save(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (pathlib.Path.touch, "is no PyTorch state dict"),
        (lambda path: path.write_text("<html>"), "is no PyTorch state dict"),
        (lambda path: np.savez(path.open("wb"), a=1), "is no PyTorch state dict"),
        (lambda path: torch.save(TENSORS, path, pickle_protocol=4), "is no PyTorch state dict"),
        (scripted, "is a TorchScript archive"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, write, sentence):
    write(tmp_path / "weights.pth")
    with pytest.raises(GraftError, match=rf"^weights\.pth: the file {sentence}") as caught:
        checkpoints.read(tmp_path / "weights.pth", OWN)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_a_damaged_safetensors_file_is_refused(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(GraftError, match="not a readable safetensors file"):
        checkpoints.read(tmp_path / "weights.safetensors", OWN)


class Grid(NamedTuple):
    name: str
    theirs: int
    ours: int
    prefix_tokens: int


@pytest.mark.parametrize(
    "grid",
    [
        Grid("pos_embed", 3, 5, 1),
        Grid("pos_embed", 14, 7, 0),
        Grid("encoder.pos_embedding", 7, 12, 1),
        Grid("embeddings.position_embeddings", 4, 8, 5),
    ],
)
def test_position_embeddings_of_another_grid_are_resized(tmp_path, grid):
    generator = torch.Generator().manual_seed(0)
    theirs = torch.randn(1, grid.theirs**2 + grid.prefix_tokens, 6, generator=generator)
    shape = torch.Size((1, grid.ours**2 + grid.prefix_tokens, 6))
    found = read(tmp_path, {**TENSORS, grid.name: theirs}, own={**OWN, grid.name: shape})
    expected = resample_abs_pos_embed(
        theirs,
        new_size=[grid.ours, grid.ours],
        old_size=[grid.theirs, grid.theirs],
        num_prefix_tokens=grid.prefix_tokens,
    )
    resized = found.tensors[grid.name]
    assert torch.equal(resized, expected) and resized.shape == shape
    prefix = slice(grid.prefix_tokens)
    assert torch.equal(resized[:, prefix], theirs[:, prefix])
    assert found.notes == (
        f"{grid.name} was resized from a grid of {grid.theirs} x {grid.theirs} to {grid.ours} x "
        f"{grid.ours}, bicubically, but for {grid.prefix_tokens} tokens before it",
    )


def test_timms_checkpoint_of_another_grid_is_read_as_timm_reads_it(tmp_path):
    """As its train.py saves it, in halves; the filter is timm's own."""
    size = {"patch_size": 16, "embed_dim": 12, "depth": 1, "num_heads": 2, "num_classes": 3}
    theirs, ours = (VisionTransformer(img_size=side, **size) for side in (64, 96))
    halves = {name: tensor.half() for name, tensor in theirs.state_dict().items()}
    held = {"state_dict": network(), "state_dict_ema": prefixed("module.", halves), "arch": "vit"}
    own = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    found = read(tmp_path, held, "checkpoint-1.pth.tar", own)
    expected = checkpoint_filter_fn({name: t.float() for name, t in halves.items()}, ours)
    assert found.tensors.keys() == expected.keys()
    assert_equal(found, expected)
    assert "from a grid of 4 x 4 to 6 x 6" in found.notes[-1]


def test_a_plane_stays_a_plane_when_it_is_resized():
    """Bicubic interpolation of values that are constant along one axis."""
    rows = torch.arange(4.0).repeat_interleave(4).reshape(1, 16, 1)
    tensor = torch.cat([torch.full((1, 1, 1), 9.0), rows], 1)
    resized = checkpoints.resized_positions(tensor, torch.Size((1, 65, 1)), 1)
    grid = resized[0, 1:, 0].reshape(8, 8)
    assert resized[0, 0, 0] == 9 and torch.allclose(grid, grid[:, :1].expand(8, 8), atol=1e-6)
    assert (grid[1:, 0] > grid[:-1, 0]).all()


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("pos_embed", (1, 11, 6), (1, 26, 6)),  # no grid of 10 or 11
        ("pos_embed", (1, 10, 6), (1, 17, 8)),  # another width
        ("pos_embed", (1, 6, 3, 3), (1, 6, 4, 4)),
        ("patch_embed.proj.weight", (6, 3, 4, 4), (6, 3, 8, 8)),
        ("blocks.0.weight", (1, 10, 6), (1, 17, 6)),
    ],
)
def test_nothing_else_is_resized(tmp_path, name, theirs, ours):
    tensor = torch.ones(theirs)
    found = read(tmp_path, {**TENSORS, name: tensor}, own={**OWN, name: torch.Size(ours)})
    assert torch.equal(found.tensors[name], tensor) and not found.notes
