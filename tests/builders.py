"""Small inputs that several tests share."""

import copy
import csv
import io
import random
import struct
import tarfile
import zipfile

import cv2
import numpy as np
import torch
from conftest import TRAIN
from PIL import Image

from graft.config import datasets, splits, stages
from graft.config.models import Head, Hyperparameters
from graft.config.stages import TrainSettings
from graft.datasets import containers, samples
from graft.datasets.build import build
from graft.datasets.thumbnails import Thumbnails
from graft.demo.lfw import render_lfw
from graft.download.archives import Archive
from graft.models import model_file
from graft.models.network import Network
from graft.models.transforms import to_input

SPLIT = {"train": 0.7, "val": 0.1, "test": 0.2, "seed": 1}
CLASSES = ["a <b>", 'say "yes"', "ü"]
HEAD = {"standardize": True, "pool": "avgpool", "hidden": [8], "activation": "relu", "dropout": 0.5}


def save_model(
    path,
    *,
    architecture="vgg_mini",
    crop="whole",
    cut="image",
    size=32,
    transform=None,
    **preparation,
):
    """A small network with random weights, no class of which is always the likeliest; returns
    its description."""
    detector = {"name": "mtcnn", "min_score": 0.5, "margin": 1.0, "batch_size": 4}
    detection = {"detector": detector, "device": "cpu", "reproducible": "portable"}
    description = {
        "architecture": architecture,
        "cut": cut,
        "mode": "from_scratch",
        "head": HEAD,
        "classes": CLASSES,
        "image_size": size,
        "transform": {
            "size": None,
            "scale": 1 / 255,
            "mean": [0.4, 0.5, 0.6],
            "std": [0.2, 0.25, 0.3],
            "channels": "BGR",
        }
        | (transform or {}),
        "preparation": {
            "crop": crop,
            "size": 48,
            "image_size": size,
            "grayscale": False,
            "equalize": False,
        }
        | (detection if crop == "aligned_face" else {})
        | preparation,
    }
    torch.manual_seed(0)
    backbone = model_file.backbone_from_json(description)
    network = Network(backbone, cut, Head.model_validate(HEAD), len(CLASSES), size).eval()
    several = torch.from_numpy(np.stack([picture(seed, (size, size)) for seed in range(8)]))
    with torch.no_grad():
        network.head[-1].weight.mul_(100)
        network.head[-1].bias.sub_(network.whole(to_input(several, backbone.transform)).mean(0))
    model_file.save(path, network.tensors(), description)
    return description


def picture(seed, shape=(60, 50)):
    """A smooth random picture, uint8 (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


FOLDER = {
    "layout": "folder",
    "files": {"mine.tar": {"folder": "photos"}},
    "label": "class",
    "crop": "whole",
    "packed_size": 32,
    "split": {"train": 0.5, "val": 0.25, "test": 0.25},
}
MERGED = {"merge": ["mine", "more"], "crop": "whole", "packed_size": 32, "split": FOLDER["split"]}


def overlay(run="mine", **sets):
    """A config of these data sets and one short experiment, on the data set of its name."""
    return {
        "run": [run],
        "datasets": copy.deepcopy(sets),  # a test may change its own
        "sources": {"blank": {"architecture": "vgg_mini", "weights": {"random": True}}},
        "experiments": {
            run: {
                "dataset": run,
                "source": "blank",
                "modes": ["from_scratch"],
                "train": {"epochs": 1},
            }
        },
    }


def plant(folder, files):
    """Write files (relative name -> bytes) below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_pairs(path, pairs):
    """A tar of (name, bytes) pairs, in which a name may come again."""
    with tarfile.open(path, "w") as tar:
        for name, data in pairs:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def make_tar(path, files, folders=(), *, format=tarfile.GNU_FORMAT):
    """A tar of folders and then files (name -> bytes)."""
    with tarfile.open(path, "w", format=format) as tar:
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def tar_content(path):
    """Name -> bytes of a tar's files, in its order."""
    with tarfile.open(path, "r:") as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}


