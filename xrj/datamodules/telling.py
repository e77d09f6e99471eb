"""Captions that begin with what tells the diagnosis."""

from collections import Counter
from collections.abc import Sequence
from math import log


def most_telling(reports: Sequence[Sequence[Sequence[str]]], labels: Sequence[str]) -> list[int]:
    """Find, for each X-ray, the sentence that speaks most for its own label.

    The evidence of a word is log P(word | label) - log P(word | other labels), where P is the share
    of the sentences that have the word, with one sentence added to either side. That of a sentence
    is its strongest word's: in a sum, many words that say little outweigh the one that decides.

    Args:
        reports: Words of each sentence of each X-ray, at least one an X-ray.
        labels: Of each X-ray.

    Returns:
        Place of the sentence among its X-ray's; the first of several alike.
    """
    having: dict[str, Counter[str]] = {label: Counter() for label in set(labels)}
    total: Counter[str] = Counter()
    for sentences, label in zip(reports, labels, strict=True):
        total[label] += len(sentences)
        for words in sentences:
            having[label].update(set(words))
    everywhere: Counter[str] = sum(having.values(), Counter())

    def evidence(word: str, label: str) -> float:
        others = total.total() - total[label]
        own = log((having[label][word] + 1) / (total[label] + 2))
        return own - log((everywhere[word] - having[label][word] + 1) / (others + 2))

    return [
        max(
            range(len(sentences)),
            key=lambda place: max(evidence(word, label) for word in sentences[place]),
        )
        for sentences, label in zip(reports, labels, strict=True)
    ]


def telling_captions(
    reports: Sequence[Sequence[Sequence[str]]], labels: Sequence[str], max_words: int
) -> list[list[str]]:
    """Make a caption of each X-ray that names first what decides, then what reports mostly say.

    The most telling sentence comes first, cut after `max_words`; each other one that still fits
    follows, those that most reports have word for word before the others: what many reports say
    alike can be learnt, and what one report says in words of its own cannot.

    Args:
        reports: Words of each sentence of each X-ray, at least one an X-ray.
        labels: Of each X-ray.
        max_words: Of a caption.

    Returns:
        Words of each caption.
    """
    often = Counter(tuple(sentence) for sentences in reports for sentence in sentences)
    made = []
    for sentences, first in zip(reports, most_telling(reports, labels), strict=True):
        others = [*sentences[:first], *sentences[first + 1 :]]
        words = list(sentences[first][:max_words])
        for sentence in sorted(others, key=lambda sentence: -often[tuple(sentence)]):
            if len(words) + len(sentence) <= max_words:
                words.extend(sentence)
        made.append(words)
    return made
