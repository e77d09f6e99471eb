"""The text autoencoder: LSTM encoder E and decoder D, latent generator and critic (section 3.1)."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xrj.nets.decoding import BOS, PAD, beam_search, most_probable, no_words


def initialise_uniform(module: nn.Module, bound: float = 0.1) -> None:
    """Draw every parameter from U(-bound, bound), the start of ARAE's language nets."""
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound)


def _run_lstm(
    lstm: nn.LSTM, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run an LSTM around what its kernels lack.

    cuDNN refuses gradients in evaluation mode; oneDNN has LSTMs in bfloat16 for some CPUs only, so
    that on a CPU they stay in the precision of their weights.
    """
    refused = torch.is_grad_enabled() and not lstm.training
    backend = torch.backends.cudnn.flags(enabled=False) if refused else nullcontext()
    with backend, torch.autocast("cpu", enabled=False):
        states, state = lstm(inputs.to(next(lstm.parameters()).dtype), state)
    return states, state


class TextEncoder(nn.Module):
    """Encoder E: a description's tokens to a point on the unit sphere.

    It reads backwards, so that the words that decide most, the label first of all, are the freshest
    in its state when the code is taken and the first that the decoder needs.

    Args:
        vocabulary_size: Number of tokens.
        embedding: Width v of word embeddings, LSTM state and code.
        dropout: Dropout on the word embeddings.
    """

    def __init__(self, vocabulary_size: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, embedding, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(embedding, embedding, batch_first=True)
        initialise_uniform(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode `tokens` (B, T), zero padded on the right, to unit-norm codes (B, v)."""
        length = (tokens != PAD).sum(dim=1, keepdim=True)
        position = (length - 1 - torch.arange(tokens.shape[1], device=tokens.device)).clamp(min=0)
        words = self.dropout(self.words(tokens.gather(1, position)))
        states, _ = _run_lstm(self.lstm, words)
        rows = torch.arange(len(tokens), device=tokens.device)
        return F.normalize(states[rows, length[:, 0] - 1], dim=1)


class TextDecoder(nn.Module):
    """Decoder D: a code to the description's tokens, the diagnosis label first.

    The code is joined to the word embedding at every step; the state starts at zero.

    Args:
        vocabulary_size: Number of tokens.
        embedding: Width v of the code and of the word embeddings.
        hidden: Width of the LSTM state.
        dropout: Dropout on word embeddings and states.
        tied: Share the word embeddings with the output layer.
        scale: Factor on the code before it is read; see `Representation`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding: int,
        hidden: int,
        dropout: float,
        tied: bool,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.words = nn.Embedding(vocabulary_size, embedding, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(2 * embedding, hidden, batch_first=True)
        self.project = nn.Linear(hidden, embedding) if tied else nn.Identity()
        self.output = nn.Linear(embedding if tied else hidden, vocabulary_size)
        initialise_uniform(self)
        if tied:
            self.output.weight = self.words.weight

    def step(
        self, code: Tensor, previous: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Go on by some tokens.

        Args:
            code: Codes (B, v).
            previous: The tokens before those whose logits are asked for, (B, T).
            state: Of the LSTM, (1, B, H) each; None at the beginning.

        Returns:
            Logits (B, T, vocabulary) and the state after them.
        """
        words = self.dropout(self.words(previous))
        repeated = (self.scale * code).unsqueeze(1).expand(-1, previous.shape[1], -1)
        states, state = _run_lstm(self.lstm, torch.cat([words, repeated.to(words)], dim=2), state)
        with torch.autocast("cpu", enabled=False):  # a word more or less likely in 8 bits is a tie
            return self.output(self.dropout(self.project(states))), state

    def forward(self, code: Tensor, tokens: Tensor) -> Tensor:
        """Return teacher-forced logits.

        Args:
            code: Codes (B, v).
            tokens: What the decoder is fed as the previous words, (B, T) without BOS.

        Returns:
            Logits (B, T, vocabulary) for the positions of `tokens`.
        """
        start = tokens.new_full((len(tokens), 1), BOS)
        return self.step(code, torch.cat([start, tokens[:, :-1]], dim=1), None)[0]

    def first_logits(self, code: Tensor) -> Tensor:
        """Return the logits (B, vocabulary) of the first token, the diagnosis label."""
        start = torch.full((code.shape[0], 1), BOS, device=code.device)  # len() binds an ONNX to it
        return self.step(code, start, None)[0][:, 0]

    @torch.no_grad()
    def decode(
        self, code: Tensor, length: int, labels: Tensor | None = None, beams: int = 1
    ) -> Tensor:
        """Decode: the most probable first token, then the best of a beam search.

        Args:
            code: Codes (B, v).
            length: Number of tokens, label and EOS included.
            labels: Token ids of the labels: the first token is one of them and all others are
                words, for readers. None: any token anywhere, as a reconstruction needs it.
            beams: As in `beam_search`; 1 decodes greedily.

        Returns:
            Tokens (B, length); after EOS only PAD.
        """
        start = torch.full((len(code), 1), BOS, device=code.device)
        logits, state = self.step(code, start, None)
        first = most_probable(logits[:, 0], labels)
        wide = code.repeat_interleave(beams, dim=0)

        def follow(tokens: Tensor, origin: Tensor) -> Tensor:
            nonlocal state
            hidden, cell = state
            logits, state = self.step(wide, tokens[:, -1:], (hidden[:, origin], cell[:, origin]))
            return logits[:, 0]

        unsaid = None if labels is None else no_words(labels)
        return beam_search(follow, first, length, beams, unsaid)


def _initialise_normal(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            nn.init.zeros_(layer.bias)


class CodeGenerator(nn.Module):
    """ARAE's generator: noise to codes, three fully connected layers.

    Args:
        noise: Width of the noise.
        embedding: Width v of the hidden layers and of the code.
    """

    def __init__(self, noise: int, embedding: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(noise, embedding), nn.BatchNorm1d(embedding), nn.ReLU(),
            nn.Linear(embedding, embedding), nn.BatchNorm1d(embedding), nn.ReLU(),
            nn.Linear(embedding, embedding),
        )  # fmt: skip
        _initialise_normal(self)

    def forward(self, noise: Tensor) -> Tensor:
        """Map noise (B, n) to codes (B, v), not normalised."""
        codes: Tensor = self.layers(noise)
        return codes


class CodeCritic(nn.Module):
    """ARAE's critic: codes to one score each, three fully connected layers.

    No batch normalisation: the gradient penalty is a property of each sample alone.
    """

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(embedding, embedding), nn.LeakyReLU(0.2),
            nn.Linear(embedding, embedding), nn.LeakyReLU(0.2),
            nn.Linear(embedding, 1),
        )  # fmt: skip
        _initialise_normal(self)

    def forward(self, code: Tensor) -> Tensor:
        """Score codes (B, v); returns (B,)."""
        scores: Tensor = self.layers(code)
        return scores.squeeze(1)
