"""Files of every kind, whole, broken and hostile, become attachments or a sentence."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from desktop.domain.errors import TurbodeskError
from desktop.storage import attachments
from desktop.storage.attachments import LONGEST_SIDE, image_from_bytes, read_attachment
from desktop.storage.cancelling import Cancelled


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def pdf(*pages: str, password: str = "") -> bytes:
    """A PDF with these lines of text, one a page."""
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(200, 200)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode() if text else b"")
        page[NameObject("/Contents")] = writer._add_object(stream)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refused(path: Path) -> str:
    with pytest.raises(TurbodeskError) as caught:
        read_attachment(path)
    message = caught.value.failure.message
    assert message.startswith(f"{path.name} cannot be attached: ")
    return message


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_pictures_of_every_kind(tmp_path: Path, format_: str) -> None:
    path = put(tmp_path, f"x.{format_}", encoded(Image.new("RGB", (30, 20), (200, 10, 10)), format_))
    attachment, data = read_attachment(path)
    assert (attachment.name, attachment.kind, attachment.media_type) == (path.name, "image", "image/jpeg")
    assert (attachment.width, attachment.height, attachment.size) == (30, 20, len(data))
    assert attachment.id == hashlib.sha256(data).hexdigest()
    red, green, blue = decoded(data).getpixel((10, 10))
    assert (red > 180, green < 40, blue < 40) == (True, True, True)


@pytest.mark.parametrize(("mode", "format_"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP")])
def test_transparency_is_kept(mode: str, format_: str) -> None:
    data = encoded(Image.new(mode, (5, 5), (0,) * len(mode)), format_)
    attachment, small = image_from_bytes(data, "x")
    assert attachment.media_type == "image/png"
    assert decoded(small).getpixel((2, 2))[3] == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "CMYK"])
def test_other_pixels_become_ordinary_ones(mode: str) -> None:
    image = Image.new("I;16", (8, 8), 32768) if mode == "I;16" else Image.new("RGB", (8, 8), "gray").convert(mode)
    attachment, data = image_from_bytes(encoded(image, "JPEG" if mode == "CMYK" else "PNG"), "x")
    assert attachment.media_type == "image/jpeg"
    if mode != "1":
        assert abs(decoded(data).convert("L").getpixel((4, 4)) - 128) < 30  # a palette has few greys


@pytest.mark.parametrize(("size", "expected"), [((4000, 1000), (1536, 384)), ((10, 3000), (5, 1536)), ((9, 9), (9, 9))])
@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_large_pictures_are_made_smaller(size: tuple[int, int], expected: tuple[int, int], format_: str) -> None:
    attachment, data = image_from_bytes(encoded(Image.new("RGB", size), format_), "x")
    assert (attachment.width, attachment.height) == expected == decoded(data).size
    assert max(expected) <= LONGEST_SIDE


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_upright_and_says_nothing_else(format_: str) -> None:
    image = Image.new("RGB", (40, 20), "blue")
    image.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    exif[0x010F] = "a camera"
    attachment, data = image_from_bytes(encoded(image, format_, exif=exif), "x")
    assert (attachment.width, attachment.height) == (20, 40)
    upright = decoded(data)
    assert upright.getpixel((10, 5))[0] > 180, "what was left is above"
    assert dict(upright.getexif()) == {}


def test_the_first_frame_of_a_moving_picture() -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    _, data = image_from_bytes(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "x")
    assert decoded(data).getpixel((3, 3))[0] > 180


def png_of_size(width: int, height: int) -> bytes:
    """The head of a PNG that claims to be this large, and a little of its data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [9000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused(tmp_path: Path, side: int) -> None:
    assert "million pixels" in refused(put(tmp_path, "bomb.png", png_of_size(side, side)))


def test_broken_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)  # as LMDeploy leaves it
    whole = encoded(Image.effect_noise((100, 100), 50), "PNG")
    assert "damaged" in refused(put(tmp_path, "cut.png", whole[: len(whole) // 2]))
    assert "damaged" in refused(put(tmp_path, "bad.png", whole[:60] + bytes(40) + whole[100:]))
    assert "no picture" in refused(put(tmp_path, "text.jpg", b"hello"))
    assert "no picture" in refused(put(tmp_path, "empty.gif", b""))
    tiff = encoded(Image.new("RGB", (5, 5)), "TIFF")
    assert "no picture of a kind" in refused(put(tmp_path, "really-a-tiff.png", tiff))


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]), st.data())
def test_no_damage_breaks_more_than_the_picture(format_: str, data: st.DataObject) -> None:
    content = bytearray(encoded(Image.linear_gradient("L").resize((20, 20)), format_))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    message = ""
    try:
        attachment, _ = image_from_bytes(bytes(content), "x")
        assert attachment.kind == "image"
    except TurbodeskError as problem:
        message = problem.failure.message
    assert not message or message.startswith("x cannot be attached: ")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("héllo 你好\r\n".encode(), "héllo 你好\r\n"),
        (b"\xef\xbb\xbfmarked", "marked"),
        ("wide 你".encode("utf-16"), "wide 你"),
        (b"\xfe\xff" + "wide 你".encode("utf-16-be"), "wide 你"),
        ("Größe".encode("latin-1"), "Größe"),
    ],
)
def test_text_files(tmp_path: Path, data: bytes, text: str) -> None:
    attachment, stored = read_attachment(put(tmp_path, "x.py", data))
    assert stored == text.encode()
    assert (attachment.kind, attachment.media_type, attachment.size) == ("text", "text/plain", len(stored))
    assert attachment.id == hashlib.sha256(stored).hexdigest()


