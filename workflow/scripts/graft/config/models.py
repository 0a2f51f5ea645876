"""The config as typed settings: the one place for each key's type, bounds, default and description.

The text below a key is its description. From these classes come the checked config, the JSON
schema and the tables of config/README.md (see `reference`). A number stays an integer where the
config has one, so that recipes and model files have the bytes of what was written.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from graft.config.datasets import AnyDataset
from graft.config.overviews import Overview
from graft.config.patches import OnPatches
from graft.config.sources import Source
from graft.config.types import (
    AboveZero,
    Activation,
    AtLeastZero,
    Fraction,
    Name,
    Natural,
    Number,
    OpenShare,
    Positive,
    Precision,
    Reproducible,
    Seeds,
    Settings,
    Share,
    Sizes,
    Text,
    TwoAscending,
    UniqueTexts,
    unique,
)


class Compute(Settings):
    reproducible: Reproducible = "portable"
    """`portable`: every x86-64 CPU with AVX2 computes the same bytes: `auto` precision is `fp32` on
    a CPU, and no wider instructions are used. `fast`: networks use all that the CPU has, and their
    results are equal on CPUs of one kind only. Results of a GPU are its own in both"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where networks run; `auto` is a GPU if the driver shows one"""
    inference_precision: Precision = "auto"
    """arithmetic of the feature pass; `auto` is `bf16` on a GPU, and with `reproducible: fast` on a
    CPU that multiplies it (AMX or AVX512-BF16), else `fp32`"""
    training_precision: Precision = "fp32"
    """arithmetic of training and its validation. The shipped `config.yaml` sets `auto`"""
    evaluation_precision: Precision = "auto"
    """arithmetic of evaluation and prediction, whatever that of training was; `auto` is `fp32` on
    every device: rounding to `bf16` decides close verdicts"""
    batch_size: Positive = 32
    """samples per batch in the feature pass and in prediction; raise it on a GPU (training has its
    own)"""
    threads: Positive = 1
    """threads of each feature, training, evaluation and prediction job, on which results depend;
    two jobs of one thread are faster than one job of two"""
    training_processes: Positive = 1
    """processes that share a training, on which results depend, each with `threads` of its own and,
    on GPUs, a GPU of its own; probes have one"""

    @property
    def evaluation(self) -> str:
        """The precision of evaluation and prediction: unlike the others, of no machine's choice."""
        return "fp32" if self.evaluation_precision == "auto" else self.evaluation_precision


class Download(Settings):
    require_digest: bool = False
    """stop at a file to be downloaded for which the config gives no digest, and print its own;
    `false`: it is trusted on first use, and recorded in `downloads.lock.yaml`"""


class Evaluate(Settings):
    metric: Literal["accuracy", "balanced_accuracy"] = "accuracy"
    """what modes are compared by; balanced accuracy is the mean recall of the classes"""
    multilabel_metric: Literal["mean_ap", "mean_ap_11"] = "mean_ap"
    """likewise, where a picture may have several classes: the mean over classes of the average
    precision, which is the area below the precision-recall curve, or the mean precision at 11
    recalls (Pascal VOC 2007)"""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """bootstrap resamples behind each interval; more are steadier and slower"""
    level: OpenShare = 0.95
    """share of the resamples that an interval covers"""
    seed: Natural = 0
    """seed of the resamples"""


SERVERS = ("http://", "https://")
"""How the address of a tracking server begins."""


class Mlflow(Settings):
    tracking_uri: str = "sqlite:///results/mlflow/mlflow.db"
    """where runs are recorded: `sqlite:///<path>` (relative to the working directory) or the
    `http(s)://` address of a tracking server, to which training then also logs live"""
    experiment: str = "graft"
    """the MLflow experiment that the runs belong to"""
    log_models: bool = True
    """record the models too, for `mlflow.pyfunc.load_model` (a server needs MLflow 3); turn off to
    save space"""


class Optimizer(Settings):
    name: Literal["adamw", "sgd", "adam", "rmsprop"] = "adamw"
    """`sgd` wants a larger `lr` than the others, about ten times theirs"""
    momentum: Share = 0.9
    """for `sgd` and `rmsprop`; the others have Adam's own 0.9 and 0.999"""
    weight_decay: AtLeastZero = 0.01
    """with `adamw` decoupled from the gradient (Loshchilov & Hutter 2019), and not of biases and
    normalisation layers; with the others an L2 penalty of all, for which 0.0005 is usual"""
    clip: AtLeastZero = 1.0
    """gradients are scaled down to this norm where theirs is larger; 0: never"""
    nesterov: bool = False
    """for `sgd` with a momentum above 0"""
    alpha: Share = 0.99
    """for `rmsprop`: the smoothing constant of the mean squared gradient; `0.9` with a momentum of
    0 is Keras' own"""


