"""Packs of `crop: patches`, of drawn pictures with coloured squares as objects."""

import io
import tarfile

import cv2
import numpy as np
import pandas as pd

from graft.config.patches import Patches
from graft.datasets.table import sample_id
from graft.download.archives import Archive, members
from graft.images import crop, pack

CLASSES = ["blue", "red"]
COLOURS = {"blue": (40, 60, 230), "red": (230, 50, 40)}
GRID = Patches(scales=(1.0, 2.0, 3.0), enough=None)
SIDE = 32


def picture(seed):
    """A grey picture of 64 x 48 pixels with up to two squares, as PNG, and its regions."""
    rng = np.random.default_rng(seed)
    image = rng.integers(110, 146, (48, 64, 3)).astype(np.uint8)
    regions = []
    for number in range(seed % 3):
        name = CLASSES[int(rng.integers(2))]
        side = int(rng.integers(14, 24))
        x, y = 32 * number + int(rng.integers(0, 32 - side)), int(rng.integers(0, 48 - side))
        image[y : y + side, x : x + side] = COLOURS[name]
        regions.append((name, x, y, x + side, y + side, bool(seed % 5 == 4), False))
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes(), regions


def write_pack(folder, name, seeds, *, grid=GRID):
    """The pack of some pictures, through the stages' own functions; and its regions."""
    drawn = [picture(seed) for seed in seeds]
    path = folder / f"{name}.tar"
    with tarfile.open(path, "w") as tar:
        for number, (data, _) in enumerate(drawn):
            info = tarfile.TarInfo(f"{number}.png")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    rows, regions = [], []
    with Archive(path) as archive:
        for (member, offset, size), (_, objects) in zip(members(path), drawn, strict=True):
            identity = sample_id(member, archive.read(offset, size))
            label = "|".join(sorted({one[0] for one in objects}))
            place = {"archive": path.name, "member": member, "offset": offset, "size": size}
            rows.append(
                {"sample_id": identity, "label": label, "group": identity, "box": ""} | place
            )
            regions += [(identity, *one) for one in objects]
    columns = ["sample_id", "label", "x1", "y1", "x2", "y2", "difficult", "truncated"]
    table = pd.DataFrame(regions, columns=columns)
    crops, made = folder / f"{name}-crops.h5", folder / f"{name}.h5"
    cropper = crop.Cropper(SIDE, kind="patches")
    counted = crop.extract(pd.DataFrame(rows), {path.name: path}, crops, cropper, recipe={})
    pack.write(
        crops,
        made,
        kept=counted["kept"],
        packed_size=SIDE,
        classes=CLASSES,
        multi=True,
        patches=grid,
        regions=table,
        recipe={},
    )
    return made, table
