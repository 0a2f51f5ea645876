"""Time, memory and disk of every stage, summed from the seals of a finished run.

    make reproduce && make bench

prints the table of docs/stages.md. The figures are of the run that made the artefacts, which for
one taken from the store may have been another machine's.
"""

import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "workflow" / "scripts"))

from graft.core import seals  # noqa: E402

MAKES = {
    "download": "the archive as published (a .tgz unpacked), its sha256 verified",
    "structure": "`data_file.csv`: a row for every published sample, kept or dropped with a "
    "reason; pictures that are repeated",
    "regions": "`regions.csv`: where in the kept pictures the objects are, if that is published",
    "crop": "aligned crops with landmarks, one HDF5 a part",
    "pack": "model-ready uint8 pictures and labels, mapped by readers",
    "weights": "a source under torchvision's names, with its input transform",
    "features": "what the frozen blocks make of each picture, float16",
    "train": "model, history and how it was chosen, for each mode and seed",
    "evaluate": "`predictions.csv`, `metrics.json` with intervals",
    "heat_maps": "where in test pictures a model of patches sees their classes",
    "compare": "paired differences between the modes, with a verdict each",
    "labels": "the metric of all modes over the number of training samples (`train_sizes`)",
    "plots": "figures, summary as CSV and HTML, mistakes with pictures",
    "overview": "experiments side by side, where the config has `overviews`",
    "report": "`report.html`: verdicts, figures and provenance of all experiments on one page",
    "track": "the record in MLflow",
}


def main(results: Path) -> None:
    seconds, size, memory, jobs = (defaultdict(int) for _ in range(4))
    for path in results.rglob("*.json"):
        if seals.is_seal(path):
            record = seals.read(path)["seal"]
            stage = record["stage"]
            jobs[stage] += 1
            seconds[stage] += record["run"]["seconds"]
            memory[stage] = max(memory[stage], record["run"]["peak_memory_mb"])
            size[stage] += sum(output["size"] for output in record["outputs"].values())
    print("| stage | makes | jobs | time | peak memory | disk |\n|---|---|---|---|---|---|")
    for stage, makes in MAKES.items():
        print(
            f"| {stage} | {makes} | {jobs[stage]} | {seconds[stage]:.0f} s "
            f"| {memory[stage]} MB | {size[stage] / 1e6:.1f} MB |"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"))
