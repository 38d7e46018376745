"""Real picture files of every awkward kind, and bad ones."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from pillow_heif import register_heif_opener

from mlx_gemma4.errors import MediaError
from mlx_gemma4.media import images
from mlx_gemma4.media.images import load_image


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    """Left to right red, top to bottom green, blue in one corner: no symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), 0 * x], axis=-1)
    rgb[: height // 4, : width // 4, 2] = 200
    return rgb.astype(np.uint8)


def near(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return a.shape == b.shape and np.abs(a.astype(int) - b.astype(int)).mean() < tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_is_turned_upright(tmp_path, orientation):
    upright = gradient()
    turn = {1: 0, 3: 2, 6: 1, 8: 3}  # quarter turns anticlockwise that the camera had made
    stored = {
        2: upright[:, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
    }.get(orientation)
    stored = np.rot90(upright, turn[orientation]) if stored is None else stored
    picture = Image.fromarray(np.ascontiguousarray(stored))
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "photo.jpg", exif=exif, quality=97, subsampling=0)
    assert near(load_image(tmp_path / "photo.jpg"), upright, 3)


def test_sixteen_bit_grey_png(tmp_path):
    values = np.linspace(0, 65535, 64 * 32).reshape(32, 64).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "scan.png")
    rgb = load_image(tmp_path / "scan.png")
    assert rgb.shape == (32, 64, 3)
    assert near(rgb[..., 0], values // 257, 1)
    assert rgb.min() == 0
    assert rgb.max() == 255


def sixteen_bit_rgb_png(rgb: np.ndarray) -> bytes:
    """A PNG with 16 bits a channel, which Pillow reads but cannot write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb)

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", rgb.shape[1], rgb.shape[0], 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_sixteen_bit_colour_png():
    upright = gradient()
    assert near(load_image(sixteen_bit_rgb_png(upright.astype(np.uint16) * 257)), upright, 1)


def test_cmyk_jpeg(tmp_path):
    upright = gradient()
    Image.fromarray(upright).convert("CMYK").save(tmp_path / "print.jpg", quality=97)
    with Image.open(tmp_path / "print.jpg") as stored:
        assert stored.mode == "CMYK"
    assert near(load_image(tmp_path / "print.jpg"), upright, 6)


def test_transparency_is_laid_on_white(tmp_path):
    """Black strokes on a transparent ground must stay visible."""
    rgba = np.zeros((20, 20, 4), np.uint8)
    rgba[8:12, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "logo.png")
    rgb = load_image(tmp_path / "logo.png")
    assert (rgb[8:12] == 0).all()
    assert (rgb[:8] == 255).all()
    assert np.array_equal(load_image(rgba), rgb)


def test_palette_with_a_transparent_colour(tmp_path):
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((0, 0), 1)
    picture.save(tmp_path / "icon.png", transparency=0)
    rgb = load_image(tmp_path / "icon.png")
    assert tuple(rgb[0, 0]) == (0, 0, 255)
    assert tuple(rgb[3, 3]) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "YCbCr", "HSV", "LAB"])
def test_every_mode_becomes_rgb(mode):
    picture = Image.fromarray(gradient())
    if mode == "LAB":
        to_lab = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        picture = ImageCms.applyTransform(picture, to_lab)
    else:
        picture = picture.convert(mode)
    rgb = load_image(picture)
    assert rgb.shape == (40, 60, 3)
    assert rgb.dtype == np.uint8


def test_iphone_photo(tmp_path):
    register_heif_opener()
    upright = gradient(64, 96)
    Image.fromarray(upright).save(tmp_path / "IMG_0001.HEIC", quality=95)
    assert near(load_image(tmp_path / "IMG_0001.HEIC"), upright, 8)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (9, 7), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "wave.gif", save_all=True, append_images=frames[1:])
    assert (load_image(tmp_path / "wave.gif") == (255, 0, 0)).all()


@pytest.mark.parametrize("kind", ["webp", "bmp", "tiff", "png"])
def test_common_formats_and_bytes(kind):
    stream = io.BytesIO()
    options = {"lossless": True} if kind == "webp" else {}
    Image.fromarray(gradient()).save(stream, kind, **options)
    assert np.array_equal(load_image(stream.getvalue()), gradient())


@pytest.mark.parametrize(
    "array",
    [
        gradient(),
        gradient().astype(np.uint16) * 257,
        gradient().astype(np.float32) / 255,
        gradient().astype(np.float64),
    ],
    ids=["uint8", "uint16", "float 0..1", "float 0..255"],
)
def test_arrays_of_every_type(array):
    assert np.array_equal(load_image(array), gradient())


def test_an_array_is_copied():
    array = gradient()
    assert not np.shares_memory(load_image(array), array)


def test_grey_and_black_and_white_arrays():
    assert (load_image(np.full((3, 4), 7, np.uint8)) == 7).all()
    assert (load_image(np.ones((3, 4, 1), bool)) == 255).all()


# Bad input


def says(match: str):
    return pytest.raises(MediaError, match=match)


def test_missing_empty_and_foreign_files(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.jpg").write_text("not a picture at all")
    with says("not there any more"):
        load_image(tmp_path / "gone.png")
    with says(r'"empty.png" is empty \(0 bytes\)'):
        load_image(tmp_path / "empty.png")
    with says("not a picture this program can read"):
        load_image(tmp_path / "notes.jpg")
    with says("is a folder"):
        load_image(tmp_path)
    with says("0 bytes"):
        load_image(b"")


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "tiff", "bmp", "heif"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_files(kind, part):
    register_heif_opener()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, kind)
    data = stream.getvalue()
    with says("damaged|not a picture"):
        load_image(data[: int(len(data) * part)])


def test_a_decompression_bomb_is_refused_before_decoding():
    """A header that promises 40 gigapixels."""
    data = bytearray(sixteen_bit_rgb_png(np.zeros((1, 1, 3), np.uint16)))
    data[16:24] = struct.pack(">II", 200_000, 200_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    with says("more than 120 million pixels"):
        load_image(bytes(data))


def test_the_pixel_limit(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 2399)
    for source in (gradient(), Image.fromarray(gradient())):
        with says("million pixels"):
            load_image(source)


@pytest.mark.parametrize(
    "array",
    [
        np.full((4, 4, 3), np.nan, np.float32),
        np.full((4, 4, 3), np.inf),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(12, np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.complex64),
        np.zeros((4, 4, 3), np.int64),
    ],
    ids=["nan", "inf", "two channels", "no rows", "flat", "a batch", "complex", "int64"],
)
def test_bad_arrays_are_refused(array):
    with pytest.raises(MediaError):
        load_image(array)


def test_a_line_of_pixels_works():
    assert load_image(np.zeros((1, 10_000, 3), np.uint8)).shape == (1, 10_000, 3)
