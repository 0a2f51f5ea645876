# Requires: nothing but the config's mirrors, the parameters of a drawn set, or a user's folder.
# Makes:    the archive as published (a .tgz or .zip as .tar), its sha256 verified; or the folder
#           as a tar.


rule download:
    output:
        raw=f"{DATA}/raw/{{file}}",
        seal=f"{DATA}/raw/{{file}}.seal.json",
    log:
        "results/logs/download/{dataset}/{file}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        # Where bytes come from does not change what they are, so the mirrors must not be
        # hashed into the store's key; params would be.
        mirrors=lambda w: json.dumps(stages.mirrors(settings, w.dataset, w.file)),
        digests=DIGESTS,
        mem_mb=growing(1000),
        runtime=growing(480),
    params:
        recipe=recipe(
            "download",
            lambda w: stages.download(
                settings, w.dataset, w.file, FOLDER_DIGESTS.get((w.dataset, w.file))
            ),
        ),
    script:
        "../scripts/download.py"
