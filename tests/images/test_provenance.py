"""Provenance: a run on packs and a run on their features have read the same pictures."""

from graft.images.provenance import of_part, of_split


def pack(sha256, **classes):
    """The seal of a pack."""
    outputs = {"pack": {"sha256": sha256}}
    rows = sum(classes.values())
    return {"rows": rows, "classes": classes, "seal": {"stage": "pack", "outputs": outputs}}


def features(packed):
    """The seal of the features of a pack, with two views of each picture."""
    outputs = {"features": {"sha256": "other"}}
    return {"views": 2, "pictures": of_part(packed), "seal": {"stage": "features", **outputs}}


def test_a_split_has_the_rows_and_classes_of_its_parts():
    found = of_split([pack("a", m=2, f=1), pack("b", m=0, f=4)])
    assert (found["rows"], found["classes"]) == (7, {"m": 2, "f": 5})


def test_features_are_of_the_pictures_of_their_packs():
    packs = [pack("a", m=2, f=1), pack("b", m=1, f=1)]
    assert of_split([features(one) for one in packs]) == of_split(packs)


def test_the_digest_follows_each_pack_and_their_order():
    one, two, other = pack("a", m=1), pack("b", m=1), pack("c", m=1)
    digests = {of_split(parts)["sha256"] for parts in ([one, two], [two, one], [one, other])}
    assert len(digests) == 3
