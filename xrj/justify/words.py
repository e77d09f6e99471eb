"""What the captions of a justification are worth: do they say what their diagnoses say?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xrj.justify.reading import Diagnosis
from xrj.measures.agreement import Lexicon, Verdict, verdict


@dataclass(frozen=True)
class Words:
    """Captions against their diagnoses.

    Attributes:
        found: Of the caption from r; None where the lexicon does not know all labels, so that
            nothing is measured.
        alternative: Likewise, of the caption from r' against the alternative diagnosis.
        repeated: The alternative's caption is the first one, word for word.
    """

    found: Verdict | None
    alternative: Verdict | None
    repeated: bool


def weigh_words(
    found: Diagnosis, alternative: Diagnosis, target: str, labels: Sequence[str], lexicon: Lexicon
) -> Words:
    """Compare both captions of a justification with their diagnoses.

    Args:
        found: Of r.
        alternative: Of r'.
        target: The alternative diagnosis, whether or not r' decodes to it.
        labels: All that the model knows.
        lexicon: What counts as a statement of a label.
    """
    repeated = found.caption == alternative.caption
    if not lexicon.knows(labels):
        return Words(None, None, repeated)
    return Words(
        verdict(found.caption.split(), found.diagnosis, lexicon.of(labels)),
        verdict(alternative.caption.split(), target, lexicon.of(labels)),
        repeated,
    )


def word_warnings(words: Words, diagnosis: str, target: str) -> Iterator[str]:
    """Yield a sentence for each check of the captions that failed."""
    if words.found == "contradicts":
        yield f"The caption contradicts the diagnosis, {diagnosis}."
    if words.alternative == "contradicts":
        yield f"The alternative's caption contradicts its diagnosis, {target}."
    if words.repeated:
        yield (
            f"The alternative's caption repeats the first one word for word, though its diagnosis "
            f"is {target}."
        )
