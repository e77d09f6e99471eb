"""The convolutional captioner with attention of Aneja et al. 2018, the rival of table 4."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xrj.nets.decoding import BOS, PAD, beam_search, most_probable, no_words
from xrj.nets.zoo import VggFeatures

LAYERS, KERNEL, DROPOUT = 3, 5, 0.1
HALF = 0.5**0.5
"""Factor on a sum of two, which keeps its variance."""

Seen = tuple[Tensor, Tensor]
"""Features of images: at their places (B, C, S), and of the whole (B, W)."""


class CausalConvolution(nn.Module):
    """A convolution over time that sees only the past, weight-normalised.

    Salimans & Kingma 2016: each output channel has a length and a direction of its own.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Steps that it sees, its own included.
        gain: Factor on the variance of the outputs at the start, 1 for inputs of variance 1.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.empty(outputs, inputs, kernel))
        nn.init.normal_(self.direction, 0.0, (gain / (kernel * inputs)) ** 0.5)
        self.length = nn.Parameter(self._norm().detach())
        self.bias = nn.Parameter(torch.zeros(outputs))

    def _norm(self) -> Tensor:
        return self.direction.flatten(1).norm(dim=1)[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T) to (B, outputs, T)."""
        weight = self.direction * (self.length / self._norm())
        return F.conv1d(F.pad(x, (weight.shape[2] - 1, 0)), weight, self.bias)


class _Layer(nn.Module):
    """A gated convolution over the words so far, and attention over the places of the image."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.shortcut = CausalConvolution(inputs, size) if inputs != size else nn.Identity()
        self.convolution = CausalConvolution(inputs, 2 * size, KERNEL, gain=4 * (1 - DROPOUT))
        self.query = CausalConvolution(size, size)
        self.context = CausalConvolution(size, size)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, words: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return states (B, C, T) and attention (B, T, S)."""
        state = F.glu(self.convolution(self.dropout(x)), dim=1)
        query = (self.query(state) + words) * HALF
        attention = (query.transpose(1, 2) @ places).softmax(dim=2)
        context = places @ attention.transpose(1, 2) * math.sqrt(places.shape[2])
        state = (self.context(context) + state) * HALF
        return (state + self.shortcut(x)) * HALF, attention


class ConvolutionalCaptioner(nn.Module):
    """An X-ray to the tokens of its description, the diagnosis label first.

    Features of VGG-16; of each word so far the embedding, joined to the whole image's features;
    three layers of gated causal convolutions, each followed by attention over the image's places.

    Args:
        vocabulary_size: Number of tokens.
        width: Channels of VGG's first convolution, 64 as published; words and states have eight
            times as many.
        resolution: Pixels a side that images are brought to.
        batch_norm: In VGG, after each convolution; published without.
    """

    def __init__(self, vocabulary_size: int, width: int, resolution: int, batch_norm: bool) -> None:
        super().__init__()
        size = 8 * width
        self.vision = VggFeatures(width, resolution, batch_norm)
        self.words = nn.Embedding(vocabulary_size, size, padding_idx=PAD)
        nn.init.normal_(self.words.weight, 0.0, 0.1)
        self.word = CausalConvolution(size, size)
        self.image = CausalConvolution(8 * size, size)
        self.layers = nn.ModuleList(
            _Layer(2 * size if place == 0 else size, size) for place in range(LAYERS)
        )
        self.dropout = nn.Dropout(DROPOUT)
        self.hidden = CausalConvolution(size, size // 2)
        self.output = CausalConvolution(size // 2, vocabulary_size)

    def see(self, image: Tensor) -> Seen:
        """Return the features of images (B, 1, H, W) in [-1, 1]."""
        seen: Seen = self.vision(image)
        return seen

    def forward(self, seen: Seen, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return teacher-forced logits, and where the net looked for them.

        Args:
            seen: Features of the images.
            tokens: What the net is fed as the previous words, (B, T) without BOS.

        Returns:
            Logits (B, T, vocabulary) for the positions of `tokens`, and the attention over the
            image's places, the layers' mean, (B, T, S).
        """
        places, whole = seen
        previous = F.pad(tokens[:, :-1], (1, 0), value=BOS)
        words = self.word(self.dropout(self.words(previous)).transpose(1, 2))
        image = self.image(whole.unsqueeze(2)).relu().expand(-1, -1, words.shape[2])
        x, attentions = torch.cat([image, words], dim=1), []
        for layer in self.layers:
            x, attention = layer(x, words, places)
            attentions.append(attention)
        logits = self.output(self.dropout(self.hidden(self.dropout(x))))
        return logits.transpose(1, 2), torch.stack(attentions).mean(dim=0)

    def first_logits(self, seen: Seen) -> Tensor:
        """Return the logits (B, vocabulary) of the first token, the diagnosis label."""
        first: Tensor = self(seen, torch.zeros_like(seen[1][:, :1], dtype=torch.long))[0]
        return first[:, 0]

    @torch.no_grad()
    def decode(self, seen: Seen, length: int, labels: Tensor, beams: int = 1) -> Tensor:
        """Decode: the most probable first token, then the best of a beam search.

        Args:
            seen: Features of the images.
            length: Number of tokens, label and EOS included.
            labels: Token ids of the labels: the first token is one of them, all others are words.
            beams: As in `beam_search`; 1 decodes greedily.

        Returns:
            Tokens (B, length); after EOS only PAD.
        """
        first = most_probable(self.first_logits(seen), labels)
        places, whole = (features.repeat_interleave(beams, dim=0) for features in seen)

        def step(tokens: Tensor, _: Tensor) -> Tensor:
            logits: Tensor = self((places, whole), F.pad(tokens, (0, 1)))[0]
            return logits[:, -1]

        return beam_search(step, first, length, beams, no_words(labels))
