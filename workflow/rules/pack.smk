# Requires: the aligned crops of one part, and data_file.csv for the list of classes.
# Makes:    model-ready uint8 pictures with their labels, in one HDF5 file that can be mapped.


rule pack:
    input:
        crops=sealed(f"{DATA}/crops/{{part}}.h5"),
        data_file=sealed(f"{DATA}/data_file.csv"),
        regions=regions_of,
    output:
        pack=f"{DATA}/packs/{{part}}.h5",
        seal=f"{DATA}/packs/{{part}}.seal.json",
    log:
        "results/logs/pack/{dataset}/{part}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        recipe=recipe("pack", lambda w: stages.pack(settings, w.dataset)),
    script:
        "../scripts/pack.py"