CHINESE = (
    "你好",
    "姓名,年龄\n张三,20\n李四,30\n",
    "INFO 加载模型成功\r\nERROR 显存不足\r\n",
    "# 计算注意力\ndef f(x):\n    return x  # 返回\n",
    "大语言模型的推理需要大量显存，键值缓存随上下文长度增长。" * 50,
    "┌──────┐\n│ 显存 │\n└──────┘\n",
    "繁體中文，臺灣的電腦與軟體",
    "犇猋骉，镕、喆、堃是少见的字，其余的都很常见",
    "四字节：㐀和𠮷",
)
WESTERN = (
    "Größe",
    "Straße über Brücke, größer, Äpfel, Öl, GRÖSSE",
    "é",
    "café",
    "25°C ± 1, 5 µs, 3 m²",
    "naïveté déjà vu, ÉCOLE, À côté, ¿Éste? ¡Sí!",
    "ação não coração",
    "hääyöaie, työyö",
    "Räksmörgås på ön Åland",
    "smørrebrød blåbærgrød",
)


@pytest.mark.parametrize("text", CHINESE)
@pytest.mark.parametrize("encoding", ["gb18030", "gbk"])
def test_chinese_text_files_of_before_unicode(tmp_path: Path, text: str, encoding: str) -> None:
    data = text.encode(encoding, "ignore")
    assert read_attachment(put(tmp_path, "x.txt", data))[1].decode() == data.decode(encoding)


@pytest.mark.parametrize("text", WESTERN)
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_western_text_files_of_before_unicode(tmp_path: Path, text: str, encoding: str) -> None:
    for each in (text, text * 100, "\n".join(text.split()), f"plain words before {text} and after"):
        assert read_attachment(put(tmp_path, "x.txt", each.encode(encoding)))[1].decode() == each


def test_quotes_and_euros_of_windows(tmp_path: Path) -> None:
    text = "“It’s” – 5 € … œuvre"
    assert read_attachment(put(tmp_path, "x.txt", text.encode("cp1252")))[1].decode() == text
    # What cp1252 does not know either is kept, character by character.
    assert read_attachment(put(tmp_path, "x.txt", b"\x81 \xe9"))[1].decode() == "\x81 é"


@pytest.mark.parametrize("data", [b"\x7fELF\x00\x01", b"a\x00b", b"\xff\xfeodd", b"\xff\xfe\x00\xd8", b"\xff\x00\x80"])
def test_what_is_no_text(tmp_path: Path, data: bytes) -> None:
    assert "neither text" in refused(put(tmp_path, "x.bin", data))


def test_files_that_are_too_large_empty_or_not_there(tmp_path: Path) -> None:
    assert "larger than 2 MB" in refused(put(tmp_path, "x.txt", b"x" * ((2 << 20) + 1)))
    assert "more than 2 MB" in refused(put(tmp_path, "y.txt", b"\xe9" * ((1 << 20) + 1)))
    assert "no text" in refused(put(tmp_path, "z.txt", b" \n"))
    assert "not there" in refused(tmp_path / "gone.txt")
    assert "not a file" in refused(tmp_path)


def test_a_file_that_may_not_be_read(ordinary_folder: Path) -> None:
    path = put(ordinary_folder, "x.txt", b"secret")
    path.chmod(0)
    with pytest.raises(TurbodeskError, match=r"x\.txt"):
        read_attachment(path)


def test_the_text_of_a_pdf(tmp_path: Path) -> None:
    attachment, data = read_attachment(put(tmp_path, "x.PDF", pdf("Hello", "", "World")))
    assert data == b"Hello\n\nWorld"
    assert (attachment.kind, attachment.media_type) == ("text", "application/pdf")
    _, data = read_attachment(put(tmp_path, "x.pdf", pdf("Only locked for changes")[:-1]))
    assert data == b"Only locked for changes"


def test_pdfs_that_give_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "only pictures" in refused(put(tmp_path, "scan.pdf", pdf("", "")))
    assert "password" in refused(put(tmp_path, "locked.pdf", pdf("secret", password="x")))
    assert "damaged" in refused(put(tmp_path, "broken.pdf", b"%PDF-1.4\nnothing"))
    assert "damaged" in refused(put(tmp_path, "empty.pdf", b""))
    monkeypatch.setattr(attachments, "MOST_PDF_PAGES", 2)
    assert "more than 2 pages" in refused(put(tmp_path, "long.pdf", pdf("a", "b", "c")))
    monkeypatch.setattr(attachments, "MOST_TEXT_BYTES", 3)
    assert "of text" in refused(put(tmp_path, "much.pdf", pdf("abcdef")))


def test_reading_a_pdf_is_given_up_within_a_page(tmp_path: Path) -> None:
    path = put(tmp_path, "x.pdf", pdf("Hello"))
    answers = iter([False, False, True])
    with pytest.raises(Cancelled):
        read_attachment(path, cancelled=lambda: next(answers))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_damage_breaks_more_than_the_pdf(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(pdf("Hello", "World"))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = put(tmp_path_factory.getbasetemp(), "x.pdf", bytes(content))
    message = ""
    try:
        attachment, _ = read_attachment(path)
        assert attachment.kind == "text"
    except TurbodeskError as problem:
        message = problem.failure.message
    assert not message or message.startswith("x.pdf cannot be attached: ")
