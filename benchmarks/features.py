"""The feature pass against plain loops and against the machine's bf16 matrix product.

    make bench-features                       # or python benchmarks/features.py --help

For each network, with random weights, all variants take the same uint8 pictures (batch, 224, 224,
3) to float16 features after global average pooling. They run in one process, interleaved, so that
what else the machine does meets all of them. Printed are medians over the rounds: pictures a
second, the share of the bf16 matrix product's rate measured in the same rounds (torch.mm of
matrices of 2048 x 2048; operations counted by torch.utils.flop_counter), and the ratio to the
plain fp32 loop. `plain` is how torchvision's documentation runs a model in a loop, at fp32 or
converted to bf16 in channels last.

The process keeps the memory that it frees, as the stage does; with `--free` it does not.
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

import machine  # noqa: E402

from graft.config.sources import Transform  # noqa: E402
from graft.core import devices  # noqa: E402
from graft.models import inference  # noqa: E402
from graft.models.backbones import Backbone  # noqa: E402
from graft.models.network import split  # noqa: E402
from graft.models.transforms import to_input  # noqa: E402

NETWORKS = ("vgg16", "resnet18", "squeezenet1_1", "timm/vit_small_patch16_224")
SIDE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TRANSFORM = Transform(mean=MEAN, std=STD)
Pass = Callable[[torch.Tensor], torch.Tensor]


def plain(name: str, dtype: torch.dtype) -> Pass:
    """The published network without its classifier, in a loop as the documentation has it."""
    if name.startswith("timm/"):
        model = timm.create_model(name.removeprefix("timm/"), num_classes=0)
    else:
        model = models.get_model(name, weights=None)
        if hasattr(model, "fc"):
            model.fc = nn.Identity()
        else:
            model = nn.Sequential(model.features, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = model.eval().to(dtype)
    if dtype == torch.bfloat16:
        model = model.to(memory_format=torch.channels_last)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (MEAN, STD))

    @torch.inference_mode()
    def run(pictures: torch.Tensor) -> torch.Tensor:
        batch = (pictures.permute(0, 3, 1, 2).float() / 255 - mean) / std
        if dtype == torch.bfloat16:
            batch = batch.to(dtype, memory_format=torch.channels_last)
        else:
            batch = batch.contiguous()
        return model(batch).half()

    return run


def variants(prefix: nn.Module) -> dict[str, Pass]:
    """The prefix under autocast, as the feature pass was, and what is made of it, step by step."""
    folded = copy.deepcopy(prefix)
    for graph in [part for part in folded.modules() if isinstance(part, fx.GraphModule)]:
        inference.fold_batch_norms(graph)
    rounded = copy.deepcopy(folded)
    inference.round_weights(rounded)
    options = {"dynamic": False, "options": {"freezing": True}}
    networks = {
        "autocast alone": prefix,
        "folded": folded,
        "folded, weights rounded (Graft)": rounded,
        "the same, compiled": torch.compile(copy.deepcopy(rounded), **options),
    }
    return {name: ours(network) for name, network in networks.items()}


def ours(network: Pass) -> Pass:
    @torch.no_grad()
    def run(pictures: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network(to_input(pictures, TRANSFORM)).half()

    return run


def flops_of(prefix: nn.Module) -> int:
    """Operations of a picture in convolutions and matrix products, two a multiplication."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        prefix(torch.zeros(1, 3, SIDE, SIDE))
    return counter.get_total_flops()


def in_process(name: str, batch: int, rounds: int) -> None:
    torch.manual_seed(0)
    pictures = torch.randint(0, 256, (batch, SIDE, SIDE, 3), dtype=torch.uint8)
    prefix = split(Backbone(name, size=SIDE).eval(), "avgpool")[0]
    prefix = prefix.to(memory_format=torch.channels_last)
    flops = flops_of(prefix)
    passes = {"plain, fp32": plain(name, torch.float32), "plain, bf16": plain(name, torch.bfloat16)}
    passes |= variants(prefix)
    first = {}
    for variant, run in passes.items():
        start = time.perf_counter()
        run(pictures)
        first[variant] = time.perf_counter() - start
    square = torch.randn(2048, 2048).bfloat16()
    seconds: dict[str, list[float]] = {variant: [] for variant in passes}
    ceiling = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(4):
            torch.mm(square, square)
        ceiling.append(4 * 2 * 2048**3 / (time.perf_counter() - start))
        for variant, run in passes.items():
            start = time.perf_counter()
            run(pictures)
            seconds[variant].append(time.perf_counter() - start)
    rate = {variant: batch / statistics.median(times) for variant, times in seconds.items()}
    # The share of each round's own ceiling.
    share = {
        variant: statistics.median(
            batch * flops / time / top for time, top in zip(times, ceiling, strict=True)
        )
        for variant, times in seconds.items()
    }
    compiling = first["the same, compiled"] - statistics.median(seconds["the same, compiled"])
    print(
        f"\n{name}: {flops / 1e9:.2f} GFLOP a picture; bf16 product "
        f"{statistics.median(ceiling) / 1e9:.0f} GFLOP/s; compiling {compiling:.0f} s\n\n"
        "| variant | img/s | of the product | of plain fp32 |\n|---|---|---|---|"
    )
    for variant in passes:
        print(
            f"| {variant} | {rate[variant]:.3g} | {share[variant]:.2f} "
            f"| {rate[variant] / rate['plain, fp32']:.1f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="The speed of the feature pass.")
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--free", action="store_true", help="let glibc return memory when freed")
    options = parser.parse_args()
    if not options.free:
        devices.keep_freed_memory()
    torch.set_num_threads(options.threads)
    print(machine.heading(f"{options.threads} threads, batches of {options.batch}"))
    for name in options.networks:
        in_process(name, options.batch, options.rounds)
    print(f"\nat the end {machine.load()}")


if __name__ == "__main__":
    main()
