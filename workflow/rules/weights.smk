# Requires: published weights, or the model of another experiment.
# Makes:    a source: the backbone's tensors under torchvision's names, with its input transform.


rule weights:
    input:
        model=source_model,
    output:
        weights=f"{SOURCE}.safetensors",
        seal=f"{SOURCE}.seal.json",
    log:
        "results/logs/weights/{source}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mirrors=lambda w: json.dumps(settings.source_mirrors(config, w.source)),
        mem_mb=4000,
        runtime=120,
    params:
        recipe=recipe("weights", lambda w: settings.weights(config, w.source)),
    script:
        "../scripts/weights.py"
