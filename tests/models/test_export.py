"""Export: ONNX Runtime computes from the file what PyTorch computes from the model."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from builders import CLASSES, save_model
from conftest import ROOT

from graft.core.errors import GraftError
from graft.models import export, model_file
from graft.models.transforms import Transform


def by_runtime(path, pictures):
    """(logits, probabilities) of pictures float32 (n, 3, s, s)."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type) == ("pictures", "tensor(float)")
    assert [output.name for output in session.get_outputs()] == ["logits", "probabilities"]
    return session.run(None, {"pictures": pictures})


@pytest.mark.parametrize(
    ("cut", "settings"),
    [
        ("image", {}),
        ("block2", {"transform": {"channels": "RGB", "scale": 1.0, "mean": [9.0, 110.0, 120.0]}}),
        ("avgpool", {"grayscale": True}),
    ],
)
def test_the_graph_computes_what_the_model_does_for_any_number_of_pictures(tmp_path, cut, settings):
    description = save_model(tmp_path / "m.safetensors", cut=cut, **settings)
    found = export.write(tmp_path / "m.safetensors", tmp_path / "m.onnx")
    assert found["max_abs_difference"] <= found["tolerance"] * max(1, found["max_abs_logit"])
    network, _ = model_file.load_network(tmp_path / "m.safetensors")
    transform = Transform.from_dict(description["transform"])
    for count in (1, 7):
        # As a pack holds them, and as whoever has nothing but the graph would bring them there.
        channels = 1 if settings.get("grayscale") else 3
        packed = np.random.default_rng(count).integers(0, 256, (count, 32, 32, channels), np.uint8)
        pictures = np.repeat(packed, 3 // channels, axis=3).transpose(0, 3, 1, 2)
        with torch.inference_mode():
            wanted = network.whole(transform(torch.from_numpy(packed)))
        logits, probabilities = by_runtime(tmp_path / "m.onnx", pictures.astype(np.float32))
        tolerance = 1e-4 * max(1, wanted.abs().max())
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=tolerance)
        np.testing.assert_allclose(probabilities, wanted.softmax(1), rtol=0, atol=tolerance)
        assert np.ptp(wanted.numpy()) > 0.1


def test_the_graph_says_what_it_is_and_nothing_of_where_it_was_made(tmp_path):
    description = save_model(tmp_path / "m.safetensors")
    found = export.write(tmp_path / "m.safetensors", tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx")
    told = {item.key: json.loads(item.value) for item in graph.metadata_props}
    assert told == {"classes": CLASSES, "graft": description}
    assert {item.domain: item.version for item in graph.opset_import} == {"": found["opset"]}
    dimensions = graph.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dimensions] == ["n", 3, 32, 32]
    data = (tmp_path / "m.onnx").read_bytes()
    for word in (tmp_path, ROOT, Path.home(), "site-packages", ".py", "stack_trace", "aten"):
        assert str(word).encode() not in data
    export.write(tmp_path / "m.safetensors", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == data
    assert found["resize_from"] is None and found["classes"] == CLASSES


def test_a_picture_that_has_to_be_resized_first_is_told(tmp_path):
    save_model(tmp_path / "m.safetensors", transform={"size": 32}, image_size=48)
    found = export.write(tmp_path / "m.safetensors", tmp_path / "m.onnx")
    assert (found["image_size"], found["resize_from"]) == (32, 48)


def test_a_graph_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    save_model(tmp_path / "m.safetensors")
    convert = export.convert

    def wrong(*arguments):
        graph = convert(*arguments)
        (bias,) = (w for w in graph.graph.initializer if list(w.dims) == [len(CLASSES)])
        changed = onnx.numpy_helper.to_array(bias) + np.float32(0.01)
        bias.CopyFrom(onnx.numpy_helper.from_array(changed, bias.name))
        return graph

    monkeypatch.setattr(export, "convert", wrong)
    with pytest.raises(GraftError, match="logits differ from PyTorch's by 0.01"):
        export.write(tmp_path / "m.safetensors", tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
