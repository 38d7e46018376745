"""Damaged and hostile files: one sentence, bounded time and memory, and the next file goes on."""

from __future__ import annotations

import io
import os
import struct
import time
import zipfile
import zlib
from pathlib import Path

import pikepdf
import psutil
import pytest
from PIL import Image

from app.documents.host import DocumentHost
from app.documents.types import DocumentError, DocumentKind, DocumentProblem
from tests.documents.paper_files import text_pdf

MEMORY = 700 << 20


@pytest.fixture(scope="module")
def host():
    with DocumentHost(timeout_s=20, memory_bytes=MEMORY) as opened:
        yield opened


@pytest.fixture
def good(tmp_path, host):
    """After each hostile file an ordinary one must still be read."""
    path = text_pdf(tmp_path / "good.pdf", [["All is well."]])
    yield
    assert host.lines(path, 0)[0].text == "All is well."


def refusal(host: DocumentHost, path: Path) -> DocumentError:
    """Use the file in every way; the first error."""

    def use() -> None:
        info = host.open(path)
        if info.kind is DocumentKind.TEXT:
            host.text(path)
        else:
            host.picture(path, 0, soft_tokens=280)

    with pytest.raises(DocumentError) as caught:
        use()
    sentence = caught.value.message
    assert sentence.endswith(".")
    assert path.name in sentence
    assert "\n" not in sentence
    return caught.value


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pieces = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + pieces


def word_zip(path: Path, document: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.'
            'relationships+xml"/><Override PartName="/word/document.xml" ContentType="application/'
            'vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            '<Relationship Id="r" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
            'relationships/officeDocument" Target="word/document.xml"/></Relationships>',
        )
        archive.writestr("word/document.xml", document)
    return path


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


@pytest.mark.usefixtures("good")
class TestRefused:
    def test_empty_file(self, host, tmp_path):
        path = tmp_path / "empty.pdf"
        path.touch()
        assert refusal(host, path).kind is DocumentProblem.EMPTY

    def test_missing_file_and_folder(self, host, tmp_path):
        assert refusal(host, tmp_path / "no.pdf").kind is DocumentProblem.GONE
        assert refusal(host, tmp_path).kind is DocumentProblem.UNSUPPORTED

    def test_two_sparse_gigabytes(self, host, tmp_path):
        path = tmp_path / "sparse.pdf"
        with path.open("wb") as out:
            out.write(b"%PDF-1.7\n")
            out.truncate(2 << 30)
        assert refusal(host, path).kind in (DocumentProblem.BROKEN, DocumentProblem.TIMEOUT)

    def test_sparse_gigabytes_of_nothing(self, host, tmp_path):
        path = tmp_path / "zeros.bin"
        with path.open("wb") as out:
            out.truncate(2 << 30)
        assert refusal(host, path).kind is DocumentProblem.UNSUPPORTED

    def test_random_bytes(self, host, tmp_path):
        path = tmp_path / "noise.docx"
        path.write_bytes(os.urandom(9000))
        assert refusal(host, path).kind is DocumentProblem.UNSUPPORTED

    def test_old_office_file(self, host, tmp_path):
        path = tmp_path / "old.doc"
        path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000))
        assert "DOCX" in refusal(host, path).message

    @pytest.mark.parametrize("keep", [30, 600, 0.5])
    def test_pdf_cut_short(self, host, tmp_path, keep):
        whole = text_pdf(tmp_path / "whole.pdf", [["words"] * 5]).read_bytes()
        path = tmp_path / "cut.pdf"
        path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
        assert refusal(host, path).kind is DocumentProblem.BROKEN

    def test_picture_with_a_lying_header(self, host, tmp_path):
        path = tmp_path / "lying.png"
        path.write_bytes(png(60_000, 60_000, zlib.compress(b"\0" * 3000)))
        assert refusal(host, path).kind is DocumentProblem.TOO_LARGE

    def test_picture_with_less_than_it_says(self, host, tmp_path):
        path = tmp_path / "short.png"
        path.write_bytes(png(900, 900, zlib.compress(b"\0" * 100)))
        assert refusal(host, path).kind is DocumentProblem.BROKEN

    @pytest.mark.parametrize("suffix", ["jpg", "tiff", "webp", "gif", "bmp", "heic"])
    def test_picture_cut_short(self, host, tmp_path, suffix):
        whole = io.BytesIO()
        picture = Image.effect_noise((400, 300), 80).convert("RGB")
        if suffix == "heic":
            from pillow_heif import register_heif_opener

            register_heif_opener()
        kind = {"jpg": "JPEG", "heic": "HEIF"}.get(suffix, suffix.upper())
        picture.save(whole, kind)
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 3])
        assert refusal(host, path).kind is DocumentProblem.BROKEN

    @pytest.mark.parametrize("name", ["bomb.docx", "bomb.xlsx", "bomb.pptx"])
    def test_zip_bomb(self, host, tmp_path, name):
        folder = {"docx": "word", "xlsx": "xl", "pptx": "ppt"}[name[-4:]]
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr("[Content_Types].xml", "<Types/>")
            with archive.open(f"{folder}/document.xml", "w") as part:
                for _ in range(180):
                    part.write(bytes(1 << 20))
        assert path.stat().st_size < 1 << 20
        assert refusal(host, path).kind is DocumentProblem.TOO_LARGE

    def test_zip_that_is_no_document(self, host, tmp_path):
        path = tmp_path / "photos.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "x")
        assert refusal(host, path).kind is DocumentProblem.UNSUPPORTED

    def test_office_file_without_its_parts(self, host, tmp_path):
        path = word_zip(tmp_path / "hollow.docx", b"<not><xml")
        assert refusal(host, path).kind is DocumentProblem.BROKEN

    def test_billion_laughs(self, host, tmp_path):
        entities = "".join(
            f'<!ENTITY l{n} "{("&l" + str(n - 1) + ";") * 10}">' for n in range(1, 10)
        )
        document = (
            f'<?xml version="1.0"?><!DOCTYPE w:document [<!ENTITY l0 "lol">{entities}]>'
            f"<w:document {W}><w:body><w:p><w:r><w:t>&l9;</w:t></w:r></w:p></w:body></w:document>"
        )
        path = word_zip(tmp_path / "laughs.docx", document.encode())
        try:
            host.open(path)
            text = host.text(path)
        except DocumentError:
            return
        assert len(text) < 1000


