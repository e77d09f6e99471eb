"""Caption scores: corpus BLEU-1..4, ROUGE-L, CIDEr-D and, where Java runs, METEOR.

The scorers are pycocoevalcap's, on text that is already tokenised: lower-cased words joined by
single spaces. Its own tokeniser is not used, so scores do not depend on Java.

Know when comparing: CIDEr takes document frequencies from the references given, so it is 0 for one
image or when all images share their references, and a perfect caption of three words has 7.5, not
10, for want of 4-grams. BLEU takes the closest reference length and is not smoothed, except that a
corpus without any match of some length has a little more than 0.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import getfile
from pathlib import Path
from tempfile import TemporaryDirectory

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

GREETING = re.compile(r"(NOTE: )?Picked up \w+:|.* VM warning:|WARNING:|\s*at |$")
"""How lines begin that Java prints whatever happens, or after the reason."""
METEOR_TIMEOUT = 600.0
"""Seconds after which METEOR is given up; it scores some thousand captions in a tenth of that."""


@dataclass(frozen=True)
class CaptionScores:
    """Scores of a corpus; BLEU, ROUGE-L and METEOR in [0, 1], CIDEr in [0, 10].

    Attributes:
        bleu1: Corpus BLEU with 1-grams (and so on to `bleu4`, cumulative).
        bleu2: See `bleu1`.
        bleu3: See `bleu1`.
        bleu4: See `bleu1`.
        rouge_l: Mean over images, beta 1.2.
        cider: CIDEr-D, mean over images.
        meteor: METEOR 1.5, corpus aggregate; None when not asked for or not possible.
        meteor_reason: Why `meteor` is None; empty otherwise.
        distinct: Number of different hypotheses: a model that says one thing always has 1.
        n: Number of images.
    """

    bleu1: float
    bleu2: float
    bleu3: float
    bleu4: float
    rouge_l: float
    cider: float
    meteor: float | None
    meteor_reason: str
    distinct: int
    n: int


def clean(text: str) -> str:
    """Lower-case and join words by single spaces; every kind of line break counts as a space."""
    return " ".join(text.lower().split())


def score_captions(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, meteor: bool = False
) -> CaptionScores:
    """Score one caption an image against its references.

    Args:
        hypotheses: Generated captions, one an image; may be empty strings.
        references: For each image its true captions, at least one.
        meteor: Run METEOR too, which needs Java and some seconds.

    Raises:
        ValueError: The lists are empty or differ in length, or an image has no reference.
    """
    gts, res = corpus(hypotheses, references)
    (bleu1, bleu2, bleu3, bleu4), _ = Bleu(4).compute_score(gts, res, verbose=0)
    rouge_l, _ = Rouge().compute_score(gts, res)
    cider_d, _ = Cider().compute_score(gts, res)
    said = [captions[0] for captions in res.values()]
    value, reason = _meteor(said, list(gts.values())) if meteor else (None, "not asked for")
    return CaptionScores(
        bleu1=float(bleu1),
        bleu2=float(bleu2),
        bleu3=float(bleu3),
        bleu4=float(bleu4),
        rouge_l=float(rouge_l),
        cider=float(cider_d),
        meteor=value,
        meteor_reason=reason,
        distinct=len(set(said)),
        n=len(said),
    )


def corpus(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """Return references and hypotheses, cleaned, as the scorers take them.

    Raises:
        ValueError: As in `score_captions`.
    """
    if not hypotheses or len(hypotheses) != len(references) or not all(references):
        raise ValueError(
            f"{len(hypotheses)} hypotheses for {len(references)} images; "
            "each image needs one, and at least one reference"
        )
    gts = {index: [clean(text) for text in texts] for index, texts in enumerate(references)}
    res = {index: [clean(text)] for index, text in enumerate(hypotheses)}
    return gts, res


def meteor_runs() -> bool:
    """Return whether METEOR can be tried: whether there is Java."""
    return shutil.which("java") is not None


def _meteor(hypotheses: list[str], references: list[list[str]]) -> tuple[float | None, str]:
    """Return METEOR and "", or None and the reason.

    The wheel's own wrapper waits for ever once Java fails, so the jar runs as a child that ends at
    a time limit. Its locale is forced: numbers are misread under one with a decimal comma.
    """
    java = shutil.which("java")
    if java is None:
        return None, "Java is not installed"
    home = Path(getfile(Bleu)).parents[1] / "meteor"
    most = max(map(len, references))
    with TemporaryDirectory() as folder:
        said, true = Path(folder, "hypotheses"), Path(folder, "references")
        said.write_text("".join(f"{text}\n" for text in hypotheses), encoding="utf-8")
        # The jar wants the same number for every image; the best one counts, so repeats do not.
        padded = (text for texts in references for text in texts + texts[:1] * (most - len(texts)))
        true.write_text("".join(f"{text}\n" for text in padded), encoding="utf-8")
        command = [java, "-Xmx2G", "-Dfile.encoding=UTF-8", "-Duser.language=en"]
        command += ["-Duser.country=US", "-jar", str(home / "meteor-1.5.jar"), str(said), str(true)]
        command += ["-q", "-norm", "-l", "en", "-r", str(most)]
        command += [
            "-a",
            str(home / "data/paraphrase-en.gz"),
        ]  # not found alone in a path with a space
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=METEOR_TIMEOUT, check=True
            )
            return float(done.stdout.split()[-1]), ""
        except subprocess.TimeoutExpired:
            return None, f"METEOR took longer than {METEOR_TIMEOUT:g} s"
        except subprocess.CalledProcessError as error:
            lines = f"{error.stderr}\n{error.stdout}".splitlines()
            reason = next((line.strip() for line in lines if not GREETING.match(line)), "")
            return None, f"METEOR failed: {reason or f'status {error.returncode}'}"
        except (OSError, ValueError, IndexError) as error:
            return None, f"METEOR failed: {error}"
