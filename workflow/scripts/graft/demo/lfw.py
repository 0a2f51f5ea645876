"""Drawn portraits in the layout of Labeled Faces in the Wild."""

import os
import unicodedata

from tqdm import tqdm

from graft.demo.drawings import DRAWINGS
from graft.demo.people import draw_identity, draw_shot
from graft.demo.portrait_archives import check_numbers, invented_names, portrait_archive
from graft.demo.portraits import encode, render


@DRAWINGS.register("lfw")
def render_lfw(
    path: str | os.PathLike,
    *,
    people: int,
    pictures: int,
    seed: int,
    size: int = 160,
    root: str = "portraits_identity",
) -> None:
    """Write a .tgz as LFW is published: `<root>/<First_Last>/<First_Last>_0001.jpg`, ... .

    `people` persons with `pictures` pictures each, of `size` by `size` pixels. At the end
    `<root>/landmarks.csv`: member, sex, and x and y of the five LANDMARKS in pixels.
    Raises GraftError for people or pictures below 1, a size below MIN_SIZE and a seed below 0.
    """
    check_numbers(people=people, pictures=pictures, size=size, seed=seed)
    plain = [unicodedata.normalize("NFKD", name) for name in invented_names(people, seed)]
    names = sorted(name.encode("ascii", "ignore").decode().replace(" ", "_") for name in plain)
    with (
        portrait_archive(path, root, compressed=True) as archive,
        tqdm(total=people * pictures, desc="portraits", unit="picture", mininterval=1) as bar,
    ):
        for person, name in enumerate(names):
            identity = draw_identity(seed, person)
            for picture in range(pictures):
                shot = draw_shot(seed, person, picture)
                portrait = render(identity, shot, size)
                member = f"{name}/{name}_{picture + 1:04d}.jpg"
                archive.add_portrait(
                    member, encode(portrait, shot), identity.sex, portrait.landmarks
                )
                bar.update()
