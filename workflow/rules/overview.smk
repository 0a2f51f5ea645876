# Requires: the fits and predictions of every mode and seed of several experiments.
# Makes:    their comparison: the settings that differ, all metrics, paired verdicts.


rule overview:
    input:
        fits=over_runs(f"{RUN}/history.csv"),
        predictions=over_runs(f"{RUN}/predictions.csv"),
    output:
        figure=report(
            f"{OVERVIEW}/overview.svg",
            caption="../report/overview.rst",
            category="overviews",
            labels={"overview": "{overview}", "figure": "comparison"},
        ),
        page=report(
            f"{OVERVIEW}/overview.html",
            caption="../report/overview_page.rst",
            category="overviews",
            labels={"overview": "{overview}", "figure": "tables and verdicts"},
        ),
        table=f"{OVERVIEW}/overview.csv",
        seal=f"{OVERVIEW}/overview.seal.json",
    log:
        "results/logs/overview/{overview}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        recipe=recipe("overview", lambda w: reports.overview(settings, w.overview)),
    script:
        "../scripts/overview.py"
