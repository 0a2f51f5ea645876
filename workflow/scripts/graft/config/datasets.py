"""Settings of data sets: files, layouts with their options, crops, splits and shards.

The text below a key is its description (see `models`).
"""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from graft.config.decoding import Decoding
from graft.config.layout_options import FolderOptions, MnistOptions
from graft.config.patches import Patches
from graft.config.splits import Limit, Shards, Split
from graft.config.types import (
    AboveZero,
    AtLeastZero,
    Entry,
    FileName,
    Fraction,
    Natural,
    Number,
    Positive,
    Settings,
    Text,
    Texts,
    TwoTexts,
    UniqueTexts,
)


class Render(Settings):
    kind: Annotated[Literal["wiki", "lfw", "digits"], Entry("graft.demo.drawings.DRAWINGS")]
    """portraits as WIKI is published (name the file `.tar`), or LFW (`.tgz`); or 1,797 real digits
    of 8 × 8 pixels as MNIST is (two files, `digits-images-idx3-ubyte.gz` and
    `digits-labels-idx1-ubyte.gz`, for the layout `mnist`), their 0 to 16 scaled to 0 to 255"""
    people: Positive | None = None
    """number of identities; `wiki` and `lfw` need it"""
    pictures: Positive | None = None
    """pictures of each identity; `lfw` needs it, `wiki` does not take it"""
    seed: Natural | None = None
    """seed of everything drawn; `wiki` and `lfw` need it"""
    size: Annotated[int, Field(ge=64)] | None = None
    """side of the portraits in pixels; 160 if left out"""


class File(Settings):
    url: Texts | None = None
    """mirrors: `http(s)://` or `file:` URLs, or paths from the working directory"""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """digest of the file as published; `null`, and no `md5`: that of the first download, see
    below"""
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    """for publishers who give no sha256; where both are given, both are checked"""
    size: Natural | None = None
    """bytes; a file of another size is refused before it is transferred"""
    zip_encoding: Text | None = None
    """for a `.zip`: the code page of names that are not UTF-8, such as `cp850` (western Europe),
    `cp932` (Japan) or `gbk` (China); asked for if there are such names"""
    manual: str | None = None
    """how a person gets a file behind a login, e.g. "register at https://example.org"; shown when
    no mirror has it"""
    render: Render | None = None
    """a drawn file: see below"""
    folder: Text | None = None
    """a folder of your own (a path from the working directory), packed into this file, whose name
    must end in `.tar`: see below"""


class Classes(Settings):
    rename: dict[str, Text] = {}
    """new names of classes, such as `{kitten: cat}`; two classes of one name become one class"""
    only: UniqueTexts | None = None
    """keep these classes, by their names after renaming, and drop the others (`other_class`)"""
    one_vs_rest: str | None = None
    """this class against all others, which are then called `rest`; applied last"""


MIN_SCORES = {"mtcnn": 0.9, "yunet": 0.75}
"""Detector -> the default of `min_score`; docs/faces.md has what yunet's was chosen by."""


MIN_FACES = {"mtcnn": 0.1, "yunet": 0.01}
"""Detector -> the default of `min_face`; docs/faces.md has what they were chosen by."""


def _min_face(given: dict[str, Any]) -> float:
    return MIN_FACES.get(given.get("name", ""), MIN_FACES["mtcnn"])


def _min_score(given: dict[str, Any]) -> float:
    return MIN_SCORES.get(given.get("name", ""), MIN_SCORES["mtcnn"])


class Detector(Settings):
    name: Annotated[Literal["mtcnn", "yunet", "none"], Entry("graft.images.detect.DETECTORS")] = (
        "mtcnn"
    )
    """`yunet` finds more faces and is faster, and needs a file of 0.2 MB that is downloaded like
    those of the data set, as `face_detection_yunet_2023mar.onnx`; `mtcnn` needs none;
    [docs/faces.md](../docs/faces.md) compares them. `none` goes with `crop: whole`"""
    url: Texts | None = None
    """mirrors of yunet's file, instead of the publisher's"""
    min_score: Fraction = Field(default_factory=_min_score)
    """a face with a lower score is dropped (`low_detection_score`); lower it for blurred
    faces. If left out 0.9 for `mtcnn` and 0.75 for `yunet`, whose scores are others"""
    min_face: Fraction = Field(default_factory=_min_face)
    """the smallest face that is looked for, as a share of the picture's shorter side. Faces of at
    least 0.15 (`mtcnn`) or 0.03 (`yunet`) are looked for first, smaller ones only in pictures
    without such a face. If left out 0.1 for `mtcnn` and 0.01 for `yunet`"""
    margin: AboveZero = 1.0
    """how much is shown around the face; at 2 the face is half as large"""
    batch_size: Positive = 32
    """samples of one size per batch"""


