"""Small files that state or expand to a lot: {name: (reader, function that writes the file)}.

The reader is the name of one in `readers.READERS`.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

Writer = Callable[[Path], object]


def _wide_jsonl(path: Path) -> None:
    """Every row has a column of its own: rows x columns cells."""
    path.write_text("".join(json.dumps({f"c{number}": 1}) + "\n" for number in range(40_000)))


def _one_wide_row(path: Path) -> None:
    rows = [json.dumps({f"c{number}": 1 for number in range(3000)}), *["{}"] * 250_000]
    path.write_text("\n".join(rows))


def _npz_of_zeros(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in "ab":
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "<f4", "fortran_order": False, "shape": (30, 13_000_000)}
                )
                for _ in range(30):
                    file.write(bytes(4 * 13_000_000))


def _npy_claim(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (30, 2**40)})
        file.write(bytes(1000))


def _npz_claim(path: Path) -> None:
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(data, {"descr": "<f4", "fortran_order": False, "shape": (30, 2**29)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", data.getvalue() + bytes(1000))


def _parquet_of_zeros(path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    zeros = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(np.zeros(60_000_000, "float32")), 2_000_000)
    parquet.write_table(pyarrow.table({"a": zeros, "b": zeros}), path, compression="zstd", compression_level=19)


def _parquet_of_one_text(path: Path) -> None:
    """A long text that is stored once and repeated in a million rows."""
    import pyarrow
    from pyarrow import parquet

    codes, texts = pyarrow.array(np.zeros(1_000_000, "int32")), pyarrow.array(["x" * 10_000])
    text = pyarrow.DictionaryArray.from_arrays(codes, texts)
    parquet.write_table(pyarrow.table({"id": text}), path, compression="zstd")


def _parquet_rows(path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"id": np.zeros(100_000_000, "int8")}), path, compression="zstd")


def _png_bytes(width: int, height: int) -> bytes:
    """Return a black picture as a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row, packer = b"\0" + bytes(3 * width), zlib.compressobj(9)
    pixels = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _png(width: int, height: int) -> Writer:
    return lambda path: path.write_bytes(_png_bytes(width, height))


def _video_of_png(width: int, height: int, num_frames: int, stated: tuple[int, int]) -> Writer:
    """Write black frames of `width` x `height` pixels, each compressed as PNG, in a file that states another size."""

    def write(path: Path) -> None:
        import av

        data = _png_bytes(width, height)
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("png", rate=24, width=stated[0], height=stated[1], pix_fmt="rgb24")
            for number in range(num_frames):
                packet = av.Packet(data)
                packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 24)
                packet.is_keyframe = True
                container.mux(packet)

    return write


def _wav_at_1_hz(path: Path) -> None:
    """Write 20,000 samples at 1 Hz: 320 million samples after resampling to 16 kHz."""
    data = bytes(20_000)
    form = struct.pack("<HHIIHH", 1, 1, 1, 1, 1, 8)  # PCM, channels, samples and bytes per second, bytes and bits each
    path.write_bytes(b"".join((b"RIFF", struct.pack("<I", 36 + len(data)), b"WAVEfmt ", struct.pack("<I", len(form)),
                               form, b"data", struct.pack("<I", len(data)), data)))  # fmt: skip


def _flac_of_silence(path: Path) -> None:
    """Write 15 minutes of silence in eight channels."""
    import av

    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=16_000, layout="7.1")
        for second in range(900):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8 * 16_000), np.int16), "s16", "7.1")
            frame.sample_rate, frame.pts = 16_000, 16_000 * second
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _text(text: str) -> Writer:
    return lambda path: path.write_text(text)


def _safetensors_claim(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))


def _gif(path: Path) -> None:
    path.write_bytes(b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + bytes(6) + b"\x2c" + bytes(4)
                     + struct.pack("<HH", 65535, 65535) + b"\0\x02\x02\x4c\x01\0\x3b")  # fmt: skip


