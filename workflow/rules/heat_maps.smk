# Requires: a model of patches, its test rows, and the packs that hold the test pictures.
# Makes:    three test pictures of each class, with where in them the class was seen.


rule heat_maps:
    input:
        model=sealed(f"{RUN}/model.safetensors"),
        predictions=sealed(f"{RUN}/predictions.csv"),
        test=inputs_at_cut("test"),
        packs=over_parts(f"{DATA}/packs/{{part}}.h5", "test"),
    output:
        figure=report(
            f"{RUN}/heat_maps.svg",
            caption="../report/heat_maps.rst",
            category="{experiment}",
            labels={"figure": "heat maps", "mode": "{mode}"},
        ),
        seal=f"{RUN}/heat_maps.seal.json",
    log:
        "results/logs/heat_maps/{experiment}/{mode}/{seed}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: settings.compute.threads
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        gpu=gpus,
    params:
        recipe=recipe("heat_maps", lambda w: reports.heat_maps(settings, w.experiment)),
    script:
        "../scripts/heat_maps.py"
