import numpy as np
import pytest
from builders import encoded, smooth
from picture_files import (
    COLOURS,
    GREY,
    HEIC,
    JPEG_XL,
    SEEN,
    damaged_scan,
    deep,
    file_of,
    of_bits,
    portable,
    transparent,
    with_bits,
)
from PIL import Image, ImageOps

from graft.config.decoding import Decoder
from graft.core.errors import GraftError
from graft.images import decode as decoding
from graft.images import jpeg
from graft.images.decode import decode, windows


def damaged_files():
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    whole, thumbnail = encoded(noise), encoded(noise[:8, :8])
    exif = Image.Exif()
    exif[0x010E] = "contains a thumbnail: " + thumbnail.decode("latin-1")
    return {
        "zero bytes": b"",
        "a web page": b"<html>404 Not Found</html>",
        "header only": whole[:200],
        "half": whole[: len(whole) // 2],
        "all but the end": whole[:-40],
        "all but the end marker": whole[:-2],
        "rest zeroed": whole[: len(whole) // 2] + bytes(len(whole) // 2),
        "half with a thumbnail": encoded(noise, exif=exif)[:-3000],
        "half a png": encoded(noise, "PNG")[:-2000],
        "half a TIFF": encoded(noise, "TIFF")[:-2000],
        "encapsulated PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n",
    }


DAMAGED = damaged_files()


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_picture_is_not_decoded(kind):
    assert decode(DAMAGED[kind]) == "unreadable"


def test_a_truncated_jpeg_is_not_decoded():
    noise = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    for data in (encoded(noise), encoded(noise, progressive=True, restart_marker_blocks=1)):
        assert isinstance(decode(data), np.ndarray)
        assert {decode(data[:size]) for size in range(0, len(data), 7)} == {"unreadable"}


@pytest.mark.parametrize("tail", [b"", b"\0" * 300, b"\r\n", b"camera's own data" * 9])
def test_bytes_after_a_complete_jpeg_are_ignored(tail):
    picture = smooth(90)
    assert abs(decode(encoded(picture) + tail).astype(int) - picture).max() < 10


def test_other_formats_channels_and_orientations_are_decoded():
    picture = smooth(200, 40, 60)
    np.testing.assert_array_equal(decode(encoded(picture, "PNG")), picture)
    np.testing.assert_array_equal(decode(encoded(picture[..., 0], "PNG")), picture[..., [0, 0, 0]])
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    upright = decode(encoded(picture, exif=exif))
    assert abs(upright.astype(int) - np.rot90(picture, -1)).max() < 10


def test_windows_keep_the_order_and_are_bounded_in_pictures_and_in_bytes(monkeypatch):
    monkeypatch.setattr(decoding, "WINDOW_BATCHES", 2)
    monkeypatch.setattr(decoding, "WINDOW_BYTES", 1000)
    sizes = [300, 300, 300, 100, None, 1, 2000, 1]
    pictures = [
        (n, "unreadable" if s is None else np.zeros(s, np.uint8)) for n, s in enumerate(sizes)
    ]
    keys = [[key for key, _ in window] for window in windows(iter(pictures), 3)]
    assert keys == [[0, 1, 2, 3], [4, 5, 6], [7]]
    assert [len(window) for window in windows([(0, "unreadable")] * 13, 3)] == [6, 6, 1]
    assert list(windows([], 3)) == []


FORMATS = {
    "JPEG": (file_of(COLOURS, "JPEG", quality=95), COLOURS, 12),
    "JPEG 2000": (file_of(COLOURS, "JPEG2000"), COLOURS, 0),
    "AVIF": (file_of(COLOURS, "AVIF", quality=100), COLOURS, 8),
    "AVIF, opaque where it is seen": (transparent("RGBA", "AVIF"), np.where(SEEN, COLOURS, 255), 8),
    "WebP": (file_of(COLOURS, "WEBP", lossless=True), COLOURS, 0),
    "BMP": (file_of(COLOURS, "BMP"), COLOURS, 0),
    "TIFF": (file_of(COLOURS, "TIFF"), COLOURS, 0),
    "TIFF, CMYK": (file_of(Image.fromarray(COLOURS).convert("CMYK"), "TIFF"), COLOURS, 1),
    "PBM": (file_of(Image.fromarray(GREY).convert("1", dither=0), "PPM"), (GREY > 127) * 255, 0),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_that_people_have_are_decoded(kind):
    data, wanted, tolerance = FORMATS[kind]
    assert abs(decode(data).astype(int) - wanted).max() <= tolerance


@pytest.mark.parametrize(
    "data",
    [
        HEIC,
        HEIC.replace(b"ftypheic", b"ftypmif1"),
        JPEG_XL,
        b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30),
        file_of(COLOURS[..., 0].astype(np.float32), "TIFF"),
        file_of(COLOURS[..., 0].astype(np.int32), "TIFF"),
    ],
    ids=["HEIC", "HEIC, mif1", "JPEG XL", "JPEG XL, boxed", "TIFF, floats", "TIFF, 32 bits"],
)
def test_formats_that_are_known_and_not_decoded_have_a_reason_of_their_own(data):
    assert decode(data) == "unsupported_format"


def test_heif_is_decoded_where_its_package_is_asked_for(monkeypatch):
    monkeypatch.setattr(decoding, "pillow_heif", None)
    with pytest.raises(GraftError, match=r"pillow-heif: .* not here\. Install it"):
        decode(HEIC, Decoder(heif="1.0"))
    monkeypatch.setattr(decoding, "pillow_heif", object())
    assert decode(HEIC, Decoder(heif="1.0")) == "unreadable"  # it has no picture in it


def test_a_heic_photograph_is_decoded_upright():
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    exif = Image.Exif()
    exif[0x0112] = 6
    data = file_of(COLOURS, "HEIF", quality=-1, exif=exif.tobytes())
    upright = decode(data, Decoder(heif=pillow_heif.__version__))
    assert abs(upright.astype(int) - np.rot90(COLOURS, -1)).max() < 12
    assert decode(data) == "unsupported_format"


TRANSPARENT = {
    "PNG": (transparent("RGBA", "PNG"), COLOURS),
    "WebP": (transparent("RGBA", "WEBP", lossless=True), COLOURS),
    "TIFF": (transparent("RGBA", "TIFF"), COLOURS),
    "JPEG 2000": (transparent("RGBA", "JPEG2000"), COLOURS),
    "PNG, grey": (transparent("LA", "PNG"), GREY),
    "PNG, palette": (transparent("P", "PNG"), np.full_like(COLOURS, (10, 200, 30))),
    "GIF": (transparent("P", "GIF"), np.full_like(COLOURS, (10, 200, 30))),
    "PNG, a transparent colour": (
        file_of(np.where(SEEN, COLOURS, 7).astype(np.uint8), "PNG", transparency=(7, 7, 7)),
        COLOURS,
    ),
    "PNG of 16 bits": (
        deep(np.dstack([of_bits(COLOURS, 16), np.where(SEEN, 65535, 0).astype(np.uint16)])),
        COLOURS,
    ),
}


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 128, 255)])
@pytest.mark.parametrize("kind", TRANSPARENT)
def test_transparent_pixels_show_the_background_and_not_their_hidden_colour(kind, background):
    data, colours = TRANSPARENT[kind]
    shown = decode(data, Decoder(background=background))
    np.testing.assert_array_equal(shown, np.where(SEEN, colours, background))


