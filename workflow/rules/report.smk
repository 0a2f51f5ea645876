# Requires: what the stages up to labels, plots and overview have made of all experiments.
# Makes:    results/report.html, one page. Never taken from the store: it names this machine and
#           what has changed since the last report here.


rule report:
    input:
        comparisons=sealed(
            expand(f"{EXPERIMENT}/comparison.csv", experiment=plan.experiments(settings))
        ),
        plots=sealed(targets("plots")),
        fits=of_every_run(f"{RUN}/history.csv"),
        data_files=sealed(expand(f"{DATA}/data_file.csv", dataset=plan.datasets(settings))),
        overviews=sealed(path for path in targets("overview") if not path.endswith(".seal.json")),
        heat_maps=sealed(path.replace(".seal.json", ".svg") for path in targets("heat_maps")),
        labels=sealed(path.replace(".seal.json", ".csv") for path in targets("labels")),
        # Seals alone: what they count, and where their stage ran.
        others=[
            seal
            for stage in (
                *("download", "regions", "crop", "pack", "weights", "features", "evaluate"),
            )
            for seal in targets(stage)
        ],
    output:
        page=report(
            REPORT,
            caption="../report/report.rst",
            category="report",
            labels={"figure": "the report"},
        ),
        seal=seal_of(REPORT),
    log:
        "results/logs/report.log",
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        run=json.dumps(reproduction()),
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        recipe=recipe("report", lambda w: reports.report(settings, captions())),
    script:
        "../scripts/report.py"
