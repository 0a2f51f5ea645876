"""Mistakes: the test pictures that the modes' first seeds predict wrongly, with their pictures."""

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from graft.core.files import write_json
from graft.evaluation import multilabel
from graft.evaluation.predictions import PREFIX, read_predictions
from graft.images.packs import LEFT_OUT, open_parts
from graft.reporting.contact_sheet import jpeg
from graft.reporting.results import Results

MOST = 60
"""Pictures that are kept for the report."""


def wrong_answers(results: Results) -> pd.DataFrame:
    """The mistakes of each mode's first seed, the most confident first within each mode.

    Columns: `mode`, `sample_id`, `true`, `predicted`, `confidence` (0..1). Of several classes per
    picture all are named, and the confidence is that of the score that is farthest on the wrong
    side of its threshold, as a sigmoid.
    """
    tables = []
    for mode in results.modes:
        run = (mode, next(iter(results.of(mode, results.predictions))))
        table = read_predictions(results.predictions[run])
        if results.several:
            wrong = _wrong_sets(table, results.metrics[run]["thresholds"]).assign(mode=mode)
            tables.append(wrong.sort_values("confidence", ascending=False, kind="stable"))
            continue
        answers = table[["sample_id", "true", "predicted"]].assign(
            mode=mode, confidence=table.filter(regex=f"^{PREFIX}").max(axis=1)
        )
        wrong = answers[answers["true"] != answers["predicted"]]
        tables.append(wrong.sort_values("confidence", ascending=False, kind="stable"))
    columns = ["mode", "sample_id", "true", "predicted", "confidence"]
    return pd.concat(tables, ignore_index=True)[columns]


def _wrong_sets(table: pd.DataFrame, thresholds: Sequence[float]) -> pd.DataFrame:
    rows = multilabel.unpack_predictions(table)
    margins = rows.scores - np.asarray(thresholds)
    wrong = ((margins > 0) != (rows.true == 1)) & (rows.true != LEFT_OUT)
    farthest = np.where(wrong, np.abs(margins), -np.inf).max(axis=1)
    classes = np.asarray(rows.classes, object)
    kept = np.flatnonzero(wrong.any(axis=1)).tolist()

    def named(held: np.ndarray) -> str:
        return ", ".join(classes[held]) or "none"

    return pd.DataFrame(
        {
            "sample_id": rows.sample_id[kept],
            "true": [named(rows.true[row] == 1) for row in kept],
            "predicted": [named(margins[row] > 0) for row in kept],
            "confidence": expit(farthest[kept]),
        }
    )


def write(results: Results, path: Path) -> None:
    """Write the mistakes as JSON, with the pictures of at most MOST samples.

    Every mode has the same number of places, for the mistakes that it is most confident of; each
    picture is listed with the answers of all modes that are wrong about it. The file has `wrong`
    (mode -> number of mistakes) and `pictures`, the most confident first: `sample_id`, `true`,
    `answers` (`mode`, `predicted`, `confidence`) and `jpeg` (base64).
    """
    wrong = wrong_answers(results)
    places = max(1, MOST // len(results.modes))
    shown = wrong.groupby("mode", sort=False).head(places)
    shown = shown.sort_values(["confidence", "sample_id"], ascending=[False, True], kind="stable")
    rows = open_parts(results.samples.test_packs)
    index = {str(sample): i for i, sample in enumerate(rows.sample_ids)}
    pictures = []
    for sample in list(dict.fromkeys(shown["sample_id"]))[:MOST]:
        answers = wrong[wrong["sample_id"] == sample]
        pixels = rows.read(np.array([index[sample]]))[0]
        picture = np.repeat(pixels, 3 // pixels.shape[-1], axis=-1)
        pictures.append(
            {
                "sample_id": sample,
                "true": answers["true"].iloc[0],
                "answers": [
                    {"mode": mode, "predicted": predicted, "confidence": round(confidence, 4)}
                    for mode, predicted, confidence in zip(
                        answers["mode"], answers["predicted"], answers["confidence"], strict=True
                    )
                ],
                "jpeg": base64.b64encode(jpeg(picture)).decode(),
            }
        )
    counts = {mode: int((wrong["mode"] == mode).sum()) for mode in results.modes}
    write_json(path, {"wrong": counts, "pictures": pictures})