_IDS = "".join(json.dumps({"id": f"i{number}", "split": "train"}) + "\n" for number in range(30))
_ESCAPE = "\\u001b[2J"
COSTLY: dict[str, tuple[str, Writer]] = {
    "jsonl with a column per row": ("pack, table.jsonl", _wide_jsonl),
    "jsonl with one wide row": ("pack, table.jsonl", _one_wide_row),
    "jsonl of nested lists": ("pack, table.jsonl", _text('{"id": ' + "[" * 500 + "]" * 500 + "}\n")),
    "jsonl with a key twice": ("pack, table.jsonl", _text('{"id": "a", "id": "b", "split": "train"}\n')),
    "jsonl with a number of many digits": ("pack, table.jsonl", _text('{"id": ' + "9" * 5000 + "}\n")),
    "jsonl with a lone surrogate": ("pack, table.jsonl", _text(_IDS.replace("i7", "\\ud800"))),
    "jsonl with a terminal escape": (
        "pack, table.jsonl",
        _text(_IDS.replace("i7", _ESCAPE).replace("i8", _ESCAPE)),
    ),
    "csv with a long cell": ("pack, table.csv", _text("id,split\n" + "x" * 2_000_000 + ",train\n")),
    "csv with many columns": ("pack, table.csv", _text(",".join(f"c{n}" for n in range(100_000)) + "\n")),
    "csv with an open quote": ("pack, table.csv", _text('id,split\n"' + "x,\n" * 200_000)),
    "csv with NUL": ("pack, table.csv", _text("id,split\na\0b,train\n")),
    "npz of zeros": ("pack, features.npz", _npz_of_zeros),
    "npz that claims 64 GB": ("pack, features.npz", _npz_claim),
    "npy that claims 128 TB": ("pack, .npy", _npy_claim),
    "npy of embeddings that claims 128 TB": ("apply, embeddings", _npy_claim),
    "safetensors that claims 4 EB": ("pack, .safetensors", _safetensors_claim),
    "parquet of zeros": ("pack, features.parquet", _parquet_of_zeros),
    "parquet of one long text": ("pack, table.parquet", _parquet_of_one_text),
    "parquet of many rows": ("pack, table.parquet", _parquet_rows),
    "png of 170 million pixels": ("manifest, .png", _png(13_000, 13_000)),
    "png of 80 million pixels": ("manifest, .png", _png(9_000, 9_000)),
    "gif of 4 billion pixels": ("manifest, .png", _gif),
    "mp4 of frames larger than stated": ("frames, .mp4", _video_of_png(5000, 5000, 2, (64, 48))),
    "mp4 of ten frames of 12 million pixels": ("frames, .mp4", _video_of_png(4000, 3000, 10, (4000, 3000))),
    "wav at 1 Hz": ("sound, .wav", _wav_at_1_hz),
    "flac of silence": ("sound, .wav", _flac_of_silence),
    "gzip": ("manifest, .png", lambda path: path.write_bytes(gzip.compress(bytes(10**8)))),
    "TOML with a long dotted key": ("config, TOML", _text("a" + ".a" * 20_000 + " = 1\n")),
    "TOML with a long quoted key": ("config, TOML", _text("a" + '."a"' * 10_000 + " = 1\n")),
    "TOML with a long table name": ("config, TOML", _text("[a" + ".a" * 20_000 + "]\n")),
    "TOML with a long key in a table": ("config, TOML", _text("x = {a" + ".a" * 20_000 + " = 1}\n")),
    "TOML with nested lists": ("config, TOML", _text("a = " + "[" * 20_000)),
    "TOML with nested lists that end": ("config, TOML", _text("a = " + "[" * 200 + "]" * 200)),
    "TOML with nested tables": ("config, TOML", _text("a = " + "{b = " * 20_000)),
    "TOML with a huge number": ("config, TOML", _text("seed = 0x" + "f" * 20_000)),
    "TOML with NaN": ("config, TOML", _text("[distill]\niterations = nan\n")),
    "TOML with a date": ("config, TOML", _text("seed = 1979-05-27\n")),
    "TOML with a key twice": ("config, TOML", _text("seed = 1\nseed = 2\n")),
    "TOML that extends itself": ("config, TOML", _text('extends = "settings"\n')),
}