@pytest.mark.usefixtures("good")
class TestBounded:
    def test_pdf_that_declares_a_hundred_thousand_pages(self, host, tmp_path):
        path = text_pdf(tmp_path / "many.pdf", [["one"], ["two"]])
        with pikepdf.open(path, allow_overwriting_input=True) as pdf:
            pdf.Root.Pages.Count = 100_000
            pdf.save(path)
        info = host.open(path)
        assert info.pages == 2 or info.notices
        assert host.picture(path, 0, longest=100).picture.width > 0
        with pytest.raises(DocumentError):
            host.picture(path, 90_000, longest=100)

    def test_pdf_with_a_broken_cross_reference(self, host, tmp_path):
        path = text_pdf(tmp_path / "xref.pdf", [["still here"]])
        data = path.read_bytes().replace(b"startxref\n", b"startxref\n9")
        path.write_bytes(data.replace(b"0000000", b"0000099"))
        assert host.lines(path, 0)[0].text == "still here"

    def test_page_of_absurd_size(self, host, tmp_path):
        path = text_pdf(tmp_path / "huge.pdf", [["x"]])
        with pikepdf.open(path, allow_overwriting_input=True) as pdf:
            pdf.pages[0].MediaBox = [0, 0, 10_000_000, 20]
            pdf.save(path)
        picture = host.picture(path, 0, soft_tokens=1120).picture
        assert picture.width * picture.height <= 1120 * 48 * 48

    def test_pdf_bomb(self, host, tmp_path):
        """A content stream of a gigabyte in a few kilobytes."""
        pdf = pikepdf.Pdf.new()
        pdf.add_blank_page(page_size=(300, 300))
        packer = zlib.compressobj(9)
        piece = b"0 0 300 300 re f\n" * 61_680
        packed = b"".join(packer.compress(piece) for _ in range(1000)) + packer.flush()
        packed = zlib.compress(packed, 9)
        stream = pikepdf.Stream(pdf, packed)
        stream.stream_dict = pikepdf.Dictionary(
            Filter=pikepdf.Array([pikepdf.Name.FlateDecode, pikepdf.Name.FlateDecode])
        )
        pdf.pages[0].obj.Contents = pdf.make_indirect(stream)
        path = tmp_path / "bomb.pdf"
        pdf.save(path, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.none)
        assert path.stat().st_size < 1 << 20
        with DocumentHost(timeout_s=3, memory_bytes=MEMORY) as impatient:
            try:
                picture = impatient.picture(path, 0, soft_tokens=70).picture
            except DocumentError as error:
                assert error.kind in (  # noqa: PT017  (either outcome is right)
                    DocumentProblem.TIMEOUT,
                    DocumentProblem.TOO_LARGE,
                    DocumentProblem.BROKEN,
                )
            else:
                assert picture.width * picture.height <= 70 * 48 * 48

    def test_deeply_nested_web_page(self, host, tmp_path):
        path = tmp_path / "deep.html"
        path.write_text("<html><body>" + "<div><ul><li><table><td>" * 6_000 + "core")
        assert "core" in host.text(path)

    def test_csv_with_zeros_inside(self, host, tmp_path):
        path = tmp_path / "zeros.csv"
        path.write_bytes(b"name,count\nap\0ple,3\npear,\x004\n" * 3)
        assert "| apple | 3 |" in host.text(path)

    def test_csv_of_one_endless_line(self, host, tmp_path):
        path = tmp_path / "line.csv"
        path.write_bytes(b'"' + b"a," * 5_000_000)
        assert len(host.text(path)) < 20_000_000

    def test_workbook_that_lies_about_its_size(self, host, tmp_path):
        import openpyxl

        book = openpyxl.Workbook()
        book.active["A1"] = "top"
        book.active["XFD1048576"] = "far corner"
        path = tmp_path / "wide.xlsx"
        book.save(path)
        assert "top" in host.text(path)