class Schedule(Settings):
    name: Literal["constant", "step", "cosine", "time", "plateau"] = "cosine"
    """how the rates fall after the warm-up: not at all; by `gamma` every `step_size` epochs; along
    half a cosine, to zero after `epochs`; as 1 / (1 + `decay` × updates); by `gamma` whenever
    `schedule.patience` epochs have not brought the validation loss below its lowest, by 0.0001 at
    least (Keras' ReduceLROnPlateau)"""
    warm_up: AtLeastZero = 1.0
    """epochs, or a part of one, in which the rates rise linearly to their full value, update by
    update"""
    step_size: Positive = 10
    """epochs, for `step`"""
    steps: Annotated[tuple[Positive, ...], Field(strict=False), AfterValidator(unique)] = ()
    """for `step`, instead of `step_size`: the epochs, counted from 0, at which the rates fall, as
    neon's `step_config`"""
    gamma: Annotated[Number, Field(gt=0, le=1)] = 0.1
    """for `step` and `plateau`"""
    decay: AtLeastZero = 0.0005
    """for `time`"""
    patience: Positive = 5
    """epochs, for `plateau`"""
    min_lr: AtLeastZero = 0.0
    """for `plateau`: the head's rate does not fall below it; transferred layers stay at
    `transferred_lr_scale` times the head's"""


class Head(Settings):
    pool: Literal["avgpool", "flatten"] = "avgpool"
    """the last maps become one vector by global average pooling, or flattened (much wider, and tied
    to the picture's size)"""
    standardize: bool = True
    """subtract the mean of each feature on the training rows and divide by its deviation, before
    the first layer; the heads of transferred layers only. Published recipes have no such layer"""
    hidden: Annotated[tuple[Positive, ...], Field(strict=False)] = ()
    """widths of the layers before the last"""
    activation: Activation | Annotated[tuple[Activation, ...], Field(strict=False)] = "relu"
    """after each hidden layer; a list gives each its own"""
    dropout: Share | Annotated[tuple[Share, ...], Field(strict=False)] = 0.0
    """after each hidden layer (a list gives each its own), or before the only one"""


class HeadStart(Settings):
    std: AboveZero = 0.005
    """of the Gaussian that each weight is drawn from, with a mean of 0"""
    bias: AtLeastZero = 0.1
    """of every unit of the hidden layers; the last layer's are 0"""


class RandAugment(Settings):
    ops: Positive = 2
    """operations for each picture, one after the other"""
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """how strong they are: a step of torchvision's 31, of which 0 changes little"""


class Augment(Settings):
    flip: bool | Literal["auto"] = "auto"
    """mirror half of the training pictures (their mirrored features are stored as well, at twice
    the time and disk). `auto`: yes, but not of the layout `mnist`, whose pictures are characters as
    a rule. Turn off where left and right matter"""
    shift: Annotated[Number, Field(ge=0, le=0.5)] = 0.0
    """move them by up to this share of their side; only modes that freeze nothing can, so it gives
    them views that the others lack"""
    crop: TwoAscending | None = None
    """a random part of each, `[least, most]` of its area at a ratio of sides of 3/4 to 4/3, resized
    to the whole (Szegedy et al. 2015); `null`: off. As `color`, `randaugment` and `cutmix` for
    modes that freeze nothing only: see [augmentation](../docs/training.md#augmentation)"""
    color: Fraction = 0.0
    """change brightness, contrast and saturation by up to this share and the hue by a fourth of it,
    of the whole circle (the ratio of Chen et al. 2020); grey pictures: brightness and contrast"""
    randaugment: RandAugment | None = None
    """`{ops: 2, magnitude: 9}`: so many (≥ 1) of torchvision's 14 operations, drawn for each, of
    this magnitude (0 to 30; Cubuk et al. 2020); `null`: off"""
    mixup: AtLeastZero = 0.0
    """mix the samples of a batch, features too, in pairs and their labels alike, by shares from
    Beta(`mixup`, `mixup`) (Zhang et al. 2018); 0: off. With `cutmix`, each batch has one of both"""
    cutmix: AtLeastZero = 0.0
    """likewise, but paste a rectangle of the other picture (Yun et al. 2019); 0: off"""


class Tune(Settings):
    lr: Annotated[tuple[AboveZero, ...], Field(strict=False, min_length=1)] | None = None
    """learning rates to try instead of `lr`"""
    transferred_lr_scale: (
        Annotated[tuple[AtLeastZero, ...], Field(strict=False, min_length=1)] | None
    ) = None
    """scales to try; `from_scratch` has no use for them"""
    trials: Annotated[tuple[OpenShare, ...], Field(strict=False)] = ()
    """rounds of successive halving, each a share of `epochs`: every candidate is trained for so
    long, by the whole schedule compressed into it, and the better half goes on to the next round;
    the best of the last round is trained in full. Without rounds every candidate is"""


class Unfreeze(Settings):
    every: Positive | None = None
    """epochs after which one more transferred block is trained, from the last to the first; until
    then the head alone is (gradual unfreezing, Howard & Ruder 2018). `null`: all, from the start"""


