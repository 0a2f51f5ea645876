# Requires: the raw archives of a data set.
# Makes:    data_file.csv, one row per published sample: kept and in which split, or dropped and why;
#           conflicts.csv, pictures under two labels, and near_duplicates.csv with a contact sheet.


rule structure:
    input:
        raw=raw_files,
    output:
        data_file=f"{DATA}/data_file.csv",
        conflicts=f"{DATA}/conflicts.csv",
        near_duplicates=f"{DATA}/near_duplicates.csv",
        near_duplicates_sheet=f"{DATA}/near_duplicates.png",
        seal=f"{DATA}/data_file.seal.json",
    log:
        "results/logs/structure/{dataset}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        recipe=recipe("structure", lambda w: stages.structure(settings, w.dataset)),
    script:
        "../scripts/structure.py"
