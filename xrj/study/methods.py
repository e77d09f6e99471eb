"""The methods that are compared, each drawn for the readers as the report draws it."""

from collections.abc import Sequence

from markupsafe import Markup

from xrj.datamodules.images import UInt8
from xrj.justify.evidence import Vote
from xrj.justify.justification import Justification
from xrj.justify.pictures import data_uri, difference_map, heat_map, png
from xrj.justify.protocol import SaliencyMap
from xrj.study.pages import pages

COUNTERFACTUAL = "counterfactual"
SALIENCY: dict[str, tuple[str, ...]] = {
    "saliency": ("attention_intermediate", "attention_abstract"),
    "gradcam": ("gradcam",),
    "integrated_gradients": ("integrated_gradients",),
}
"""Maps that a reader sees under each method of the classifier; the first is the paper's."""
METHODS = (COUNTERFACTUAL, *SALIENCY)


def show_counterfactual(justification: Justification, target: str) -> str:
    """Return the HTML of a justification by the chain, without the X-ray's name.

    Args:
        justification: What to show.
        target: The alternative diagnosis.
    """
    found, other = justification.found, justification.alternative
    difference = difference_map(found.large, other.large, justification.original)
    return _render(
        "counterfactual",
        found=found,
        other=other,
        target=target,
        warnings=justification.evidence.warnings,
        original=_picture(justification.original),
        reconstruction=_picture(found.large),
        alternative=_picture(other.large),
        difference=_picture(difference.picture),
        limit=difference.limit,
    )


def show_saliency(original: UInt8, maps: Sequence[SaliencyMap], vote: Vote) -> str:
    """Return the HTML of a classifier's diagnosis with its maps.

    Args:
        original: The X-ray, (H, W), 0 to 255.
        maps: At least one, of its size.
        vote: The classifier's.
    """
    return _render(
        "saliency",
        vote=vote,
        original=_picture(original),
        maps=[(one.title, _picture(heat_map(one.values, original))) for one in maps],
    )


def _render(method: str, **values: object) -> Markup:
    template = pages().get_template(f"{method}.html.j2")
    return Markup(template.render(**values))  # noqa: S704  # the templates escape


def _picture(picture: UInt8) -> str:
    return data_uri(png(picture, "picture of a study"))
