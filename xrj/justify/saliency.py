"""The paper's rivals: saliency maps of a classifier, all as the same object (figure 4)."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xrj.justify.protocol import SaliencyMap
from xrj.nets.zoo import Classifier

BASELINE = -1.0
"""Grey value that integrated gradients start from: black, as where nothing was X-rayed."""
STEPS = 32
"""Of the integral's quadrature."""
BRIGHTEST = 0.99
"""Share of the pixels below full saliency; single ones would outshine a map of gradients."""
FLAT = 1e-5
"""Share of its highest value within which a map is flat: nothing but rounding."""


def saliency_maps(
    classifier: Classifier,
    images: Tensor,
    targets: Sequence[str],
    labels: Sequence[str],
    methods: Sequence[str] | None = None,
) -> list[tuple[SaliencyMap, ...]]:
    """Return the maps of each image, in the order of `methods`.

    Args:
        classifier: In evaluation mode: `load_export(folder, "classifier").net("classifier")`.
        images: (B, 1, H, W) in [-1, 1], any size, on the classifier's device.
        targets: The label of each image that maps of a class explain.
        labels: Of the classifier, in the order of its outputs.
        methods: Of `METHODS`; None: all.
    """
    places = torch.tensor([labels.index(target) for target in targets], device=images.device)
    rows = []
    for method in METHODS if methods is None else methods:
        title, of_class, compute = _METHODS[method]
        values = compute(classifier, images, places).detach().float().cpu().numpy()
        rows.append(
            [
                SaliencyMap(method, title, target if of_class else None, one)
                for target, one in zip(targets, values, strict=True)
            ]
        )
    return list(zip(*rows, strict=True))


def attention(layer: nn.Module, classifier: Classifier, images: Tensor) -> Tensor:
    """Return the activation-based attention of a layer, (B, h, w).

    The mean over channels of the squared activations (Zagoruyko & Komodakis 2017, section 3.1,
    F_sum^2 up to a constant). It is the same whatever the diagnosis.
    """
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        with torch.no_grad():
            classifier(images)
    finally:
        handle.remove()
    return seen[0].square().mean(dim=1)


def gradcam(classifier: Classifier, images: Tensor, places: Tensor) -> Tensor:
    """Return the Grad-CAM of the abstract layer for a label's logit, (B, h, w).

    The positive part of the activations' sum over channels, each weighed by its mean gradient
    (Selvaraju et al. 2017, eqs. 1 and 2).
    """
    from captum.attr import LayerGradCam

    explainer = LayerGradCam(classifier, classifier.abstract)
    with torch.enable_grad():
        maps: Tensor = explainer.attribute(images, places, relu_attributions=True)
    return maps[:, 0]


def integrated_gradients(classifier: Classifier, images: Tensor, places: Tensor) -> Tensor:
    """Return the signed attribution of each pixel to a label's logit, (B, H, W).

    Sundararajan et al. 2017, from a black image. A map sums to the logit's change from there.
    """
    from captum.attr import IntegratedGradients

    explainer = IntegratedGradients(classifier)
    with torch.enable_grad():
        maps: Tensor = explainer.attribute(
            images, BASELINE, places, n_steps=STEPS, internal_batch_size=max(len(images), STEPS)
        )
    return maps.sum(dim=1)


def _enlarged(maps: Tensor, images: Tensor) -> Tensor:
    """Return coarse maps (B, h, w) at the images' size, each stretched to [0, 1]."""
    fine = F.interpolate(maps[:, None], images.shape[-2:], mode="bicubic")[:, 0]
    return _stretched(fine, fine.amax(dim=(1, 2)))


def _stretched(maps: Tensor, high: Tensor) -> Tensor:
    """Return maps (B, H, W) stretched from their least value and `high` to [0, 1]; flat ones: 0."""
    low = maps.amin(dim=(1, 2))
    span = (high - low)[:, None, None]
    return torch.where(
        span > FLAT * high[:, None, None].abs(), (maps - low[:, None, None]) / span, 0
    ).clamp(0, 1)


def _intermediate(classifier: Classifier, images: Tensor, _places: Tensor) -> Tensor:
    return _enlarged(attention(classifier.intermediate, classifier, images), images)


def _abstract(classifier: Classifier, images: Tensor, _places: Tensor) -> Tensor:
    return _enlarged(attention(classifier.abstract, classifier, images), images)


def _gradcam(classifier: Classifier, images: Tensor, places: Tensor) -> Tensor:
    return _enlarged(gradcam(classifier, images, places), images)


def _integrated(classifier: Classifier, images: Tensor, places: Tensor) -> Tensor:
    maps = integrated_gradients(classifier, images, places).abs()
    return _stretched(maps, maps.flatten(1).quantile(BRIGHTEST, dim=1))


_METHODS: Mapping[str, tuple[str, bool, Callable[[Classifier, Tensor, Tensor], Tensor]]] = {
    "attention_intermediate": ("Attention, intermediate layer", False, _intermediate),
    "attention_abstract": ("Attention, abstract layer", False, _abstract),
    "gradcam": ("Grad-CAM", True, _gradcam),
    "integrated_gradients": ("Integrated gradients", True, _integrated),
}
"""Each method's title, whether it explains a label, and how it is computed."""

METHODS: tuple[str, ...] = tuple(_METHODS)
"""Names of the methods."""
