"""Stage `gan1`: the text-to-image GAN's first stage, small X-rays from r."""

from torch import Tensor, nn

from xrj.modules.adversarial import AdversarialModule
from xrj.modules.base import Batch


class Gan1Module(AdversarialModule):
    """Learn G1 and D1 at the small resolution."""

    frozen = ("encoder",)

    def synthesise(self, generator: nn.Module, r: Tensor, batch: Batch) -> Tensor:
        """Generate small images (B, C, h, w) from r."""
        images: Tensor = generator(r)
        return images
