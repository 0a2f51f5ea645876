"""Predictions of a trained model for a folder of pictures.

Pictures are decoded, cropped, packed and transformed as the model's own pictures were; the model's
description holds the settings. Of several faces the one with the highest score is taken.
"""

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from graft.core.files import atomic, sha256
from graft.download import folders as trees
from graft.download.archives import is_picture
from graft.images.crop import Cropper
from graft.images.decode import decode, windows
from graft.images.pack import prepare
from graft.models import model_file
from graft.models.network import Network
from graft.models.transforms import to_input
from graft.reporting.contact_sheet import ContactSheet

COLUMNS = ("picture", "predicted", "confidence")
"""The first columns; one `confidence_<class>` per class follows, and `drop_reason`."""


class Model:
    """A trained network with the preparation that its pictures need.

    path: a file that `train.train` wrote. device: a name of torch's. precision: `fp32` or
    `bf16`. batch_size: pictures at a time. Raises GraftError if the file is none.

    Attributes: `classes`, list of str in the order of the confidences; `description` (see
    `models`).
    """

    def __init__(self, path: Path, *, device: str, precision: str, batch_size: int):
        network, self.description = model_file.load_network(path)
        self.classes: list[str] = self.description.classes
        self._network: Network = network.to(device)
        self._device, self._precision, self._batch_size = device, precision, batch_size
        spec = self.description.preparation.crop
        self.crop = Cropper(spec.crop_size, spec.detector, kind=spec.crop, device=device)

    def confidences(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """float64 (n, classes), each row summing to 1, of crops uint8 (size, size, 3)."""
        parts = [np.empty((0, len(self.classes)))]
        for start in range(0, len(crops), self._batch_size):
            batch = np.stack([self._prepared(c) for c in crops[start : start + self._batch_size]])
            parts.append(self._run(torch.from_numpy(batch)))
        return np.concatenate(parts)

    def _prepared(self, crop: np.ndarray) -> np.ndarray:
        spec = self.description.preparation.pack
        return prepare(crop, spec.packed_size, grayscale=spec.grayscale, equalize=spec.equalize)

    @torch.inference_mode()
    def _run(self, images: torch.Tensor) -> np.ndarray:
        with torch.autocast(self._device, torch.bfloat16, enabled=self._precision == "bf16"):
            inputs = to_input(images.to(self._device), self.description.backbone.transform)
            logits = self._network.whole(inputs)
        return self.description.confidences(logits.double()).cpu().numpy()


def predict(
    folder: Path,
    model: Path,
    table: Path,
    page: Path,
    *,
    name: str,
    device: str,
    precision: str,
    batch_size: int,
) -> dict:
    """Predict every picture below a folder; write the table and the contact sheet.

    The table has one row per picture, in the order of the paths: the class and the confidences, or
    the reason why there is no prediction. `name` is the name of the model on the page. Memory grows
    by a short record per picture. Returns {"pictures", "predicted" (class -> number), "dropped"
    (reason -> number), "skipped" (kind -> number), "model" (sha256)}. Raises GraftError for a
    folder that is missing or contains no picture, and for a file that is not a model.
    """
    folder = folder.expanduser()
    pictures = trees.pictures(folder, key="predict.pictures")
    skipped = others(folder)
    used = Model(model, device=device, precision=precision, batch_size=batch_size)
    predicted: Counter[str] = Counter(dict.fromkeys(used.classes, 0))
    dropped: Counter[str] = Counter()
    with (
        ContactSheet(page.parent, used.classes) as sheet,
        atomic(table) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
        tqdm(total=len(pictures), desc="predict", unit=" pictures", mininterval=5) as progress,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([*COLUMNS, *(f"confidence_{c}" for c in used.classes), "drop_reason"])
        for window in windows(_read(folder, pictures), batch_size):
            crops = used.crop([image for _, image in window])
            kept = [crop.image for crop in crops if not isinstance(crop, str)]
            confidences = iter(used.confidences(kept))
            for (picture, image), crop in zip(window, crops, strict=True):
                if isinstance(crop, str):
                    dropped[crop] += 1
                    sheet.add_dropped(picture, image, crop)
                    rows.writerow([picture, "", "", *([""] * len(used.classes)), crop])
                    continue
                shares = next(confidences)
                best = int(shares.argmax())
                predicted[used.classes[best]] += 1
                sheet.add(picture, crop.image, used.classes[best], float(shares[best]))
                figures = [repr(float(share)) for share in shares]
                rows.writerow([picture, used.classes[best], figures[best], *figures, ""])
            progress.update(len(window))
        digest = sha256(model)
        sheet.write(page, _facts(used, name, digest, len(pictures)), skipped)
    return {
        "pictures": len(pictures),
        "predicted": dict(predicted),
        "dropped": dict(sorted(dropped.items())),
        "skipped": skipped,
        "model": digest,
    }


def others(folder: Path) -> dict[str, int]:
    """Number of files below a folder that are not pictures, by extension; and of hidden ones."""
    counts: Counter[str] = Counter()
    for _, folders, names in os.walk(folder):
        counts["hidden"] += sum(name.startswith(".") for name in [*folders, *names])
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = [name for name in names if not name.startswith(".") and not is_picture(name)]
        extensions = (os.path.splitext(os.fsencode(name))[1].lower() for name in shown)
        counts.update(e.decode(errors="replace") or "without an extension" for e in extensions)
    return {kind: number for kind, number in sorted(counts.items()) if number}


def _read(folder: Path, pictures: Sequence[str]) -> Iterator[tuple[str, np.ndarray | None]]:
    """Each name with its picture, or None if that cannot be read or decoded."""
    for picture in pictures:
        try:
            yield picture, decode((folder / picture).read_bytes())
        except OSError:
            yield picture, None


def _facts(model: Model, name: str, digest: str, pictures: int) -> dict[str, str]:
    """The facts on the page about the model and its input."""
    about, spec = model.description, model.description.preparation
    crop = {
        "aligned_face": "one face, aligned",
        "whole": "the central square",
    }.get(spec.crop.crop, "the whole picture, stretched")
    colour = ", grey" if spec.pack.grayscale else ""
    even = ", histogram equalised" if spec.pack.equalize else ""
    return {
        "Pictures": f"{pictures:,}",
        "Model": name,
        "SHA-256": digest,
        "Network": f"{about.backbone.architecture}, {about.mode}, {len(model.classes)} classes",
        "Input": f"{crop}, {about.input_size} pixels a side{colour}{even}",
    }