class Dataset(Settings):
    """What all data sets have, published ones and merged ones."""

    classes: Classes = Classes()
    """other classes than the published ones"""
    decode: Decoding = Decoding()
    """how image files are decoded"""
    crop: Literal["aligned_face", "whole", "stretched", "patches"] = "aligned_face"
    """`aligned_face` detects one face, turns it upright and cuts it out, or drops the sample with a
    reason; `whole` takes the largest central square and uses no detector; `stretched` fits the
    whole picture into a square, so that nothing is cut off; `patches` does so and keeps the
    pictures themselves too, for experiments on [patches](#patches)"""
    patches: Patches = Patches()
    """where the patches of a picture are, for `crop: patches`: see below"""
    detector: Detector = Field(default_factory=Detector)
    """the face detector, for `crop: aligned_face`: see below"""
    packed_size: Annotated[int, Field(ge=8, le=1024)]
    """side of the packed pictures in pixels; each [architecture](#modes-and-blocks) has a least"""
    crop_size: Annotated[int, Field(ge=8, le=2048)] | None = None
    """side of the stored crops in pixels; `null`: as `packed_size`. With a larger one, several
    `packed_size` can be tried without detecting faces again"""
    grayscale: bool = False
    """pack one grey channel; networks get it three times"""
    equalize: bool = False
    """spread the grey levels (histogram equalisation; of colour pictures the luma only)"""
    split: Split = Split()
    """how the samples are divided"""
    limit: Limit = Limit()
    """fewer samples than there are"""
    shards: Shards = Shards()
    """parts that are processed in parallel"""


class Label(NamedTuple):
    """A label that a layout offers, as config/README.md describes it."""

    reads: str
    classes: str
    group: str = "each picture is its own"
    multi: bool = False
    """whether a picture may have several classes, or none"""


class Published(Dataset):
    """A data set with files of its own; each layout narrows `layout`, `label` and `options`."""

    labels: ClassVar[dict[str, Label]]
    """the values of `label`"""
    has_regions: ClassVar[bool] = False
    """whether the layout says where in a picture each object is"""
    layout: str
    """how the archive lists its samples: see [layouts](#layouts)"""
    label: str
    """what is to be classified: see [layouts](#layouts)"""
    options: Settings
    """the layout's own: see [layouts](#layouts)"""
    files: Annotated[dict[FileName, File], Field(min_length=1)]
    """file name, as published, to where it comes from: see below"""

    @property
    def multi(self) -> bool:
        """Whether a picture may have several classes, or none."""
        return self.labels[self.label].multi


class NoOptions(Settings):
    """Options of a layout that has none."""


class ImdbWikiOptions(Settings):
    min_face_score: Number = 1.0
    """drop below it (`low_face_score`), in the publisher's scores"""
    max_second_face_score: Number | None = None
    """drop if a second face scores above it (`second_face`); `null`: if there is one"""
    min_age: Natural = 0
    """in years; drop the younger (`bad_age`)"""
    max_age: Natural = 100
    """in years; drop the older (`bad_age`)"""
    age_groups: Annotated[tuple[Positive, ...], Field(strict=False)] = (20, 30, 40, 50, 60)
    """for `age_group`: the first year of each age group after the youngest"""
    crop_margin: AtLeastZero | None = 0.4
    """border the pictures were published with, as a share of the face's size; `null`: none, as in
    the drawn set"""


class LfwOptions(Settings):
    min_pictures: Positive = 2
    """for `identity`: drop people with fewer (`too_few_pictures`); each picture's split is drawn
    alone, so that of people with few none may be for training, which is an error"""
    box: Annotated[tuple[Number, Number, Number, Number], Field(strict=False)] | None = None
    """where in every picture the named person's face is, x1 y1 x2 y2 in pixels; LFW's own pictures:
    `[68, 68, 182, 182]`"""


def _several(label: object) -> object:
    """`{multi: true}` as the label that it stands for."""
    return "classes" if label == {"multi": True} else label


def _joinable(names: tuple[str, ...]) -> tuple[str, ...]:
    if any(not name or "|" in name for name in names):
        raise ValueError("the name of a class is not empty and has no |, which joins several")
    return names


