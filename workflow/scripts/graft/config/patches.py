"""Settings of patches: where those of a picture are, and how an experiment trains on them.

The text below a key is its description (see `models`).
"""

from typing import Annotated, Literal

from pydantic import Field

from graft.config.types import Fraction, Natural, Positive, Settings

SCALES = (1.0, 1.3, 1.6, 2.0, 2.3, 2.6, 3.0, 3.3, 3.6, 4.0, 4.3, 4.6, 5.0)
ScaleOfPatches = Annotated[float, Field(ge=1, le=20)]


class Patches(Settings):
    side: Annotated[int, Field(ge=8, le=1024)] | None = None
    """side of the patches in pixels, as the network gets them; `null`: as `packed_size`, which is
    that of whole pictures"""
    scales: Annotated[tuple[ScaleOfPatches, ...], Field(strict=False, min_length=1)] = SCALES
    """how often a patch fits the shorter side of the picture; the default is that of Oquab et al.
    (2014)"""
    enough: Positive | None = 448
    """no further scale once a picture has so many patches, of more than `after` scales; `null`: all
    scales, always"""
    after: Natural = 10
    """see `enough`"""
    of_patch: Fraction = 0.2
    """a patch is of an object's class if the object covers at least this share of the patch ..."""
    of_object: Fraction = 0.6
    """... and has at least this share of itself in it, and no other object is like that; otherwise
    it is background"""


class OnPatches(Settings):
    """How an experiment trains on the patches of a data set of `crop: patches`."""

    per_picture: Positive = 64
    """patches of a picture in each epoch: all that show an object, at most so many, filled up with
    random ones of the background. They are drawn anew for each epoch"""
    batches: Literal["mixed", "picture"] = "mixed"
    """`mixed`: a batch has patches of many pictures; `picture`: the patches of a picture follow one
    another, as in neon"""
    validation: Positive | None = 128
    """patches of a picture that validation looks at after each epoch, evenly spaced over its grid;
    `null`: all. The test always looks at all"""
    features: Literal["single", "dense"] = "single"
    """how cached features are computed: of each patch by itself, or `dense`, from the maps of the
    whole picture at each scale, which is faster and not quite the same"""
