"""The published files that face detectors need."""

from graft.config.datasets import Dataset, File

YUNET = "face_detection_yunet_2023mar.onnx"
ZOO = "https://github.com/opencv/opencv_zoo"
YUNET_FILE = File(
    url=(f"{ZOO}/raw/main/models/face_detection_yunet/{YUNET}",),
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    size=232589,
    manual=f"{ZOO}, models/face_detection_yunet; the detector mtcnn needs no file",
)
"""Trained on WIDER FACE; MIT licence."""

FILES = {"yunet": (YUNET, YUNET_FILE)}
"""Detector -> the name of its file, and what that is and where it can be had."""


def device(dataset: Dataset, wanted: str) -> str | None:
    """Where the detector of a data set runs; None if it needs none."""
    if dataset.crop != "aligned_face":
        return None
    return "cpu" if dataset.detector.name == "yunet" else wanted


def published(dataset: Dataset) -> tuple[str, File] | None:
    """The file that the detector of a data set needs, if it does: its name, and what it is.

    The config's mirrors take the place of the publisher's.
    """
    detector = dataset.detector
    if dataset.crop != "aligned_face" or detector.name not in FILES:
        return None
    name, file = FILES[detector.name]
    return name, file.model_copy(update={"url": detector.url or file.url})
