# Requires: a trained model, and the test and validation rows at its cut (the latter fit a temperature).
# Makes:    predictions.csv, one row per test sample (and the same as Intel's neon course lists
#           it, inference.txt), and metrics.json with intervals.


rule evaluate:
    input:
        model=sealed(f"{RUN}/model.safetensors"),
        test=inputs_at_cut("test"),
        val=inputs_at_cut("val"),
    output:
        predictions=f"{RUN}/predictions.csv",
        inference=f"{RUN}/inference.txt",
        seal=f"{RUN}/metrics.json",
    log:
        "results/logs/evaluate/{experiment}/{mode}/{seed}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: settings.compute.threads
    resources:
        mem_mb=growing(9000),
        runtime=growing(120),
        gpu=gpus,
    params:
        recipe=recipe("evaluate", lambda w: stages.evaluate(settings, w.experiment)),
    script:
        "../scripts/evaluate.py"
