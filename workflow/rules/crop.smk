# Requires: the raw archives, the part's rows of data_file.csv, and the detector's file if it has one.
# Makes:    aligned crops of one part with their landmarks, and what was dropped and why.


rule crop:
    input:
        raw=raw_files,
        data_file=sealed(f"{DATA}/data_file.csv"),
        detector=detector_file,
    output:
        crops=f"{DATA}/crops/{{part}}.h5",
        seal=f"{DATA}/crops/{{part}}.seal.json",
    log:
        "results/logs/crop/{dataset}/{part}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
        gpu=lambda w: int(stages.crop(settings, w.dataset).device == "cuda"),
    params:
        recipe=recipe("crop", lambda w: stages.crop(settings, w.dataset)),
    script:
        "../scripts/crop.py"
