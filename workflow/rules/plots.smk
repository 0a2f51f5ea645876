# Requires: everything an experiment has found: fits, predictions, comparison, faces, drops.
# Makes:    the pictures of the report, and the summary as CSV and HTML.


rule plots:
    input:
        fits=over_runs(f"{RUN}/history.csv"),
        predictions=over_runs(f"{RUN}/predictions.csv"),
        comparison=sealed(f"{EXPERIMENT}/comparison.csv"),
        data_file=lambda w: sealed(
            f"{DATA}/data_file.csv".format(dataset=settings.experiments[w.experiment].dataset)
        ),
        crops=over_parts(f"{DATA}/crops/{{part}}.h5"),
        packs=over_parts(f"{DATA}/packs/{{part}}.h5"),
    output:
        learning_curves=report(
            f"{EXPERIMENT}/plots/learning_curves.svg",
            caption="../report/learning_curves.rst",
            category="{experiment}",
            labels={"figure": "learning curves"},
        ),
        mode_comparison=report(
            f"{EXPERIMENT}/plots/mode_comparison.svg",
            caption="../report/mode_comparison.rst",
            category="{experiment}",
            labels={"figure": "mode comparison"},
        ),
        confusion_matrices=report(
            f"{EXPERIMENT}/plots/confusion_matrices.svg",
            caption="../report/confusion_matrices.rst",
            category="{experiment}",
            labels={"figure": "confusion matrices"},
        ),
        contact_sheet=report(
            f"{EXPERIMENT}/plots/contact_sheet.svg",
            caption="../report/contact_sheet.rst",
            category="{experiment}",
            labels={"figure": "contact sheet"},
        ),
        mistakes=report(
            f"{EXPERIMENT}/plots/mistakes.svg",
            caption="../report/mistakes.rst",
            category="{experiment}",
            labels={"figure": "most confident mistakes"},
        ),
        dropped=report(
            f"{EXPERIMENT}/plots/dropped.svg",
            caption="../report/dropped.rst",
            category="{experiment}",
            labels={"figure": "dropped samples"},
        ),
        summary=f"{EXPERIMENT}/plots/summary.csv",
        summary_html=report(
            f"{EXPERIMENT}/plots/summary.html",
            caption="../report/summary.rst",
            category="{experiment}",
            labels={"figure": "summary"},
        ),
        seal=f"{EXPERIMENT}/plots/plots.seal.json",
    log:
        "results/logs/plots/{experiment}.log",
    cache: True
    conda:
        "../../envs/graft.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        recipe=recipe("plots", lambda w: stages.plots(settings, w.experiment)),
    script:
        "../scripts/plots.py"
