# Requires: a folder of pictures (config: predict), and a trained model.
# Makes:    predictions.csv and a contact sheet. Not part of `all`, and never in the store.


rule predict:
    input:
        model=predicting_model,
        detector=predicting_detector,
    output:
        predictions=f"{PREDICT}/predictions.csv",
        contact_sheet=f"{PREDICT}/contact_sheet.html",
        seal=f"{PREDICT}/predictions.seal.json",
    log:
        "results/logs/predict.log",
    conda:
        "../../envs/graft.yaml"
    threads: settings.compute.threads
    resources:
        # Where the file lies does not change what it is: its digest is known.
        detector=json.dumps(settings.predict.detector if settings.predict else None),
        mem_mb=growing(4000),
        runtime=growing(240),
        gpu=gpus,
    params:
        recipe=recipe("predict", predict_settings),
    script:
        "../scripts/predict.py"
