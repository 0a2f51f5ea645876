"""Names of drawn people, which give no hint of their sex."""

from graft.demo.seeds import NAMES, generator

FIRST = (
    "Ada Alin Anouk Aric Bao Bela Brin Cai Cleo Dara Devin Elia Emre Fenn Gael Hana Idris Ines "
    "Jun Kari Kiran Lale Levi Lior Maren Milo Nadi Noor Odell Oona Pax Quin Remy Rio Sami Sasha "
    "Tal Teo Uma Vanja Wren Yael Zev Zoë"
)
LAST = (
    "Abel Ander Bauer Bel Berg Cald Castel Dahl Del Dorn Elm Fair Falk Fern Gar Gold Hald Hart "
    "Hol Ingel Jans Kal Kel Kirk Lang Lind Mar Mont Nor Oster Pal Rav Ros Sand Sol Stein Tor Val "
    "Wal West"
)
ENDINGS = "a by dal er es field ic järvi man ova ström well"


def invented_names(people: int, seed: int) -> list[str]:
    """That many different names. When all combinations are used, they get initials: A, B, ..."""
    firsts, lasts, endings = FIRST.split(), LAST.split(), ENDINGS.split()
    combinations = len(firsts) * len(lasts) * len(endings)
    order = generator(seed, NAMES).permutation(combinations)
    names = []
    for person in range(people):
        repetition, index = divmod(person, combinations)
        rest, ending = divmod(int(order[index]), len(endings))
        first, last = divmod(rest, len(lasts))
        initial = f" {initials(repetition)}" if repetition else ""
        names.append(f"{firsts[first]}{initial} {lasts[last]}{endings[ending]}")
    return names


def initials(number: int) -> str:
    """1, 2, ... as A, B, ..., Z, AA, AB, ..."""
    letters = ""
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters
