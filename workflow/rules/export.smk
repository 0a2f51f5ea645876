# Requires: a trained model.
# Makes:    the same network as an ONNX graph, held against the model on random pictures.
# Not part of `all`: tracing takes some seconds and a gigabyte a run, and no figure needs it.


rule export:
    input:
        model=sealed(f"{RUN}/model.safetensors"),
    output:
        onnx=f"{RUN}/model.onnx",
        seal=f"{RUN}/model.onnx.seal.json",
    log:
        "results/logs/export/{experiment}/{mode}/{seed}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        recipe=recipe("export", lambda w: stages.export(settings, w.experiment)),
    script:
        "../scripts/export.py"