class TestWorkerLives:
    def test_worker_that_is_killed_is_started_again(self, tmp_path):
        path = text_pdf(tmp_path / "a.pdf", [["again"]])
        with DocumentHost() as host:
            host.open(path)
            first = host.pid
            psutil.Process(first).kill()
            with pytest.raises(DocumentError) as caught:
                host.lines(path, 0)
            assert caught.value.kind is DocumentProblem.BROKEN
            assert host.lines(path, 0)[0].text == "again"
            assert host.pid != first

    def test_time_limit_ends_the_worker(self, tmp_path):
        """A named pipe nobody writes to would block for ever; it is refused before that."""
        path = tmp_path / "pipe.txt"
        os.mkfifo(path)
        with DocumentHost(timeout_s=5) as host, pytest.raises(DocumentError) as caught:
            host.open(path)
        assert caught.value.kind is DocumentProblem.UNSUPPORTED

    def test_a_stopped_worker_times_out_and_is_replaced(self, tmp_path):
        path = text_pdf(tmp_path / "a.pdf", [["again"]])
        with DocumentHost() as host:
            host.open(path)
            host._timeout = 1.0
            psutil.Process(host.pid).suspend()
            with pytest.raises(DocumentError) as caught:
                host.lines(path, 0)
            assert caught.value.kind is DocumentProblem.TIMEOUT
            host._timeout = 60.0
            assert host.lines(path, 0)[0].text == "again"

    def test_memory_limit_ends_the_worker(self, tmp_path):
        path = tmp_path / "large.bmp"
        width, height = 10_000, 9_000
        size = width * height * 3
        header = struct.pack("<2sIHHI", b"BM", 54 + size, 0, 0, 54)
        header += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, size, 0, 0, 0, 0)
        with path.open("wb") as out:
            out.write(header)
            out.truncate(54 + size)
        with DocumentHost(memory_bytes=150 << 20) as host:
            with pytest.raises(DocumentError) as caught:
                host.picture(path, 0, soft_tokens=280)
            assert caught.value.kind is DocumentProblem.TOO_LARGE

    def test_close_ends_the_process(self, tmp_path):
        path = text_pdf(tmp_path / "a.pdf", [["x"]])
        host = DocumentHost()
        host.open(path)
        worker = psutil.Process(host.pid)
        host.close()
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
        with pytest.raises(DocumentError) as caught:
            host.open(path)
        assert caught.value.kind is DocumentProblem.GONE

    def test_the_worker_ends_when_its_input_closes(self, tmp_path):
        from app.documents.child import WorkerProcess

        worker = WorkerProcess(MEMORY)
        worker.wait_ready()
        process = psutil.Process(worker.pid)
        worker._requests.close()
        deadline = time.monotonic() + 30
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        worker.end()
