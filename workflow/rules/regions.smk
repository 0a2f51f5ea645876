# Requires: the raw archives of a data set that says where objects are, and its data_file.csv.
# Makes:    regions.csv, one row per object of each kept sample: its class and its box.


rule regions:
    input:
        raw=raw_files,
        data_file=sealed(f"{DATA}/data_file.csv"),
    output:
        regions=f"{DATA}/regions.csv",
        seal=f"{DATA}/regions.seal.json",
    log:
        "results/logs/regions/{dataset}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        recipe=recipe("regions", lambda w: stages.regions(settings, w.dataset)),
    script:
        "../scripts/regions.py"
