"""Write the config's JSON schema and the tables of config/README.md; used by `make reference`."""

from pathlib import Path

from graft.config import reference

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"
README = ROOT / "config" / "README.md"


def main() -> None:
    SCHEMA.parent.mkdir(exist_ok=True)
    SCHEMA.write_text(reference.editor_schema(), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    README.write_text(reference.write_tables(text), encoding="utf-8")


if __name__ == "__main__":
    main()
