"""inference.txt: confidences and the true class, as the neon course writes them."""

from probabilities import logs

from graft.evaluation import evaluate
from graft.evaluation.predictions import (
    predictions_frame,
    read_predictions,
    write_predictions,
)


def test_inference_lists_confidences_and_the_true_class_in_the_rows_order(tmp_path):
    confidences = [[0.25, 0.75, 0], [1 / 3, 1 / 3, 1 / 3], [1e-9, 0, 1]]
    frame = predictions_frame(
        list("xyz"), list("ggg"), [1, 0, 2], logs(confidences), ["b", "a", "01"]
    )
    write_predictions(tmp_path / "predictions.csv", frame)
    written = read_predictions(tmp_path / "predictions.csv")
    assert evaluate.inference_lines(written) == (
        "[0.250000, 0.750000, 0.000000], 1\n"
        "[0.333333, 0.333333, 0.333333], 0\n"
        "[0.000000, 0.000000, 1.000000], 2\n"
    )
