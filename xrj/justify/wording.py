"""How pages and pictures put numbers and captions into words."""

import unicodedata
from difflib import SequenceMatcher

IN_WORDS = ((0.95, "very certain"), (0.8, "fairly certain"), (0.65, "somewhat certain"))
UNCERTAIN = "uncertain"


def percent(share: float) -> str:
    """Write a share so that it never claims to be 0 or 1, nor more where it can be more."""
    if share < 0.005:
        return "< 1 %"
    if share > 0.995:
        return "> 99 %"
    return f"{100 * share:.0f} %"


def in_words(certainty: float) -> str:
    """Say in words how certain a diagnosis is."""
    return next((words for least, words in IN_WORDS if certainty >= least), UNCERTAIN)


def marked(caption: str, other: str) -> list[tuple[str, bool]]:
    """Split a caption into runs of words; True for those that the other caption does not have."""
    words = caption.split()
    matcher = SequenceMatcher(None, words, other.split(), autojunk=False)
    runs = [
        (" ".join(words[start:end]), tag != "equal")
        for tag, start, end, _, _ in matcher.get_opcodes()
    ]
    return [run for run in runs if run[0]]


def readable(text: str) -> str:
    """Return a text that pages and terminals can show; bytes that are no text become �."""
    unseen = ("Cc", "Cs", "Zl", "Zp")  # control signs, halves of signs, line breaks
    return "".join("\ufffd" if unicodedata.category(one) in unseen else one for one in text)
