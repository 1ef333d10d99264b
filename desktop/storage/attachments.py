"""Turns a file of the user into an attachment: a picture made small, or the text of a text file or PDF."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from desktop.domain.conversation import Attachment
from desktop.domain.errors import TurbodeskError
from desktop.storage.cancelling import Cancelled, IsCancelled, never
from desktop.storage.errors import storage_errors
from desktop.storage.refusals import attachment_refused
from desktop.storage.text_encoding import decode_text

if TYPE_CHECKING:
    from PIL import Image

LONGEST_SIDE = 1536
"""Pixels of a picture's longer side; a larger one is made smaller."""

MOST_PIXELS = 80_000_000
MOST_IMAGE_BYTES = 100 << 20
MOST_TEXT_BYTES = 2 << 20
MOST_PDF_BYTES = 200 << 20
MOST_PDF_PAGES = 2000
JPEG_QUALITY = 90

IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"))
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def read_attachment(path: Path, cancelled: IsCancelled = never) -> tuple[Attachment, bytes]:
    """The attachment that a file makes, and its bytes.

    What the suffix does not call a picture or a PDF is taken as text. A large picture takes a second and a long PDF a
    minute: call it off the GUI thread. Raises TurbodeskError with a sentence when it cannot be attached, Cancelled.
    """
    name, suffix = path.name, path.suffix.lower()
    with storage_errors(path):
        if not path.exists():
            raise attachment_refused(name, "it is not there any more")
        if not path.is_file():
            raise attachment_refused(name, "it is not a file")
        if suffix in IMAGE_SUFFIXES:
            return image_from_bytes(_read(path, MOST_IMAGE_BYTES), name)
        if suffix == ".pdf":
            return text_from_string(_pdf_text(_read(path, MOST_PDF_BYTES), name, cancelled), name, "application/pdf")
        return text_from_string(_text(_read(path, MOST_TEXT_BYTES), name), name)


def image_from_bytes(data: bytes, name: str) -> tuple[Attachment, bytes]:
    """The attachment that an encoded picture makes (PNG, JPEG, WebP, BMP, the first frame of a GIF), and its bytes.

    Turned upright, at most LONGEST_SIDE wide and high, encoded anew, as PNG where it has transparency and else as JPEG:
    what the file said about place and camera is gone. Raises TurbodeskError.
    """
    from PIL import Image, ImageFile, UnidentifiedImageError

    ImageFile.LOAD_TRUNCATED_IMAGES = False  # of the whole process, and other libraries set it

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise _too_many_pixels(name)
            small = _made_small(image)
            has_alpha = small.mode == "RGBA"
            buffer = io.BytesIO()
            if has_alpha:
                small.save(buffer, "PNG", optimize=False)
            else:
                small.save(buffer, "JPEG", quality=JPEG_QUALITY)
    except TurbodeskError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise _too_many_pixels(name) from problem
    except UnidentifiedImageError as problem:
        raise attachment_refused(name, "it is no picture of a kind that is known here") from problem
    except MemoryError as problem:
        raise attachment_refused(name, "there is not enough memory for the picture") from problem
    except Exception as problem:  # decoders fail in every way on broken data
        raise attachment_refused(name, "the picture is damaged") from problem
    encoded = buffer.getvalue()
    media_type = "image/png" if has_alpha else "image/jpeg"
    return _attachment(encoded, name, "image", media_type, width=small.width, height=small.height), encoded


def text_from_string(text: str, name: str, media_type: str = "text/plain") -> tuple[Attachment, bytes]:
    """The attachment that a text makes, and its bytes in UTF-8. Raises TurbodeskError when it is too long."""
    data = text.encode(errors="replace")  # a PDF may name characters that there are not
    if len(data) > MOST_TEXT_BYTES:
        raise _too_much_text(name)
    return _attachment(data, name, "text", media_type), data


def _too_many_pixels(name: str) -> TurbodeskError:
    return attachment_refused(name, f"the picture has more than {MOST_PIXELS // 1_000_000} million pixels")


def _made_small(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG can be decoded at half or a quarter of its size
    image.load()
    small: Image.Image = image
    if small.mode.startswith("I"):  # 16 bits a pixel
        small = small.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    transparent = "A" in small.getbands() or "transparency" in small.info
    small = small.convert("RGBA" if transparent else "RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return ImageOps.exif_transpose(small)


def _text(data: bytes, name: str) -> str:
    try:
        text = decode_text(data)
    except UnicodeDecodeError as problem:
        raise attachment_refused(name, "it is neither text nor a picture nor a PDF") from problem
    if "\x00" in text:
        raise attachment_refused(name, "it is neither text nor a picture nor a PDF")
    if not text.strip():
        raise attachment_refused(name, "it holds no text")
    return text


def _pdf_text(data: bytes, name: str, cancelled: IsCancelled) -> str:
    from pypdf import PdfReader

    def check(*_: Any) -> None:
        if cancelled():
            raise Cancelled

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise attachment_refused(name, "it is protected with a password")
        if len(reader.pages) > MOST_PDF_PAGES:
            raise attachment_refused(name, f"it has more than {MOST_PDF_PAGES:,} pages")
        texts: list[str] = []
        length = 0
        for page in reader.pages:
            check()
            texts.append(page.extract_text(visitor_operand_before=check).strip())
            length += len(texts[-1])
            if length > MOST_TEXT_BYTES:
                raise _too_much_text(name)
    except (TurbodeskError, Cancelled):
        raise
    except Exception as problem:  # pypdf fails in every way on broken files
        raise attachment_refused(name, "the PDF is damaged, or of a kind that cannot be read") from problem
    text = "\n\n".join(filter(None, texts))
    if not text:
        raise attachment_refused(name, "it holds no text, only pictures of pages")
    return text


def _too_much_text(name: str) -> TurbodeskError:
    return attachment_refused(name, f"it holds more than {MOST_TEXT_BYTES >> 20} MB of text")


def _attachment(
    data: bytes, name: str, kind: Literal["image", "text"], media_type: str, width: int = 0, height: int = 0
) -> Attachment:
    return Attachment(
        id=hashlib.sha256(data).hexdigest(),
        name=name,
        kind=kind,
        media_type=media_type,
        size=len(data),
        width=width,
        height=height,
    )


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise attachment_refused(path.name, f"it is larger than {limit >> 20} MB")
    return data
