"""Sources as typed settings: architectures, weights, and the input that weights expect."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from graft.config.types import (
    AboveZero,
    Entry,
    Natural,
    PositiveShare,
    Settings,
    Text,
    Texts,
    ThreeNumbers,
    ThreePositive,
    TwoTexts,
    unique,
)

Architecture = Annotated[
    str, Field(pattern=r"^(timm/)?[a-z0-9_.]+$"), Entry("graft.models.zoo.NETWORKS")
]


class Weights(Settings):
    url: Texts | None = None
    """mirrors of weights in torchvision's or timm's names: `.safetensors`, a state dict or a
    checkpoint of PyTorch (`.pth`, `.pt`, `.ckpt`, `.pth.tar`, `.bin`), or a Keras file (`.h5`,
    `.keras`): see below. Searched for in `downloads/` as data files are, under the name at the end
    of the first mirror"""
    file: Text | None = None
    """a file of your own, of the same kinds: a path from the working directory. It is read and
    hashed when the workflow starts, so it needs no `sha256`, and a changed file is imported anew"""
    torchvision: str | None = None
    """a name in torchvision's weights enum, e.g. `IMAGENET1K_V1`; address and digest come with
    it"""
    timm: Text | None = None
    """the weights that timm names for the architecture's tag, at a revision of their repository on
    the Hugging Face Hub: `main`, or better a commit. The Hub shows their `sha256`"""
    experiment: str | None = None
    """another experiment of this config, of the same architecture"""
    mode: str = "from_scratch"
    """which of its modes"""
    seed: int = 0
    """which of its seeds"""
    random: Literal[True] | None = None
    """no weights, only a structure: for `from_scratch` alone"""
    stack: TwoTexts | None = None
    """other sources side by side in one, with the architecture `stack`: see below"""

    @property
    def kind(
        self,
    ) -> Literal["url", "file", "torchvision", "timm", "experiment", "random", "stack"]:
        """Which of the kinds of weights these are."""
        if self.timm is not None:
            return "timm"
        if self.file is not None:
            return "file"
        if self.url is not None:
            return "url"
        if self.torchvision is not None:
            return "torchvision"
        if self.experiment is not None:
            return "experiment"
        return "stack" if self.stack is not None else "random"


class Transform(Settings):
    size: Annotated[int, Field(ge=16)] | None = None
    """resize to this side in pixels; `null`: as packed. Not set, it is `null` for the architectures
    [listed](#modes-and-blocks), and for others, like the keys below, what torchvision or timm
    trained the weights with"""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """of that resizing, which is antialiased"""
    crop_pct: PositiveShare = 1.0
    """pictures are resized to `size` divided by this, and the middle of `size` pixels is taken"""
    scale: AboveZero = 1 / 255
    """multiplies values 0 to 255; the default is 1/255, Caffe's weights want 1"""
    mean: ThreeNumbers = (0.485, 0.456, 0.406)
    """subtracted after scaling, in the order of `channels`"""
    std: ThreePositive = (0.229, 0.224, 0.225)
    """divided by"""
    channels: Literal["RGB", "BGR"] = "RGB"
    """order of the channels; Caffe's weights want `BGR`"""


class Source(Settings):
    architecture: Architecture
    """the backbone, without its classifier"""
    weights: Weights
    """exactly one of `url`, `file`, `torchvision`, `timm`, `experiment`, `random`, `stack`"""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """for `weights.url` and `weights.timm`; `null`: that of the first download, as for data
    files"""
    size: Natural | None = None
    """for `weights.url`: bytes"""
    transform: Transform = Transform()
    """the input that the weights expect: see below"""
    allow_new: Annotated[tuple[Text, ...], Field(strict=False), AfterValidator(unique)] = ()
    """[blocks](#modes-and-blocks), or beginnings of tensors' names up to a dot, that may be missing
    from the weights, or have another shape or further tensors there; these start at random, equal
    every time"""