def test_half_transparent_pixels_are_mixed():
    pixels = np.zeros((1, 4, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, [0, 51, 128, 255]
    shown = decode(file_of(pixels, "PNG"))
    assert shown[0, :, 0].tolist() == [255, 244, 227, 200]
    assert shown[0, :, 1].tolist() == [255, 204, 127, 0]


def test_a_black_drawing_on_nothing_is_seen():
    drawing = np.zeros((20, 20, 4), np.uint8)
    drawing[8:12, :, 3] = 255
    shown = decode(file_of(drawing, "PNG"))
    assert (shown[8:12] == 0).all() and (shown[:8] == 255).all() and (shown[12:] == 255).all()


MAPS = {
    f"P{kind}, {most}{', comment' * comment}": (
        portable(kind, COLOURS, most, comment=comment),
        kind,
    )
    for kind in (2, 3, 5, 6)
    for most in (15, 100, 255, 1023, 4095, 65535)
    for comment in (False, True)
}


@pytest.mark.parametrize("name", MAPS)
def test_portable_maps_are_scaled_by_their_maximum(name):
    data, kind = MAPS[name]
    wanted = COLOURS if kind in (3, 6) else GREY
    coarse = 9 if ", 15" in name else 1 + (", 100" in name)
    assert abs(decode(data).astype(int) - wanted).max() <= coarse


def test_a_portable_map_that_is_cut_short_is_not_decoded():
    assert decode(portable(5, COLOURS, 4095)[:-1]) == "unreadable"
    assert decode(portable(6, COLOURS, 15)[:-1]) == "unreadable"


# file, `bits`, and the bits that its values are scaled by
DEEP = {
    "16 bits": (deep(of_bits(COLOURS, 16)), None),
    "12 bits that nothing states": (deep(of_bits(COLOURS, 12)), None),
    "16 bits, TIFF": (deep(of_bits(COLOURS, 16), ".tiff"), None),
    "12 bits that nothing states, TIFF": (deep(of_bits(COLOURS, 12), ".tiff"), None),
    "10 bits by the config": (deep(of_bits(COLOURS, 10)), 10),
    "14 bits by the config": (deep(of_bits(COLOURS, 14)), 14),
    "10 bits by sBIT, at the bottom": (with_bits(deep(of_bits(COLOURS, 10)), 10, 3), None),
    "14 bits by sBIT, at the bottom": (with_bits(deep(of_bits(COLOURS, 14)), 14, 3), None),
    "12 bits by sBIT, at the top": (with_bits(deep(of_bits(COLOURS, 12) << 4), 12, 3), None),
    "12 bits by sBIT, repeated below": (with_bits(deep(of_bits(COLOURS, 16)), 12, 3), None),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_pictures_are_scaled_by_their_significant_bits(name):
    data, bits = DEEP[name]
    assert abs(decode(data, Decoder(bits=bits)).astype(int) - COLOURS).max() <= 1


@pytest.mark.parametrize("bits", [12, 16])
def test_grey_pictures_of_more_than_8_bits(bits):
    values = of_bits(COLOURS[..., 0], bits)
    for data in (deep(values), deep(values, ".tiff"), file_of(values, "JPEG2000")):
        assert abs(decode(data).astype(int) - GREY).max() <= 1


def test_a_dark_picture_of_16_bits_needs_the_config():
    dark = np.full((4, 4), 4000, np.uint16)  # 6 % of white, if it has 16 bits
    assert decode(deep(dark)).max() == 249
    assert decode(deep(dark), Decoder(bits=16)).max() == 16


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_deep_and_transparent_pictures_are_upright(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for image in (COLOURS, of_bits(COLOURS[..., 0], 16), np.dstack([COLOURS, GREY[..., :1] | 255])):
        plain = Image.fromarray(COLOURS if image.ndim == 3 else GREY)
        plain.getexif()[0x0112] = orientation
        wanted = np.asarray(ImageOps.exif_transpose(plain))
        upright = decode(file_of(image, format, exif=exif))
        assert abs(upright.astype(int) - wanted).max() <= 1


def noise(**options):
    picture = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    return encoded(picture, **options)


def flipped(data, where, bits=0xFF):
    at = int(len(data) * where)
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


CORRUPT = {
    "the scan ends early": damaged_scan(noise()),
    "the scan ends early, progressive": damaged_scan(noise(progressive=True)),
    "zeros to the end marker": damaged_scan(noise(), replace=bytes(5000) + b"\xff\xd9"),
    "a page of zeros within": noise()[:9000] + bytes(512) + noise()[9512:],
    "a piece is missing": noise()[:9000] + noise()[11000:],
    "a piece twice": noise()[:9000] + noise()[7000:],
    "a restart marker is missing": noise(restart_marker_blocks=8).replace(b"\xff\xd3", b"", 1),
    "ones in the scan": noise()[:9000] + b"\xfe" * 300 + noise()[9300:],
}


@pytest.mark.parametrize("kind", CORRUPT)
def test_damage_within_a_jpeg_is_seen(kind, capfd):
    assert decode(CORRUPT[kind]) == "corrupt"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 8}])
def test_an_undamaged_jpeg_is_no_corrupt_one(options):
    assert isinstance(decode(noise(**options)), np.ndarray)


def test_what_others_write_while_a_jpeg_is_decoded_is_passed_on(monkeypatch, capfd):
    def writing(data):
        jpeg.os.write(2, b"of another thread\nCorrupt JPEG data: bad Huffman code\n")

    monkeypatch.setattr(jpeg, "plain", writing)
    assert jpeg.pixels(b"") == (None, True)
    assert capfd.readouterr().err == "of another thread\n"


@pytest.mark.parametrize(
    "format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000"]
)
def test_pictures_beyond_the_limit_are_dropped_before_they_are_decoded(format, monkeypatch):
    data = file_of(COLOURS, format)
    size = COLOURS.shape[0] * COLOURS.shape[1]
    assert isinstance(decode(data, Decoder(max_pixels=size)), np.ndarray)
    monkeypatch.setattr(jpeg, "pixels", None)
    monkeypatch.setattr(decoding, "ImageOps", None)
    assert decode(data, Decoder(max_pixels=size - 1)) == "too_large"


def test_the_default_limit_is_pillows():
    large = Image.new("1", (13_500, 13_500))  # 182 megapixels
    assert decode(file_of(large, "PNG")) == "too_large"
    assert Decoder().max_pixels == 2 * (2**30 // 4 // 3)  # where Pillow refuses a picture
