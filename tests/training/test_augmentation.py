"""Augmentation: as much as asked, and each picture by a draw of its own."""

import numpy as np
import pytest
import torch
from networks import OF_BATCHES, OF_PICTURES
from torchvision.transforms import v2

from graft.config.models import Augment
from graft.training.augmentation import Augmentation

BY_HAND = {
    "crop": v2.RandomResizedCrop((24, 24), (0.3, 0.8), (3 / 4, 4 / 3)),
    "color": v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "randaugment": v2.RandAugment(num_ops=2, magnitude=9),
}


def pictures(count, side=24, channels=3):
    rng = np.random.default_rng(4)
    return rng.integers(0, 256, (count, side, side, channels)).astype(np.uint8)


def augmentation(classes=3, **options):
    return Augmentation(Augment.model_validate({"flip": False, **options}), classes)


def seeded(seed=1):
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def test_a_flip_mirrors_half_and_a_shift_moves_by_no_more_than_asked():
    picture = np.arange(8 * 8, dtype=np.uint8).reshape(1, 8, 8, 1).repeat(64, 0)
    rng = np.random.default_rng(0)
    assert (augmentation().pictures(picture, rng) == picture).all()
    flipped = augmentation(flip=True).pictures(picture, rng)
    mirrored = (flipped == picture[:, :, ::-1]).all((1, 2, 3))
    assert 10 < mirrored.sum() < 54 and (flipped[~mirrored] == picture[~mirrored]).all()
    centre = set(augmentation(shift=0.25).pictures(picture, rng)[:, 4, 4, 0].tolist())
    assert centre <= {8 * r + c for r in range(2, 7) for c in range(2, 7)} and len(centre) > 10


@pytest.mark.parametrize("name", OF_PICTURES)
def test_each_picture_has_a_draw_of_its_own_as_if_torchvision_were_called_for_it(name):
    same = pictures(1).repeat(6, 0)
    given = augmentation(**{name: OF_PICTURES[name]}).pictures(same, seeded())
    assert len({view.tobytes() for view in given}) > 3
    seeded()
    for picture, view in zip(same, given, strict=True):
        wanted = BY_HAND[name](torch.from_numpy(picture).permute(2, 0, 1).contiguous())
        assert np.array_equal(view, wanted.permute(1, 2, 0).numpy())


def test_pictures_are_moved_cropped_colored_and_then_changed_by_randaugment():
    several = pictures(4)
    given = augmentation(flip=True, **OF_PICTURES).pictures(several, seeded())
    moved = augmentation(flip=True).pictures(several, seeded())
    whole = v2.Compose([BY_HAND[name] for name in ("crop", "color", "randaugment")])
    wanted = [whole(torch.from_numpy(p).permute(2, 0, 1)).permute(1, 2, 0).numpy() for p in moved]
    assert np.array_equal(given, np.stack(wanted))


@pytest.mark.parametrize("name", OF_PICTURES)
def test_grey_pictures_stay_grey(name):
    grey = pictures(12, channels=1)
    given = augmentation(**{name: OF_PICTURES[name]}).pictures(grey, seeded())
    assert given.shape == grey.shape and given.dtype == np.uint8
    assert not np.array_equal(given, grey)


@pytest.mark.parametrize("shape", [(4,), (2, 5, 5)])
def test_mixup_weighs_inputs_as_labels(shape):
    """Four samples, each of a class of its own, so that its share is read off the labels."""
    seeded()
    inputs, labels = torch.rand(4, *shape), torch.arange(4)
    mixed, shares = augmentation(4, mixup=0.4).mixed(inputs, labels)
    assert shares.dtype == torch.float32 and shares.sum(1).tolist() == pytest.approx([1] * 4)
    own = float(shares[0, 0])
    assert 0 < own < 1 and shares[1].tolist() == pytest.approx([1 - own, own, 0, 0])
    torch.testing.assert_close(mixed, own * inputs + (1 - own) * inputs.roll(1, 0))


def test_cutmix_pastes_a_rectangle_whose_area_is_the_other_labels_share():
    inputs = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 20, 20).contiguous()
    seeded()
    mixed, shares = augmentation(4, cutmix=1.0).mixed(inputs, torch.arange(4))
    others = mixed[1] == 0
    assert set(mixed[1].unique().tolist()) == {0, 1} and (others[0] == others[2]).all()
    area = int(others[0].any(1).sum() * others[0].any(0).sum())
    assert others[0].sum() == area > 0
    assert shares[1].tolist() == pytest.approx([area / 400, 1 - area / 400, 0, 0])


def test_with_mixup_and_cutmix_each_batch_has_one_of_both():
    inputs = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 20, 20).contiguous()
    both = augmentation(4, **OF_BATCHES)
    seeded()
    batches = [both.mixed(inputs, torch.arange(4))[0] for _ in range(40)]
    cut = [bool((mixed == mixed.round()).all()) for mixed in batches]
    assert 10 < sum(cut) < 30


def test_equal_seeds_give_equal_bytes_whatever_the_number_of_threads():
    everything = augmentation(flip=True, shift=0.1, **OF_PICTURES, **OF_BATCHES)
    large, labels, before = pictures(4, side=256), torch.arange(4) % 3, torch.get_num_threads()
    results = []
    for threads, seed in ((1, 1), (2, 1), (1, 2)):
        torch.set_num_threads(threads)
        views = everything.pictures(large, seeded(seed))
        mixed, shares = everything.mixed(torch.from_numpy(views).permute(0, 3, 1, 2) / 255, labels)
        results.append((mixed.numpy().tobytes(), shares.numpy().tobytes()))
    torch.set_num_threads(before)
    assert results[0] == results[1] != results[2]
