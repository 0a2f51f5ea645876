"""Drawn portraits in the layout of Labeled Faces in the Wild."""

import unicodedata
from pathlib import Path

from tqdm import tqdm

from graft.demo.archive import portrait_archive
from graft.demo.drawings import DRAWINGS
from graft.demo.identity import draw_identity
from graft.demo.names import invented_names
from graft.demo.portrait import check_numbers, encode, render
from graft.demo.shot import draw_shot


@DRAWINGS.register("lfw")
def render_lfw(
    path: Path,
    *,
    people: int,
    pictures: int,
    seed: int,
    size: int = 160,
    root: str = "portraits_identity",
) -> None:
    """Write a .tgz as LFW is published: `<root>/<First_Last>/<First_Last>_0001.jpg`, ... .

    `pictures` pictures of each of `people` persons, `size` by `size` pixels; last
    `<root>/landmarks.csv`, the ground truth (see `archive`). Raises GraftError for people or
    pictures below 1, a size below MIN_SIZE and a seed below 0.
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
