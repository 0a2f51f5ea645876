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
from graft.models.transforms import to_input


def by_runtime(path, pictures):
    """(logits, probabilities) of pictures float32 (n, 3, s, s)."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type) == ("pictures", "tensor(float)")
    assert [output.name for output in session.get_outputs()] == ["logits", "probabilities"]
    return session.run(None, {"pictures": pictures})


def exported(folder, **options):
    """(model file, ONNX file, report, header of the model)."""
    model, graph = folder / "m.safetensors", folder / "m.onnx"
    header = save_model(model, **options)
    return model, graph, export.write(model, graph), header


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The model whose cut is `image`."""
    return exported(tmp_path_factory.mktemp("whole"))


def check_against_pytorch(model, graph, report, channels=3):
    assert report["max_abs_difference"] <= report["tolerance"] * max(1, report["max_abs_logit"])
    network, description = model_file.load_network(model)
    for count in (1, 7):
        # As a pack holds them, and as someone who has only the graph would bring them there.
        packed = np.random.default_rng(count).integers(0, 256, (count, 32, 32, channels), np.uint8)
        pictures = np.repeat(packed, 3 // channels, axis=3).transpose(0, 3, 1, 2)
        with torch.inference_mode():
            inputs = to_input(torch.from_numpy(packed), description.backbone.transform)
            expected = network.whole(inputs)
        logits, probabilities = by_runtime(graph, pictures.astype(np.float32))
        tolerance = 1e-4 * max(1, expected.abs().max())
        np.testing.assert_allclose(logits, expected, rtol=0, atol=tolerance)
        np.testing.assert_allclose(probabilities, expected.softmax(1), rtol=0, atol=tolerance)
        assert np.ptp(expected.numpy()) > 0.1


def test_the_graph_computes_what_the_model_does_for_any_number_of_pictures(whole):
    model, graph, report, _ = whole
    check_against_pytorch(model, graph, report)
    assert (report["image_size"], report["resize_from"]) == (32, None)


def test_channels_scale_and_a_cut_within_are_part_of_the_graph(tmp_path):
    transform = {"channels": "RGB", "scale": 1.0, "mean": [9.0, 110.0, 120.0]}
    model, graph, report, _ = exported(tmp_path, cut="block2", transform=transform)
    check_against_pytorch(model, graph, report)


@pytest.mark.parametrize(
    ("architecture", "cut"),
    [
        ("timm/convnext_atto", "stages.2"),
        ("timm/vit_small_patch16_dinov3", "blocks.5"),  # whose positions are a constant
    ],
)
def test_networks_of_the_zoos_are_exported_and_read_again(tmp_path, architecture, cut):
    transform = {"size": 32, "interpolation": "bicubic"}
    options = {"architecture": architecture, "cut": cut, "transform": transform}
    model, graph, report, _ = exported(tmp_path, **options)
    check_against_pytorch(model, graph, report)


def test_grey_pictures_are_given_three_times_and_a_resize_is_reported(tmp_path):
    options = {"grayscale": True, "transform": {"size": 32}, "image_size": 48}
    model, graph, report, _ = exported(tmp_path, cut="avgpool", **options)
    check_against_pytorch(model, graph, report, channels=1)
    assert (report["image_size"], report["resize_from"]) == (32, 48)


def test_the_graph_describes_itself_and_nothing_of_where_it_was_made(tmp_path, whole):
    model, path, report, header = whole
    graph = onnx.load(path)
    metadata = {item.key: json.loads(item.value) for item in graph.metadata_props}
    assert metadata == {"classes": CLASSES, "graft": header}
    assert {item.domain: item.version for item in graph.opset_import} == {"": report["opset"]}
    dimensions = graph.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dimensions] == ["n", 3, 32, 32]
    data = path.read_bytes()
    for word in (path.parent, ROOT, Path.home(), "site-packages", ".py", "stack_trace", "aten"):
        assert str(word).encode() not in data
    export.write(model, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == data
    assert report["classes"] == CLASSES


def test_a_model_that_no_onnx_file_holds_is_refused(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(export, "MOST_BYTES", 1000)
    with pytest.raises(GraftError, match=r"ONNX: .* Use model\.safetensors"):
        export.write(whole[0], tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_computes_something_else_is_not_written(tmp_path, monkeypatch, whole):
    model, path, _, _ = whole

    def wrong(*arguments):
        graph = onnx.load(path)
        (bias,) = (w for w in graph.graph.initializer if list(w.dims) == [len(CLASSES)])
        changed = onnx.numpy_helper.to_array(bias) + np.float32(0.01)
        bias.CopyFrom(onnx.numpy_helper.from_array(changed, bias.name))
        return graph

    monkeypatch.setattr(export, "convert", wrong)
    with pytest.raises(GraftError, match="logits differ from PyTorch's by 0.01"):
        export.write(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
