# Requires: the fits and predictions of every mode and seed of an experiment.
# Makes:    paired differences between the modes on the same test rows, with a verdict each.


rule compare:
    input:
        fits=over_runs(f"{RUN}/history.csv"),
        predictions=over_runs(f"{RUN}/predictions.csv"),
    output:
        comparison=f"{EXPERIMENT}/comparison.csv",
        seal=f"{EXPERIMENT}/comparison.seal.json",
    log:
        "results/logs/compare/{experiment}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        recipe=recipe("compare", lambda w: stages.compare(settings, w.experiment)),
    script:
        "../scripts/compare.py"
