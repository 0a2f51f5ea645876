"""The exception that a user reads, and constructors of the commonest ones."""

import difflib
import os
from collections.abc import Iterable


class GraftError(Exception):
    """Bad input or a broken contract, in the form `FILE or KEY: what is wrong. What to do.`

    Adapters print it without a traceback; any other exception is a defect of Graft.
    """


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str:
    """What to do about a name that is not in `known`: the nearest one, or all of them."""
    names = list(known)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    if matches:
        return f"Did you mean {matches[0]}?"
    if len(names) > 10:
        names = [*names[:10], "..."]
    return f"Choose one of {', '.join(names)}." if names else "There is none to choose from."


def unreadable(path: str | os.PathLike, error: Exception) -> GraftError:
    """A published file that cannot be opened or read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return fetch_again(path, f"the file cannot be read ({reason})")


def fetch_again(path: str | os.PathLike, problem: str) -> GraftError:
    """A published file whose contents are wrong."""
    return GraftError(f"{path}: {problem}. Fetch it again, or correct the dataset's `files`.")


def damaged(path: str | os.PathLike, problem: str, stage: str) -> GraftError:
    """A file of the workflow's own whose contents are not what its stage writes."""
    return GraftError(f"{path}: {problem}. Run the {stage} stage again (-R {stage}).")
