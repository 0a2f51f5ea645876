# Requires: the results of an experiment: fits, predictions, comparison, crops, packs, data_file.csv.
# Makes:    the figures of the report, the summary as CSV and HTML, and the mistakes with pictures.


rule plots:
    input:
        fits=over_runs(f"{RUN}/history.csv"),
        predictions=over_runs(f"{RUN}/predictions.csv"),
        comparison=sealed(f"{EXPERIMENT}/comparison.csv"),
        data_file=lambda w: sealed(
            f"{DATA}/data_file.csv".format(dataset=settings.experiments[w.experiment].dataset)
        ),
        crops=over_parts(f"{DATA}/crops/{{part}}.h5"),
        test_packs=over_parts(f"{DATA}/packs/{{part}}.h5", "test"),
    output:
        **{
            figure: report(
                f"{EXPERIMENT}/plots/{figure}.svg",
                caption=FIGURES / f"{figure}.rst",
                category="{experiment}",
                labels={"figure": figure.replace("_", " ")},
            )
            for figure in PLOTTED
        },
        summary=f"{EXPERIMENT}/plots/summary.csv",
        summary_html=report(
            f"{EXPERIMENT}/plots/summary.html",
            caption="../report/summary.rst",
            category="{experiment}",
            labels={"figure": "summary"},
        ),
        mistakes_json=f"{EXPERIMENT}/plots/mistakes.json",
        seal=f"{EXPERIMENT}/plots/plots.seal.json",
    log:
        "results/logs/plots/{experiment}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        recipe=recipe("plots", lambda w: reports.plots(settings, w.experiment)),
    script:
        "../scripts/plots.py"
