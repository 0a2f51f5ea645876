"""Files that operating systems, file servers and tools leave among pictures: one list for all.

Synology's and QNAP's media indexers, macOS, Windows, Jupyter and version control keep folders and
files of their own in any folder that they meet, thumbnails of its pictures among them: copies
that would be samples of another class, or in another split.
"""

import re
from collections import Counter

FOLDERS = (
    *("@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", ".@__thumb"),
    *("@SynoEAStream", ".@upload_cache", ".SynologyWorkingDirectory", "@tmp"),
    *("__MACOSX", ".AppleDouble", ".AppleDB", ".AppleDesktop", ".fseventsd", ".Spotlight-V100"),
    *(".DocumentRevisions-V100", ".TemporaryItems", ".Trashes", "Network Trash Folder"),
    *("Temporary Items", "$RECYCLE.BIN", "System Volume Information"),
    *(".Trash", ".Trash-*", ".thumbnails", ".thumb", "lost+found", ".dtrash", ".picasaoriginals"),
    *(".ipynb_checkpoints", "__pycache__", ".git", ".svn", ".hg", ".stversions", ".stfolder"),
)
"""Folders with all that is in them; "*" stands for any characters."""

FILES = (
    *("._*", ".DS_Store", ".localized", ".apdisk", "Icon\r", ".VolumeIcon.icns"),
    *("Thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "*:Zone.Identifier"),
    *("SYNOPHOTO_THUMB_*", "SYNOINDEX_MEDIA_INFO", "*@SynoEAStream", "*@SynoResource"),
    *(".picasa.ini", "ZbThumbnail.info", "pspbrwse.jbf", ".directory", ".nomedia"),
)
"""Files, in any folder."""


def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """One group for each name, in any case."""
    forms = (re.escape(name).replace(r"\*", ".*") for name in names)
    return re.compile("|".join(f"({form})" for form in forms), re.IGNORECASE | re.DOTALL)


_FOLDER, _FILE = _pattern(FOLDERS), _pattern((*FILES, *FOLDERS))


def junk(name: str) -> str | None:
    """The entry of the lists that a file is on, or a folder that it lies in; None if none is.

    name: in normal form (see `archives.check_name`); a folder's ends with "/".
    """
    *folders, file = name.split("/")
    for part in folders:
        if match := _FOLDER.fullmatch(part):
            return FOLDERS[(match.lastindex or 1) - 1]
    if match := _FILE.fullmatch(file):
        return (*FILES, *FOLDERS)[(match.lastindex or 1) - 1]
    return None


def passed_over(counts: Counter[str]) -> str:
    """What was passed over, by entry of the lists, for the log."""
    listed = ", ".join(f"{number} {name!r}" for name, number in counts.most_common())
    return (
        f"{counts.total()} files that systems and tools left among the pictures are passed over: "
        f"{listed}."
    )
