# Graft: transfer learning on images, from the download to the report. See README.md.
#
#   snakemake --cores all                  everything that config/config.yaml lists under `run`
#   snakemake --cores all all_crop        one stage, for every data set
#   snakemake --cores all -R train         redo one stage and what depends on it

import os
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27")


# `workflow.basedir` would be the folder of a workflow that imports this one.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
if not ROOT.is_dir():
    raise WorkflowError(
        f"module: Graft's Snakefile is fetched from {ROOT}, and its library is not. "
        "Clone the repository, and name the clone's Snakefile."
    )


configfile: os.path.join(ROOT, "config", "config.yaml")
configfile: os.path.join(ROOT, "config", "datasets.yaml")
configfile: os.path.join(ROOT, "config", "sources.yaml")
configfile: os.path.join(ROOT, "config", "experiments.yaml")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


rule all:
    input:
        targets("regions"),
        targets("labels"),
        targets("heat_maps"),
        targets("plots"),
        targets("overview"),
        targets("report"),
        targets("track"),


include: "workflow/rules/download.smk"
include: "workflow/rules/structure.smk"
include: "workflow/rules/regions.smk"
include: "workflow/rules/crop.smk"
include: "workflow/rules/pack.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/heat_maps.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/plots.smk"
include: "workflow/rules/overview.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/track.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/export.smk"


for stage in STAGES:

    rule:
        name:
            f"all_{stage}"
        input:
            targets(stage),


check_contracts()
caching.install(workflow.modifier.rules, STORE)
going_on.after_failures_of({"track"})
