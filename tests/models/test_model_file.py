"""Model files: what is saved comes back, with the header's keys as they always were."""

from dataclasses import replace

import pytest
import torch
from builders import save_model

from graft.core.errors import GraftError
from graft.models import model_file
from graft.models.model_file import ModelDescription


def test_saved_tensors_and_their_description_come_back(tmp_path):
    path = tmp_path / "model.safetensors"
    model_file.save(path, {"a": torch.arange(3)}, {"classes": ["ä", "b"]})
    tensors, description = model_file.load(path)
    assert torch.equal(tensors["a"], torch.arange(3)) and description == {"classes": ["ä", "b"]}
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(GraftError, match=r"model\.safetensors"):
        model_file.load(path)


@pytest.mark.parametrize("crop", ["whole", "aligned_face"])
def test_a_description_is_read_and_written_with_the_same_keys(tmp_path, crop):
    path = tmp_path / "model.safetensors"
    header = save_model(path, crop=crop, transform={"scale": 1, "size": 32})
    network, description = model_file.load_network(path)
    assert description.to_json() == header == model_file.load(path)[1]
    assert repr(description.to_json()["transform"]["scale"]) == "1", "an integer stays one"
    assert description.input_size == 32 and description.preparation.crop.crop == crop
    assert not network.training and ModelDescription.from_json(header) == description


def test_another_safetensors_file_is_no_model(tmp_path):
    path = tmp_path / "source.safetensors"
    for header in ({}, {"architecture": "vgg_mini"}, {"preparation": {}}):
        model_file.save(path, {"a": torch.zeros(1)}, header)
        with pytest.raises(GraftError, match=r"source\.safetensors: the file is no model"):
            model_file.load_network(path)


def test_other_decoding_and_faces_than_the_defaults_are_in_the_description(tmp_path):
    path = tmp_path / "model.safetensors"
    decode = {"background": [0, 0, 0], "bits": 12}
    detector = {"name": "mtcnn", "min_score": 0.5, "margin": 1.0, "batch_size": 4, "min_face": 0.2}
    header = save_model(path, crop="aligned_face", decode=decode, detector=detector)
    _, description = model_file.load_network(path)
    crop = description.preparation.crop
    assert description.to_json() == header
    assert crop.decode.background == (0, 0, 0) and crop.decode.bits == 12
    assert crop.detector.min_face == 0.2
    heif = crop.decode.model_copy(update={"heif": "1.0"})
    described = description.preparation.model_copy(
        update={"crop": crop.model_copy(update={"decode": heif})}
    )
    assert replace(description, preparation=described).to_json() == header
