"""Caption scores of any rows of a corpus, for resampling: scored once, put together often.

BLEU is put together anew from each caption's matches; ROUGE-L and CIDEr-D are means over images,
with CIDEr's document frequencies those of the whole corpus. As these depend on how many images are
scored, CIDEr-D is had with those of further references, too.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from xrj.measures.captions import corpus

MEASURES = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider", "cider_wide")


class CaptionCorpus:
    """One caption an image and its references; see `score_captions`.

    Args:
        hypotheses: As there.
        references: As there.
        background: References of further images, such as those of training, which count for the
            document frequencies of `cider_wide`.

    Raises:
        ValueError: The lists are empty or differ in length, or an image has no reference.
    """

    def __init__(
        self,
        hypotheses: Sequence[str],
        references: Sequence[Sequence[str]],
        background: Sequence[Sequence[str]] = (),
    ) -> None:
        true, said = corpus(hypotheses, references)
        self._bleu = BleuScorer(n=4)
        for index, texts in true.items():
            self._bleu += (said[index][0], texts)
        _, rouge_l = Rouge().compute_score(true, said)
        _, cider = Cider().compute_score(true, said)
        wide, beside = corpus(
            [*hypotheses, *(texts[0] for texts in background)], [*references, *background]
        )
        _, cider_wide = Cider().compute_score(wide, beside)
        self._means = [np.asarray(one) for one in (rouge_l, cider, cider_wide)]

    def scores(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """Return `MEASURES` of some rows, repeats among them."""
        bleu = BleuScorer(n=4)
        bleu.crefs = [self._bleu.crefs[row] for row in rows]
        bleu.ctest = [self._bleu.ctest[row] for row in rows]
        values, _ = bleu.compute_score(option="closest")
        means = [float(one[rows].mean()) for one in self._means]
        return dict(zip(MEASURES, (*map(float, values), *means), strict=True))
