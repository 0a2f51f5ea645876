"""ONNX models: a trained network as a graph that runs without PyTorch and without Graft.

The graph takes `pictures` float32 (n, 3, s, s), RGB, values 0 to 255, prepared as a pack holds
them (one grey channel three times) and of the side s that the backbone receives; the input
transform's scale, mean, standard deviation and order of channels are part of it. It gives
`logits` and `probabilities`, float32 (n, classes): their softmax, or where a picture may have
several classes their sigmoid. Its metadata hold the `classes` in their order
(a JSON list) and, under `graft`, the description of the model.

Not part of it is what makes a photograph such a picture: detecting and aligning the face, and,
where the description's `transform.size` differs from its `preparation.pack.packed_size`, the resize
from the latter to the former (antialiased, by the transform's `interpolation` and `crop_pct`).
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from graft.core.errors import GraftError
from graft.core.files import atomic, canonical_json
from graft.core.version import VERSION
from graft.models import model_file, transforms
from graft.models.model_file import ModelDescription
from graft.models.network import Network, folded

OPSET = 20
"""The version of ONNX's operators: what ONNX Runtime reads from 1.17 on."""

TOLERANCE = 1e-4
"""How far ONNX Runtime's logits may be from PyTorch's, as a share of the largest (at least 1).
Both compute in float32, but in another order; some 1e-6 is usual."""

MOST_BYTES = 2_000_000_000
"""Of a model's tensors: a protocol buffer has at most 2^31 bytes, the graph's own included."""

CHECKED = 4
"""Random pictures that both compute; another number than the graph is traced with."""


class Pictures(nn.Module):
    """A network from pictures float32 (n, 3, s, s), RGB 0 to 255, to (logits, probabilities)."""

    def __init__(self, network: Network, description: ModelDescription):
        super().__init__()
        self.network = network
        self.transform = description.backbone.transform.model_copy(update={"size": None})
        self.confidences = description.confidences

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.network.whole(transforms.normalise(pictures, self.transform))
        return logits, self.confidences(logits)


def write(model: Path, destination: Path) -> dict[str, Any]:
    """Write a model that `train.train` wrote as ONNX; return the results of `check` and more.

    The bytes are the same each time. Raises GraftError if the file cannot be read, or if the
    graph does not compute what the network does; then nothing is written.
    """
    network, description = model_file.load_network(model)
    network.head = folded(network.head)
    module = Pictures(network, description).eval()
    graph = convert(module, description)
    checked = check(graph, module, description.input_size)
    with atomic(destination) as temporary:
        temporary.write_bytes(graph.SerializeToString(deterministic=True))
    size = description.preparation.pack.packed_size
    return {
        **checked,
        "opset": OPSET,
        "classes": description.classes,
        "image_size": description.input_size,
        "resize_from": size if size != description.input_size else None,
    }


def convert(module: Pictures, description: ModelDescription) -> onnx.ModelProto:
    """Trace a module; the graph holds nothing of the machine it was traced on."""
    held = sum(tensor.nbytes for tensor in module.state_dict().values())
    if held > MOST_BYTES:
        raise GraftError(
            f"ONNX: the model's tensors have {held / 1e9:.1f} GB, more than the "
            f"{MOST_BYTES / 1e9:.1f} GB that one ONNX file holds. Use model.safetensors."
        )
    side = description.input_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about its own parts
        program = torch.onnx.export(
            module,
            (torch.zeros(2, 3, side, side),),
            input_names=["pictures"],
            output_names=["logits", "probabilities"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None  # as with dynamo=True
    graph = program.model_proto
    _strip(graph)
    graph.producer_name, graph.producer_version = "graft", VERSION
    onnx.helper.set_model_props(
        graph,
        {
            "classes": json.dumps(description.classes),
            "graft": canonical_json(description.to_json()),
        },
    )
    onnx.checker.check_model(graph, full_check=True)
    return graph


def check(graph: onnx.ModelProto, module: Pictures, input_size: int) -> dict[str, float]:
    """Compare ONNX Runtime with PyTorch on random pictures, drawn with a fixed seed.

    Returns {"max_abs_difference": of logits and probabilities, "max_abs_logit", "tolerance",
    "pictures_checked"}; GraftError where the difference exceeds `TOLERANCE`.
    """
    shape = (CHECKED, 3, input_size, input_size)
    pictures = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    with torch.inference_mode():
        expected = [output.numpy() for output in module(torch.from_numpy(pictures))]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs = session.run(["logits", "probabilities"], {"pictures": pictures})
    largest = float(np.abs(expected[0]).max())
    # The softmax's derivatives are below 1, so what bounds the logits bounds the probabilities.
    difference = max(float(np.abs(a - b).max()) for a, b in zip(outputs, expected, strict=True))
    if not difference <= TOLERANCE * max(1, largest):  # `not <=` refuses NaN as well
        raise GraftError(
            f"ONNX: the graph's logits differ from PyTorch's by {difference:.3g} (they reach "
            f"{largest:.3g}), more than rounding explains. This is a defect of Graft or of the "
            "exporter: please report it."
        )
    return {
        "max_abs_difference": difference,
        "max_abs_logit": largest,
        "tolerance": TOLERANCE,
        "pictures_checked": CHECKED,
    }


def _strip(graph: onnx.ModelProto) -> None:
    """Remove the exporter's notes: source files, stack traces, torch's names."""
    del graph.metadata_props[:]
    graph.doc_string = ""
    waiting = [graph.graph, *graph.functions]
    while waiting:
        message = waiting.pop()
        for field, value in message.ListFields():
            if field.name == "doc_string":
                message.doc_string = ""
            elif field.name == "metadata_props":
                del message.metadata_props[:]
            elif field.message_type is not None:
                waiting.extend(value if field.is_repeated else [value])
