# Requires: packs or features at the mode's cut, the source, and the warm-up mode's head.
# Makes:    the model of one mode and seed, its history, and how it was found (fit.json).


rule train:
    input:
        train=inputs_at_cut("train"),
        val=inputs_at_cut("val"),
        source=transferred_source,
        warm_up=warm_up_model,
    output:
        model=f"{RUN}/model.safetensors",
        history=f"{RUN}/history.csv",
        seal=f"{RUN}/fit.json",
    log:
        "results/logs/train/{experiment}/{mode}/{seed}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: lambda w: settings.compute.threads * plan.training_processes(settings, w.mode)
    resources:
        # Where training logs live does not change the model.
        ledger=json.dumps(stages.live_tracking(settings)),
        # Each process has a whole network.
        mem_mb=lambda w, attempt: (8000 * attempt * plan.training_processes(settings, w.mode)),
        runtime=growing(480),
        gpu=lambda w: gpus * plan.training_processes(settings, w.mode),
    params:
        recipe=recipe("train", lambda w: stages.train(settings, w.experiment, w.mode)),
    script:
        "../scripts/train.py"
