"""From findings to captions (the paper, section 4.1)."""

import re
import unicodedata
from collections.abc import Sequence

# Marks that no composed character holds, such as vowel signs, belong to their letter.
_MARKS = "".join(chr(c) for c in range(0x300, 0x10000) if unicodedata.category(chr(c))[0] == "M")
_LETTER = rf"[^\W_][{_MARKS}]*"
_WORD = re.compile(rf"\d+\.\d+|(?:{_LETTER})+(?:[-'](?:{_LETTER})+)*")
_END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$|[A-Z])|\n\s*\n")
_PLAIN = str.maketrans("’‐‑", "'--")
_LIST_MARK = re.compile(r"\s*\(?\d{1,2}")
_ABBREVIATION = re.compile(
    r"(?:^|\W)([a-z]|(?:[a-z]\.)+[a-z]|dr|mr|mrs|ms|vs|cf|approx|fig|no|etc|lat|ant|post|sup|inf)$",
    re.IGNORECASE,
)
# These also end sentences, so a capital after them begins the next one.
_MAY_END = frozenset({"a.m", "p.m", "etc", "lat", "ant", "post", "sup", "inf"})


def sentences(findings: str) -> list[list[str]]:
    """Split findings into sentences of lower-case words.

    Decimals, abbreviations, initials and the marks of numbered lists do not end a sentence. A word
    is made of letters, digits, hyphens and apostrophes, or is a decimal number; other punctuation
    goes. De-identification marks (`XXXX`, also inside a word: `x-XXXX`) are dropped, as they
    stand for different words and say nothing. Sentences without any word are left out.
    """
    text = findings.translate(_PLAIN)
    pieces: list[str] = []
    start = 0
    for end in _END.finditer(text):
        before = text[start : end.start()]
        if _LIST_MARK.fullmatch(before):
            start = end.end()
            continue
        if end.group() == "." and _is_abbreviation(before, text[end.end() :]):
            continue
        pieces.append(before)
        start = end.end()
    pieces.append(text[start:])
    return [words for piece in pieces if (words := _words(piece))]


def _is_abbreviation(before: str, after: str) -> bool:
    """Say whether the full stop between these texts belongs to an abbreviation."""
    match = _ABBREVIATION.search(before)
    if match is None or not after.strip():
        return False
    last = match.group(1).lower()
    following = after.lstrip()[:1]
    if last == "no":
        return following.isdigit()
    return last not in _MAY_END or not following.isupper()


def _words(sentence: str) -> list[str]:
    return [word for word in _WORD.findall(sentence.lower()) if "xxxx" not in word]


def make_captions(
    sentences: Sequence[Sequence[str]],
    min_words: int = 5,
    max_words: int = 15,
    max_captions: int = 4,
) -> list[list[str]]:
    """Recombine sentences, in their order, into distinct captions.

    A caption takes sentences until the next would make it longer than `max_words`. A longer
    sentence is cut after `max_words` words: dropping it would lose all of it, and using its rest
    as another caption would part a finding from its negation.

    Returns:
        At most `max_captions` word lists of `min_words` to `max_words` words, all different.
    """
    packed: list[list[str]] = []
    for sentence in sentences:
        words = list(sentence[:max_words])
        if packed and len(packed[-1]) + len(words) <= max_words:
            packed[-1].extend(words)
        else:
            packed.append(words)
    distinct = dict.fromkeys(tuple(caption) for caption in packed if len(caption) >= min_words)
    return [list(caption) for caption in distinct][:max_captions]
