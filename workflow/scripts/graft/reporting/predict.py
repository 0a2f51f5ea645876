"""Predictions of a trained model for a folder of pictures.

Pictures are decoded, cropped, packed and transformed as the model's own pictures were; the model's
description holds the settings. Of several faces the one with the highest score is taken.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from graft.config.decoding import Decoder
from graft.config.patches import Patches
from graft.core.files import atomic, sha256
from graft.datasets.label_sets import joined
from graft.download import folders as trees
from graft.images import patches
from graft.images.crop import Cropper
from graft.images.decode import Decoded, decode, windows
from graft.images.pack import prepare
from graft.models import model_file
from graft.models.network import Network
from graft.models.transforms import to_input
from graft.reporting.contact_sheet import ContactSheet
from graft.training.targets import EXPONENT

COLUMNS = ("picture", "predicted", "confidence")
"""The first columns; one `confidence_<class>` per class follows, and `drop_reason`."""


class Model:
    """A trained network with the preparation that its pictures need.

    path: a file that `train.train` wrote. device: a name of torch's. precision: `fp32` or
    `bf16`. batch_size: pictures at a time. detector: the file of its face detector, if that needs
    one. Raises GraftError if the file is none, or if the detector's is missing.

    Attributes: `classes`, list of str in the order of the confidences; `description` (see
    `models`).
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str,
        precision: str,
        batch_size: int,
        detector: Path | None = None,
    ):
        network, self.description = model_file.load_network(path)
        classes = self.description.classes
        self.classes: list[str] = classes[:-1] if self.description.on_patches else classes
        self._network: Network = network.to(device)
        self._device, self._precision, self._batch_size = device, precision, batch_size
        spec = self.description.preparation.crop
        self.decoder = spec.decode
        self.crop = Cropper(
            spec.crop_size, spec.detector, kind=spec.crop, device=device, file=detector
        )

    @property
    def several(self) -> bool:
        """Whether a picture may have several classes, or none."""
        return self.description.multilabel or self.description.on_patches

    def predicted(self, confidences: np.ndarray) -> list[str]:
        """The classes of a picture: the most confident, or all above one half."""
        if self.several:
            return [name for name, c in zip(self.classes, confidences, strict=True) if c > 0.5]
        return [self.classes[int(confidences.argmax())]]

    def confidences(
        self, pictures: Sequence[np.ndarray], crops: Sequence[np.ndarray]
    ) -> np.ndarray:
        """float64 (n, classes) of pictures uint8 (h, w, 3) and their crops (size, size, 3).

        Rows sum to 1, unless a picture may have several classes. A model of patches looks at
        those of the picture; its confidence in a class is the power mean of the patches' (see
        `patches.scores`).
        """
        parts = [np.empty((0, len(self.classes)))]
        if self.description.on_patches:
            return np.concatenate([*parts, *map(self._of_patches, pictures)])
        for start in range(0, len(crops), self._batch_size):
            batch = np.stack([self._prepared(c) for c in crops[start : start + self._batch_size]])
            parts.append(self._run(torch.from_numpy(batch)))
        return np.concatenate(parts)

    def _of_patches(self, picture: np.ndarray) -> np.ndarray:
        """float64 (1, classes)."""
        spec = self.description.preparation.pack
        height, width = picture.shape[:2]
        grid = spec.patches or Patches()
        boxes = patches.grid(width, height, grid.scales, enough=grid.enough, after=grid.after)
        found = []
        for start in range(0, len(boxes), self._batch_size):
            cut = patches.cut(picture, boxes[start : start + self._batch_size], spec.patch_side)
            found.append(self._run(torch.from_numpy(cut)))
        with np.errstate(divide="ignore"):
            logarithms = np.log(np.concatenate(found))
        scores = patches.scores(logarithms, np.array([0, len(boxes)]), EXPONENT)
        return np.exp(scores / EXPONENT)

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
    detector: Path | None = None,
    heif: str | None = None,
) -> dict:
    """Predict every picture below a folder; write the table and the contact sheet.

    The table has one row per picture, in the order of the paths: the class (those above one half,
    divided by "|", where it may have several), the highest confidence and all of them, or the
    reason why there is no prediction. `name` is the name of the model on the page; `detector` as of
    `Model`, `heif` the version of pillow-heif, if HEIF
    files are decoded. Memory grows by a short record per picture.

    Returns {"pictures", "predicted" (class -> number), "dropped" (reason -> number), "skipped"
    (kind -> number), "model" (sha256)}. Raises GraftError for a folder that is missing or contains
    no picture, and for a file that is not a model.
    """
    folder = folder.expanduser()
    pictures = trees.pictures(folder, key="predict.pictures")
    skipped = trees.others(folder)
    used = Model(
        model, device=device, precision=precision, batch_size=batch_size, detector=detector
    )
    decoder = used.decoder.model_copy(update={"heif": heif})
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
        for window in windows(_read(folder, pictures, decoder), batch_size):
            crops = used.crop([image for _, image in window])
            pairs = zip(crops, (image for _, image in window), strict=True)
            kept = [
                (image, crop.image)
                for crop, image in pairs
                if not isinstance(crop, str) and not isinstance(image, str)
            ]
            confidences = iter(used.confidences([p for p, _ in kept], [crop for _, crop in kept]))
            for (picture, image), crop in zip(window, crops, strict=True):
                if isinstance(crop, str):
                    dropped[crop] += 1
                    sheet.add_dropped(picture, None if isinstance(image, str) else image, crop)
                    rows.writerow([picture, "", "", *([""] * len(used.classes)), crop])
                    continue
                shares = next(confidences)
                best = int(shares.argmax())
                answers = used.predicted(shares)
                predicted.update(answers)
                sheet.add(picture, crop.image, used.classes[best], float(shares[best]))
                figures = [repr(float(share)) for share in shares]
                rows.writerow([picture, joined(answers), figures[best], *figures, ""])
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


def _read(folder: Path, pictures: Sequence[str], decoder: Decoder) -> Iterator[tuple[str, Decoded]]:
    """Each name with its picture, or why that is not decoded."""
    for picture in pictures:
        try:
            data = (folder / picture).read_bytes()
        except OSError:
            yield picture, "unreadable"
        else:
            yield picture, decode(data, decoder)


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
