"""Look at a folder of photographs and write a config for it (`make photos FOLDER=...`)."""

import argparse
import sys
from pathlib import Path

from graft.core.errors import GraftError
from graft.core.files import atomic
from graft.datasets import photos


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="one sub-folder of pictures for each class")
    parser.add_argument("--weights", type=Path, help="a file of weights of your own")
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--force", action="store_true", help="replace the file")
    arguments = parser.parse_args()
    path = Path("config") / f"{photos.NAME}.yaml"
    try:
        classes = photos.count(arguments.folder.expanduser())
        if path.exists() and not arguments.force:
            raise GraftError(
                f"{path}: the file exists, and may hold your changes. Edit it, or add FORCE=1 to "
                "replace it."
            )
        text = photos.config(
            arguments.folder,
            classes,
            weights=arguments.weights,
            architecture=arguments.architecture,
        )
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except GraftError as error:
        print(error, file=sys.stderr)
        return 1
    listed = ", ".join(f"{name} {number:,}" for name, number in sorted(classes.items())[:12])
    more = f" and {len(classes) - 12} more classes" if len(classes) > 12 else ""
    print(f"{sum(classes.values()):,} pictures: {listed}{more}.")
    print(f"{path} is ready to be edited, and to be run:\n\n    make run CONFIG={path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