def make_zip(path, files, **changes):
    """A zip file (name -> bytes); `changes` are attributes of its second member."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for index, (name, data) in enumerate(files.items()):
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in (changes if index == 1 else {}).items():
                setattr(info, key, value)
            out.writestr(info, data)
    return path


class _RawName(zipfile.ZipInfo):
    """A member whose name is written as bytes, without the flag for UTF-8."""

    raw: bytes

    def _encodeFilenameFlags(self):
        return self.raw, self.flag_bits


def make_raw_zip(path, files, extras=None):
    """A zip file of (name in bytes, data) pairs, the names without the flag for UTF-8; `extras`
    are extra fields by name."""
    with zipfile.ZipFile(path, "w") as out:
        for number, (raw, data) in enumerate(files):
            info = _RawName(str(number))
            info.raw, info.extra = raw, (extras or {}).get(raw, b"")
            out.writestr(info, data)
    return path


def jpeg(value):
    """A tiny JPEG, different for every value in 0..255."""
    ok, data = cv2.imencode(".jpg", np.full((8, 8, 3), value, np.uint8))
    assert ok
    return data.tobytes()


def smooth(level, height=60, width=60):
    """A picture that JPEG hardly changes, identified by its level of red."""
    y, x = np.mgrid[:height, :width]
    return np.stack([np.full_like(x, level), x % 128, y % 128], axis=2).astype(np.uint8)


def encoded(image, format="JPEG", **options):
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, quality=95, **options)
    return file.getvalue()


def grey(values):
    """Grey pictures as RGB."""
    return np.stack([np.asarray(values, np.uint8)] * 3, axis=-1)


def idx_bytes(values):
    """As the format is specified, and not as `idx.encode` does it."""
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return header + bytes(values.ravel().tolist())


def write_idx(path, values):
    path.write_bytes(idx_bytes(np.asarray(values, np.uint8)))
    return path


def mnist_pair(folder, prefix, labels, pictures=None, dot="-"):
    """A pair of files whose pictures, unless given, are all different."""
    if pictures is None:
        drawn = [random.Random(f"{prefix} {n}").randbytes(16) for n in range(len(labels))]
        pictures = np.array([list(picture) for picture in drawn]).reshape(-1, 4, 4)
    files = {
        f"{prefix}-images{dot}idx3-ubyte": pictures,
        f"{prefix}-labels{dot}idx1-ubyte": labels,
    }
    return {name: write_idx(folder / name, values) for name, values in files.items()}


def fer2013_table(folder, emotions, usages, pixels=None, name="fer2013.csv"):
    """A table of pictures that are all different unless given, as `files` of a data set."""
    lines = ["emotion,pixels,Usage"]
    for number, (emotion, usage) in enumerate(zip(emotions, usages, strict=True)):
        text = pixels[number] if pixels else f"{number} {number + 1} 0 255"
        lines.append(f"{emotion},{text},{usage}")
    (folder / name).write_text("\n".join(lines) + "\n")
    return {name: folder / name}


def voc_xml(*objects, size=(100, 80)):
    """An annotation of (class, (xmin, ymin, xmax, ymax)) objects, each perhaps with `difficult`."""
    edges = ("xmin", "ymin", "xmax", "ymax")
    text = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    for name, box, *difficult in objects:
        tags = "".join(f"<{key}>{edge}</{key}>" for key, edge in zip(edges, box, strict=True))
        flag = f"<difficult>{difficult[0]}</difficult>" if difficult else ""
        text += f"<object><name>{name}</name>{flag}<bndbox>{tags}</bndbox></object>"
    return f"<annotation>{text}</annotation>".encode()


def pictures_of(path):
    """(name, pixels) of every picture of a container, read as the stages do."""
    decode = containers.decoder(path)
    with Archive(path) as archive:
        return [(m.name, decode(archive.read(m.offset, m.size))) for m in containers.members(path)]


def read_layout(layout, archives, label, **options):
    """A layout's candidates; options that are not given have the config's defaults."""
    return read_with_notes(layout, archives, label, **options)[0]


def read_with_notes(layout, archives, label, **options):
    """A layout's candidates and its notes."""
    model = datasets.LAYOUTS[layout].model_fields["options"].annotation
    settings = stages.ReadSettings(
        layout=layout,
        label=label,
        options=model(**options).model_dump(mode="json"),
        classes=datasets.Classes(),
    )
    notes = []
    return list(samples.read(settings, archives, notes)), notes


def structure(layout, archives, label, *, split=None, shards=None, **options):
    """The rows of data_file.csv and their counts for the data set `d`."""
    return build_rows(
        read_layout(layout, archives, label, **options), archives, split=split, shards=shards
    )


def part_of(frame, split, shard):
    """The rows of one part of data_file.csv."""
    chosen = (frame["drop_reason"] == "") & (frame["split"] == split) & (frame["shard"] == shard)
    return frame[chosen].reset_index(drop=True)


def build_rows(
    candidates, archives, *, split=None, shards=None, limit=None, dataset="d", multi=False
):
    """`build` with SPLIT and one shard for each split, unless given."""
    with Thumbnails() as thumbnails:
        frame, counts, _ = build(
            candidates,
            archives,
            thumbnails,
            split=splits.Split(**SPLIT | (split or {})),
            shards=splits.Shards(**shards or {}),
            limit=splits.Limit(**limit or {}),
            dataset=dataset,
            multi=multi,
        )
    return frame, counts


def hyperparameters(**changes) -> Hyperparameters:
    """The default training settings with some changed, as the config would have them."""
    return Hyperparameters.model_validate({**TRAIN, **changes})


def train_settings(
    mode, cut, *, architecture="vgg_mini", transform, experts=None, packed_size=64, **changes
) -> TrainSettings:
    """What the train stage gets, for whole pictures on a CPU."""
    crop = {"crop": "whole", "crop_size": packed_size, "detector": None, "device": None}
    pack = {"packed_size": packed_size, "grayscale": False, "equalize": False}
    return TrainSettings.model_validate(
        {
            "backbone": {
                "architecture": architecture,
                "transform": transform,
                "experts": experts,
            },
            "mode": mode,
            "cut": cut,
            "train": hyperparameters(**changes),
            "preparation": {"crop": crop, "pack": pack},
            "reproducible": "portable",
            "device": "cpu",
            "precision": "fp32",
            "threads": 1,
        }
    )


def save_picture(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def draw_photos(folder):
    """Three drawn portraits, two pictures without a face and one that is cut short."""
    render_lfw(folder / "lfw.tgz", people=3, pictures=1, seed=5, size=128)
    with tarfile.open(folder / "lfw.tgz") as tar:
        for member in tar.getmembers():
            if member.isfile():
                target = folder / "photos" / member.name.split("/", 1)[1]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())
    some = next((folder / "photos").rglob("*.jpg"))
    (folder / "photos/cut.jpg").write_bytes(some.read_bytes()[:-500])
    save_picture(folder / "photos/blank.png", np.full((90, 120, 3), 200, np.uint8))
    save_picture(folder / "photos/dot.png", np.zeros((1, 1, 3), np.uint8))
    return folder / "photos"


def read_rows(path):
    """The rows of a CSV file as dicts of texts."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