class Voc2007Options(Settings):
    classes: Annotated[UniqueTexts, AfterValidator(_joinable)] | None = None
    """the classes there are, for data sets of other objects in VOC's format; `null`: VOC's 20"""


class Fer2013(Published):
    labels = {
        "emotion": Label(
            "`fer2013.csv` or `icml_face_data.csv`; its Usage gives the splits (Training, "
            "PublicTest for validation, PrivateTest for the test)",
            "angry, disgust, fear, happy, neutral, sad, surprise",
        )
    }
    layout: Literal["fer2013"]
    label: Literal["emotion"]
    options: NoOptions = NoOptions()


class Folder(Published):
    labels = {
        "class": Label(
            "one tar with a folder for each class (see below), and perhaps a `.csv` or `.tsv`",
            "the folders, or the table's labels",
            "each picture is its own, unless `group` or the table gives one",
        ),
        "classes": Label(
            "the same, with a table whose labels are divided by `|`; a row without a label is a "
            "picture of no class. May be written `{multi: true}`",
            "the table's labels, of which a picture may have several or none",
            "each picture is its own, unless `group` or the table gives one",
            multi=True,
        ),
    }
    layout: Literal["folder"]
    label: Annotated[Literal["class", "classes"], BeforeValidator(_several)]
    options: FolderOptions = FolderOptions()


class ImdbWiki(Published):
    labels = {
        "sex": Label(
            "`imdb_crop.tar` or `wiki_crop.tar` (the `.mat` may lie beside it, as a file of its "
            "own)",
            "female, male",
            "the person, by id or name",
        ),
        "age_group": Label(
            "the same",
            "spans of years, such as 20-29 (see `age_groups`)",
            "the person, by id or name",
        ),
    }
    layout: Literal["imdb_wiki"]
    label: Literal["sex", "age_group"]
    options: ImdbWikiOptions = ImdbWikiOptions()


class Lfw(Published):
    labels = {
        "identity": Label(
            "one tar of `<root>/<Name>/<Name>_0001.jpg`",
            "the names",
            "each picture is its own, since every class must be in training",
        ),
        "sex": Label(
            "the same, `female_names.txt` and `male_names.txt`", "female, male", "the name"
        ),
    }
    layout: Literal["lfw"]
    label: Literal["identity", "sex"]
    options: LfwOptions = LfwOptions()


class Mnist(Published):
    labels = {
        "digit": Label(
            "pairs of `<name>-images-idx3-ubyte` and `<name>-labels-idx1-ubyte`; those named "
            "`train` and `t10k`, or as `emnist-letters-train` and `-test`, are the published "
            "training and test splits, others have none",
            "the labels' numbers",
        )
    }
    layout: Literal["mnist"]
    label: Literal["digit"]
    options: MnistOptions = MnistOptions()


class Voc2007(Published):
    labels = {
        "objects": Label(
            "one or several tars of `<root>/{Annotations,JPEGImages,ImageSets/Main}`, as Pascal "
            "VOC is published in any year; `train.txt`, `val.txt` and `test.txt` in the last give "
            "the splits",
            "those of all objects in a picture, which may be several or none",
            multi=True,
        )
    }
    has_regions = True
    layout: Literal["voc2007"]
    label: Literal["objects"]
    options: Voc2007Options = Voc2007Options()


class Merged(Dataset):
    merge: TwoTexts
    """other data sets to put together, instead of `layout`, `files` and `label`: see below"""


LAYOUTS: dict[str, type[Published]] = {
    "fer2013": Fer2013,
    "folder": Folder,
    "imdb_wiki": ImdbWiki,
    "lfw": Lfw,
    "mnist": Mnist,
    "voc2007": Voc2007,
}
"""The layouts by name; the code of each is graft.datasets.layouts.<name>."""


def _kind_of_dataset(value: object) -> str | None:
    """The tag of the class that describes a data set."""
    if isinstance(value, Dataset):
        value = value.model_dump()
    if isinstance(value, dict):
        if "merge" in value:
            return "<merge>"
        if "layout" in value:
            return f"<{value['layout']}>"
    return None


AnyDataset = Annotated[
    Annotated[Fer2013, Tag("<fer2013>")]
    | Annotated[Folder, Tag("<folder>")]
    | Annotated[ImdbWiki, Tag("<imdb_wiki>")]
    | Annotated[Lfw, Tag("<lfw>")]
    | Annotated[Mnist, Tag("<mnist>")]
    | Annotated[Voc2007, Tag("<voc2007>")]
    | Annotated[Merged, Tag("<merge>")],
    Discriminator(_kind_of_dataset),
]
