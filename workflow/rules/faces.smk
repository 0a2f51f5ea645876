# Requires: the raw archives and the part's rows of data_file.csv.
# Makes:    aligned crops of one part with their landmarks, and what was dropped and why.


rule faces:
    input:
        raw=raw_files,
        data_file=sealed(f"{DATA}/data_file.csv"),
    output:
        faces=f"{DATA}/faces/{{part}}.h5",
        seal=f"{DATA}/faces/{{part}}.seal.json",
    log:
        "results/logs/faces/{dataset}/{part}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=480,
        gpu=gpus,
    params:
        recipe=recipe("faces", lambda w: stages.faces(config, w.dataset)),
    script:
        "../scripts/faces.py"
