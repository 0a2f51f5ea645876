# Requires: the results of an experiment.
# Makes:    its record in MLflow, and the ids of the runs there. Never taken from the store.


rule track:
    input:
        fits=over_sizes(f"{RUN}/history.csv"),
        models=over_sizes(f"{RUN}/model.safetensors"),
        predictions=over_sizes(f"{RUN}/predictions.csv"),
        comparison=sealed(f"{EXPERIMENT}/comparison.csv"),
        plots=sealed(
            [f"{EXPERIMENT}/plots/{name}" for name in PLOTS],
            seal=f"{EXPERIMENT}/plots/plots.seal.json",
        ),
    output:
        seal=f"{EXPERIMENT}/mlflow.json",
    log:
        "results/logs/track/{experiment}.log",
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        recipe=recipe("track", lambda w: reports.track(settings, w.experiment)),
    script:
        "../scripts/track.py"
