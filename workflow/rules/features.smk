# Requires: the packed pictures of one part and a source.
# Makes:    what the source's frozen blocks make of every picture, up to the cut.


rule features:
    input:
        pack=sealed(f"{DATA}/packs/{{part}}.h5"),
        source=sealed(f"{SOURCE}.safetensors"),
    output:
        features=f"{FEATURES}/{{part}}.h5",
        seal=f"{FEATURES}/{{part}}.seal.json",
    log:
        "results/logs/features/{dataset}/{source}/{cut}/{part}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: settings.compute.threads
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
        gpu=gpus,
    params:
        recipe=recipe(
            "features", lambda w: stages.features(settings, w.dataset, w.source, w.cut, w.split)
        ),
    script:
        "../scripts/features.py"
