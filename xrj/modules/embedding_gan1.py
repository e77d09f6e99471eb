"""Stage `embedding_gan1`: stage I of the GAN with a text embedding of its own (section 4.2)."""

from typing import Any, cast

from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from xrj.modules.base import Batch, adam, averaged, unique_parameters
from xrj.modules.gan1 import Gan1Module
from xrj.nets.text import TextEncoder


class EmbeddingGan1Module(Gan1Module):
    """Learn E together with G1 and D1: the rival of the ARAE's embedding (table 2).

    D's optimiser moves E, too, by the conditions that D judges pairs by, and G's by r. What D is
    shown in G's step is held fixed: E would else learn to tell D what D likes to hear. Beside
    `generator` the export holds `encoder`, averaged like it.

    Words start from N(0, 1): from the autoencoder's U(-0.1, 0.1) all descriptions would have nearly
    one code, which no player pulls apart.

    Args:
        **gan1: As `Gan1Module`; `encoder` is E, which learns here.
    """

    frozen = ()

    def __init__(self, **gan1: Any) -> None:
        super().__init__(**gan1)
        cast(TextEncoder, self.encoder).words.reset_parameters()
        self.averaged_encoder = averaged(self.encoder, gan1["average"])

    def exports(self) -> dict[str, nn.Module]:
        """Return the nets of stage I and the averaged encoder."""
        return {**super().exports(), "encoder": self.averaged_encoder.module}

    def embed(self, tokens: Tensor) -> Tensor:
        """Return codes (B, v): of E with gradients in training, else of its average.

        The gradients go through copies of E's weights, so that G's step can still follow them when
        D's step has moved E.
        """
        if not self.training:
            average: Tensor = self.averaged_encoder(tokens)
            return average
        weights = {name: weight.clone() for name, weight in self.encoder.named_parameters()}
        code: Tensor = functional_call(self.encoder, weights, (tokens,))
        return code

    def generator_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of G, E and the noise encoder."""
        return [*super().generator_parameters(), *self.encoder.parameters()]

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for D and E, then for G and E, each with moments of its own."""
        _, *others = super().configure_optimizers()
        return [adam(unique_parameters(self.discriminator, self.encoder), self.rate), *others]

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """Run one step of D and one of G, and follow E with its average."""
        super().training_step(batch, batch_index)
        self.averaged_encoder.update_parameters(self.encoder)
