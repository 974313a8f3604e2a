"""An exported model as predict and evaluate ask it."""

import shutil

import numpy as np
import pytest
from drawing import encoded, halves

from components.errors import UsageError
from components.inference.served_model import ServedModel

DARK_LEFT = np.repeat(halves(20, 230, 64, 96)[..., np.newaxis], 3, axis=-1)


def test_a_model_says_which_classes_it_knows(model, spec):
    assert model.spec == spec
    assert model.description["run_id"] == "drawn"


def test_probabilities_come_at_the_models_size(model):
    found = model.probabilities([encoded(DARK_LEFT, "JPEG"), encoded(DARK_LEFT[:, ::-1].copy(), "JPEG")])
    assert (found.shape, found.dtype) == ((2, 32, 48, 3), np.float32)
    assert found.sum(axis=-1) == pytest.approx(1.0)
    assert found[0, 16, 5].tolist() == [1, 0, 0]
    assert found[1, 16, 5].tolist() == [0, 0, 1]


def test_labels_come_at_each_photos_own_size(model):
    sizes = [(64, 96), (33, 101)]
    photos = [encoded(np.repeat(halves(20, 230, *size)[..., np.newaxis], 3, axis=-1), "PNG") for size in sizes]
    found = model.labels(photos, sizes)
    for labels, (height, width) in zip(found, sizes, strict=True):
        assert (labels.shape, labels.dtype) == ((height, width), np.uint8)
        assert (labels[:, : width // 2 - 3] == 0).all()
        assert (labels[:, width // 2 + 3 :] == 2).all()


@pytest.mark.parametrize(
    "description",
    [None, "", "{", "{}", '{"feature_spec": {"classes": []}}'],
    ids=["missing", "empty", "half", "no classes at all", "wrong classes"],
)
def test_a_folder_that_segpipe_did_not_export_is_a_usage_error_that_names_it(tmp_path, model_folder, description):
    folder = tmp_path / "17"
    shutil.copytree(model_folder, folder)
    path = folder / "assets.extra" / "segpipe.json"
    path.unlink()
    if description is not None:
        path.write_text(description)
    with pytest.raises(UsageError, match="17: is no model that segpipe exported"):
        ServedModel(str(folder))
