"""CLIP's tokens: against transformers on a small vocabulary, by hand, and what long, dirty and odd texts become."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.imagebind.clip_tokens import ClipTokenizer

MERGES = [
    ("a", "t</w>"),
    ("c", "at</w>"),
    ("t", "h"),
    ("th", "e</w>"),
    ("a", "n"),
    ("o", "g</w>"),
    ("d", "og</w>"),
    ("i", "n"),
]
START, END = 512 + len(MERGES), 513 + len(MERGES)
ALPHABET = "abcdeghinot THE019'!?.,-_é東½ "


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer(MERGES)


def vocabulary() -> list[str]:
    """Bytes as characters, in the order of the vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [*map(chr, printable), *(chr(256 + n) for n in range(len(others)))]
    merged = [first + second for first, second in MERGES]
    return [*letters, *(f"{x}</w>" for x in letters), *merged, "<|startoftext|>", "<|endoftext|>"]


def words_of(tokenizer: ClipTokenizer, text: str) -> list[str]:
    known = vocabulary()
    return [known[index] for index in tokenizer.tokens(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the cat", ["the</w>", "cat</w>"]),
        ("  The\n CAT\t", ["the</w>", "cat</w>"]),
        ("that", ["th", "at</w>"]),
        ("dogs", ["d", "o", "g", "s</w>"]),
        ("cat's 10", ["cat</w>", "'", "s</w>", "1</w>", "0</w>"]),
        ("cat.dog", ["cat</w>", ".</w>", "dog</w>"]),
        ("cat &amp;amp; dog", ["cat</w>", "&</w>", "dog</w>"]),
        ("â€œcatâ€\x9d", ['"</w>', "cat</w>", '"</w>']),
        ("é", ["Ã", "©</w>"]),
        ("", []),
    ],
)
def test_texts_by_hand(tokenizer: ClipTokenizer, text: str, words: list[str]) -> None:
    assert words_of(tokenizer, text) == words


@pytest.fixture(scope="module")
def reference() -> object:
    return transformers.CLIPTokenizer(vocab={word: index for index, word in enumerate(vocabulary())}, merges=MERGES)


@settings(deadline=None, max_examples=150)
@given(st.text(ALPHABET, max_size=40))
def test_it_is_that_of_transformers(tokenizer: ClipTokenizer, reference: object, text: str) -> None:
    expected = reference(text)["input_ids"]
    assert [START, *tokenizer.tokens(text), END] == expected


def test_ids_begin_end_and_are_filled_with_zeros(tokenizer: ClipTokenizer) -> None:
    found = tokenizer(["the cat", ""])
    assert found.ids.dtype == torch.int64
    the, cat = tokenizer.tokens("the cat")
    assert found.ids[0].tolist() == [START, the, cat, END] + 73 * [0]
    assert found.ids[1].tolist() == [START, END] + 75 * [0]
    assert found.num_truncated == 0


def test_long_texts_keep_their_end_and_are_counted(tokenizer: ClipTokenizer) -> None:
    found = tokenizer([75 * "cat ", 76 * "cat ", 200 * "cat "])
    assert found.num_truncated == 2
    assert (found.ids[:, -1] == END).all()
    assert found.ids.argmax(-1).tolist() == [76, 76, 76]
    assert torch.equal(found.ids[0], found.ids[1])


def test_a_worker_gets_the_same_tokenizer(tokenizer: ClipTokenizer) -> None:
    tokenizer.tokens("cat")
    assert pickle.loads(pickle.dumps(tokenizer)).tokens("the cat") == tokenizer.tokens("the cat")


@pytest.mark.parametrize("name", ["merges.txt", "bpe_simple_vocab_16e6.txt.gz", "tokenizer.json"])
def test_the_files_that_hold_the_vocabulary(tmp_path: Path, tokenizer: ClipTokenizer, name: str) -> None:
    """One merge more than is asked for, as in the published file."""
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in MERGES), "x y"]
    text = "\n".join(lines) + "\n"
    if name.endswith(".json"):
        text = json.dumps({"model": {"merges": [list(pair) for pair in MERGES]}})
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    for path in (tmp_path, tmp_path / name):
        found = ClipTokenizer.from_file(path, num_merges=len(MERGES))
        assert torch.equal(found(["the dog, that cat"]).ids, tokenizer(["the dog, that cat"]).ids)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("merges.txt", b"#version\na b\n", r"merges\.txt: contains 1 BPE merges instead of 48894"),
        ("merges.txt", b"#version\na b c\n", r"merges\.txt: cannot be read as a BPE vocabulary"),
        ("merges.txt", b"\xff\xfe", r"merges\.txt: cannot be read as a BPE vocabulary"),
        ("bpe_simple_vocab_16e6.txt.gz", b"no gzip", r"cannot be read as a BPE vocabulary"),
        (
            "bpe_simple_vocab_16e6.txt.gz",
            gzip.compress(b"#version\na b\n", mtime=0)[:-9],
            r"cannot be read as a BPE vocabulary",
        ),
        ("tokenizer.json", b'{"model": {}}', r"tokenizer\.json: cannot be read as a BPE vocabulary"),
        ("vocab.json", b"{}", r"add one of the files merges\.txt"),
    ],
)
def test_files_that_do_not(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        ClipTokenizer.from_file(tmp_path)
