# Requires: published weights, the model of another experiment, or other sources to be stacked.
# Makes:    a source: the backbone's tensors under torchvision's names, with its input transform;
#           and what of the weights was imported, what starts anew, and what was skipped.


rule weights:
    input:
        model=source_model,
        members=stack_members,
    output:
        weights=f"{SOURCE}.safetensors",
        import_report=f"{SOURCE}.import_report.json",
        seal=f"{SOURCE}.seal.json",
    log:
        "results/logs/weights/{source}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mirrors=lambda w: json.dumps(stages.source_mirrors(settings, w.source)),
        digests=DIGESTS,
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        recipe=recipe("weights", lambda w: stages.weights(settings, w.source)),
    script:
        "../scripts/weights.py"