class Hyperparameters(Settings):
    """How one mode is trained."""

    epochs: Positive | Literal["auto"] = "auto"
    """passes over the training rows, at most; the report warns if they were too few. `auto`: 2,000
    updates, but 10 epochs at least and 100 at most"""
    batch_size: Positive = 32
    """samples for each update"""
    lr: AboveZero = 0.001
    """learning rate of the head, and of everything in `from_scratch`; tuned where it is not set"""
    transferred_lr_scale: AtLeastZero = 0.3
    """transferred layers learn at `lr` times this; 0 keeps them as they are; tuned where it is not
    set"""
    layer_decay: Annotated[Number, Field(gt=0, le=1)] = 1.0
    """transferred blocks learn more slowly the earlier they are: the last at the rate above, each
    one before it at this times the rate of the next (Clark et al. 2020); 0.65 to 0.9 is usual for
    transformers"""
    unfreeze: Unfreeze = Unfreeze()
    batch_norm: Literal["updated", "frozen"] = "updated"
    """statistics of the transferred batch normalisations that are trained: of each batch, with
    running means updated, or those of the source throughout. Their weights are trained in both"""
    ema: Share = 0.0
    """the model is an exponential moving average of the weights with this decay for each update,
    such as 0.999; 0: the weights themselves"""
    label_smoothing: Share = 0.0
    """this share of each target is spread over all classes (Szegedy et al. 2016)"""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: each row's loss is weighted by rows / (classes x rows of its class)"""
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    patience: Positive | Literal["auto"] | None = "auto"
    """stop after so many epochs without a better one; `null`: never. `auto`: half of `epochs`,
    but 10 at least"""
    select: Literal["accuracy", "balanced_accuracy", "mean_ap", "loss", "last"] = "accuracy"
    """what "better" means on the validation rows, for epochs and for `tune`; the lower loss breaks
    ties. Where a picture may have several classes the default is `mean_ap`, and the accuracy is the
    share of classes that are decided rightly. `last` keeps the last epoch, as some published
    recipes do; `patience` then counts by accuracy, and `tune` compares the accuracy of the last
    epochs"""
    balance: Literal["none", "downsample", "upsample", "weighted"] = "none"
    """how unequal classes are sampled in an epoch: as they are; as many rows of each as the
    smallest has, the same for all epochs and modes of a seed; as many of each as the largest has,
    every row about equally often and the remainder drawn anew; or as many draws as there are rows,
    each class equally likely"""
    head: Head = Head()
    head_start: HeadStart | None = None
    """`{std: 0.005, bias: 0.1}`: the weights of a new head are drawn from a Gaussian of this
    deviation, and the hidden layers' biases are constant, the last layer's 0; `null`: as PyTorch
    draws them"""
    augment: Augment = Augment()
    tune: Tune = Tune()


class Training(Hyperparameters):
    """How an experiment trains: what its modes share, and what single modes do otherwise."""

    warm_up: bool = True
    """`fine_tuning` and `freeze_<block>` start from `feature_extraction`'s head (LP-FT); `false`:
    from a random one"""
    modes: "dict[str, Training]" = {}
    """a mode's name to any of the keys above, for that mode only"""


class Experiment(Settings):
    title: str | None = None
    """heading in the report; without it the experiment's name"""
    dataset: str
    """a name under `datasets`"""
    source: str
    """a name under `sources`; `from_scratch` takes its architecture and transform only"""
    modes: UniqueTexts
    """see below; all are compared on the same test rows"""
    patches: OnPatches | None = None
    """train on patches of the pictures instead of whole ones: see below"""
    train_sizes: Sizes = ()
    """such as `[20, 50, 100, all]`: train every mode and seed on so many training samples as well,
    and show what each reaches (the labels curve). The samples are drawn by the seed, classes in
    proportion, and each set is part of the next; validation and test stay as they are. `all` is
    always trained"""
    seeds: Seeds = (0,)
    """one training each; they draw weights, order, augmentation and dropout, never the split. Three
    or more show the variation between runs"""
    train: Training = Training()
    """see below"""


class Predict(Settings):
    pictures: Text
    """a folder; all pictures in it and below are predicted, hidden files and folders are not"""
    experiment: str | None = None
    """whose model: a name under `experiments`, trained if need be. Either this or `model`"""
    mode: str = "fine_tuning"
    """which of the experiment's modes"""
    seed: Natural = 0
    """which of its seeds (another than 0 needs an overlay: numbers in `--config '{...}'` arrive as
    text)"""
    model: Text | None = None
    """path of a `model.safetensors`, wherever it was trained; for one of this config use
    `experiment`"""
    detector: Text | None = None
    """for a `model` whose faces `yunet` found: path of its file"""


class Config(Settings):
    run: UniqueTexts
    """the experiments to run"""
    compute: Compute = Compute()
    download: Download = Download()
    evaluate: Evaluate = Evaluate()
    mlflow: Mlflow = Mlflow()
    datasets: dict[Name, AnyDataset]
    sources: dict[Name, Source]
    experiments: dict[Name, Experiment]
    overviews: dict[Name, Overview] = {}
    predict: Predict | None = None
