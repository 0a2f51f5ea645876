"""Whether this machine made the published bytes of a configuration.

    python workflow/scripts/golden.py            # after `make reproduce`: the embedded default
    python workflow/scripts/golden.py --write    # publish what is in results/ now

tests/golden.json holds, by configuration, the digests of all artefacts (see
`reporting.artefacts`), the CPUs that have made them, and the figures that README.md quotes. With
`compute.reproducible: portable` every x86-64 CPU with AVX2 should. Exits with 1 if one does not, or
if there is nothing to compare.
"""

import argparse
import json
import sys
from pathlib import Path

from graft.core import instructions
from graft.core.files import write_json
from graft.reporting.artefacts import difference, digests, figures

GOLDEN = Path(__file__).parents[2] / "tests" / "golden.json"
SHOWN = 3


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--configuration", default="default")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    published = golden.get(arguments.configuration, {"cpus": [], "digests": {}})
    found = digests(arguments.results)
    if not found:
        print(f"{arguments.results}: it holds no artefacts. Run the workflow first.")
        return 1
    if not arguments.write and not published["digests"]:
        print(f"Nothing is published of the configuration {arguments.configuration!r}.")
        return 1
    if arguments.write:
        kept = published["cpus"] if found == published["digests"] else []
        cpus = sorted({*kept, instructions.kind()})
        golden[arguments.configuration] = {
            "cpus": cpus,
            "figures": figures(arguments.results),
            "digests": found,
        }
        write_json(GOLDEN, golden)
        return 0
    differing = difference(found, published["digests"])
    print(sentence(differing, published))
    return int(bool(differing))


def sentence(differing: list[str], published: dict) -> str:
    """Such as "Reproduced: 51 of 51 artefacts have the published bytes."."""
    total = len(published["digests"])
    text = f"Reproduced: {total - len(differing)} of {total} artefacts have the published bytes"
    if not differing:
        return f"{text}."
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return (
        f"{text}. Other bytes: {', '.join(differing[:SHOWN])}{more}. This is expected after a "
        "change of config/, code or lock; else please report it with your CPU "
        f"({instructions.kind()}; published from {', '.join(published['cpus'])})."
    )


if __name__ == "__main__":
    sys.exit(main())
