# Requires: the fits and predictions of every size, mode and seed of an experiment.
# Makes:    the labels curve: what each mode reaches with more training samples, and from where on
#           one is better than another.


rule labels:
    input:
        fits=over_sizes(f"{RUN}/history.csv"),
        predictions=over_sizes(f"{RUN}/predictions.csv"),
    output:
        figure=report(
            f"{EXPERIMENT}/labels.svg",
            caption="../report/labels.rst",
            category="{experiment}",
            labels={"figure": "labels curve"},
        ),
        table=f"{EXPERIMENT}/labels.csv",
        seal=f"{EXPERIMENT}/labels.seal.json",
    log:
        "results/logs/labels/{experiment}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        recipe=recipe("labels", lambda w: reports.labels(settings, w.experiment)),
    script:
        "../scripts/labels.py"
