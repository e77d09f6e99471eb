"""The yardstick of speed: training as it is written plainly.

In the manner of StackGAN's and ARAE's code: nearest-neighbour up-sampling and 3x3 convolutions,
conditions spread out and joined to the features, 32-bit floats, contiguous tensors, Adam as it
comes, everything computed anew in every step. The nets have the shapes of xrj's and are told apart
by how they are computed alone. Each function returns a step of training on random data that lie in
memory; what xrj does beside it (noise read off X-rays, averages, augmentation, logging) it lacks.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

WORDS, LENGTH = 300, 17
"""Size of the vocabulary and tokens of a caption."""


class Up(nn.Sequential):
    """Double and convolve."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


def down(inputs: int, outputs: int, norm: bool, slope: float = 0.2) -> nn.Sequential:
    """Halve."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=not norm)]
    layers += [nn.BatchNorm2d(outputs)] if norm else []
    return nn.Sequential(*layers, nn.LeakyReLU(slope))


class Residual(nn.Module):
    """Two convolutions around which the input goes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        return F.relu(x + self.body(x))


class Generator1(nn.Module):
    """G of stage I, 64 pixels."""

    def __init__(self, r: int, width: int) -> None:
        super().__init__()
        self.top = 16 * width
        self.start = nn.Sequential(
            nn.Linear(r, self.top * 16, bias=False), nn.BatchNorm1d(self.top * 16), nn.ReLU()
        )
        self.body = nn.Sequential(*(Up(self.top >> i, self.top >> (i + 1)) for i in range(4)))
        self.output = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, r: Tensor) -> Tensor:
        """Compute."""
        x = self.start(r).view(-1, self.top, 4, 4)
        return torch.tanh(self.output(self.body(x)))


class Generator2(nn.Module):
    """G of stage II, 64 to `size` pixels."""

    def __init__(self, r: int, width: int, size: int) -> None:
        super().__init__()
        w2, w4, w8 = 2 * width, 4 * width, 8 * width
        self.encode = nn.Sequential(
            nn.Conv2d(1, w2, 3, padding=1), nn.ReLU(), down(w2, w4, True, 0), down(w4, w8, True, 0)
        )
        self.join = nn.Sequential(
            nn.Conv2d(w8 + r, w8, 3, padding=1, bias=False), nn.BatchNorm2d(w8), nn.ReLU()
        )
        self.residual = nn.Sequential(Residual(w8), Residual(w8))
        ladder = [w8 >> i for i in range((size // 16).bit_length())]
        self.body = nn.Sequential(*(Up(a, b) for a, b in pairwise(ladder)))
        self.output = nn.Conv2d(ladder[-1], 1, 3, padding=1)

    def forward(self, r: Tensor, small: Tensor) -> Tensor:
        """Compute."""
        x = self.encode(small)
        spread = r[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return torch.tanh(
            self.output(self.body(self.residual(self.join(torch.cat([x, spread], 1)))))
        )


class Discriminator(nn.Module):
    """D of either stage."""

    def __init__(self, condition: int, width: int, size: int) -> None:
        super().__init__()
        w8 = 8 * width
        ladder = [1] + [min(width << i, w8 * 2) for i in range((size // 4).bit_length() - 1)]
        if ladder[-1] > w8:
            ladder[-1] = w8  # as `lean` has it
        self.image = nn.Sequential(
            *(down(a, b, i > 1) for i, (a, b) in enumerate(pairwise(ladder)))
        )
        self.joint = nn.Sequential(
            nn.Conv2d(w8 + condition, w8, 3, padding=1, bias=False),
            nn.BatchNorm2d(w8),
            nn.LeakyReLU(0.2),
            nn.Conv2d(w8, 1, 4),
        )

    def judge(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the logits of pairs."""
        spread = condition[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return self.joint(torch.cat([x, spread], 1)).flatten()

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Compute."""
        return self.judge(self.image(image), condition)


class Encoder(nn.Module):
    """E: the state of an LSTM after the last word."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, embedding)
        self.lstm = nn.LSTM(embedding, embedding, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """Compute."""
        return F.normalize(self.lstm(self.words(tokens))[0][:, -1], dim=1)


class Decoder(nn.Module):
    """D: an LSTM that is given the code at every step."""

    def __init__(self, embedding: int, hidden: int) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, embedding)
        self.lstm = nn.LSTM(2 * embedding, hidden, batch_first=True)
        self.output = nn.Linear(hidden, WORDS)

    def forward(self, code: Tensor, tokens: Tensor) -> Tensor:
        """Compute."""
        spread = code[:, None].expand(-1, tokens.shape[1], -1)
        return self.output(self.lstm(torch.cat([self.words(tokens), spread], 2))[0])


class Inverse(nn.Module):
    """I, with a residual block after each halving."""

    def __init__(self, r: int, width: int, blocks: int) -> None:
        super().__init__()
        ladder = [1] + [width << i for i in range(4)]
        self.body = nn.Sequential(
            *(
                nn.Sequential(down(a, b, i > 0), *(Residual(b) for _ in range(blocks)))
                for i, (a, b) in enumerate(pairwise(ladder))
            ),
            nn.Flatten(),
        )
        hidden = 2 * ladder[-1]
        self.dense = nn.Sequential(
            nn.Linear(ladder[-1] * 16, hidden), nn.ReLU(),
            nn.Linear(hidden, hidden // 2), nn.ReLU(), nn.Linear(hidden // 2, r),
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        """Compute."""
        return self.dense(self.body(image))


def _adam(*nets: nn.Module) -> Adam:
    return Adam([p for net in nets for p in net.parameters()], lr=1e-4, betas=(0.5, 0.999))


def _adversarial(
    generate: Callable[[Tensor], Tensor],
    generator: nn.Module,
    discriminator: Discriminator,
    encoder: nn.Module,
    noise: int,
    image: Tensor,
) -> Callable[[], None]:
    """Return a step of D on three terms, then one of G."""
    count = len(image)
    tokens, wrong = torch.randint(1, WORDS, (2, count, LENGTH))
    of_d, of_g = _adam(discriminator), _adam(generator)
    one, zero = torch.ones(count), torch.zeros(count)
    loss = F.binary_cross_entropy_with_logits

    def step() -> None:
        with torch.no_grad():
            code, other = encoder(tokens), encoder(wrong)
        fake = generate(torch.cat([code, torch.randn(count, noise)], 1))
        of_d.zero_grad()
        features = discriminator.image(image)
        real_loss = loss(discriminator.judge(features, code), one)
        wrong_loss = loss(discriminator.judge(features, other), zero)
        fake_loss = loss(discriminator(fake.detach(), code), zero)
        (real_loss + 0.5 * (wrong_loss + fake_loss)).backward()
        of_d.step()
        of_g.zero_grad()
        loss(discriminator(fake, code), one).backward()
        of_g.step()

    return step


def gan1(width: int, batch: int, embedding: int, noise: int) -> Callable[[], None]:
    """Return a step of stage I."""
    generator = Generator1(embedding + noise, width)
    discriminator = Discriminator(embedding, width, 64)
    image = torch.rand(batch, 1, 64, 64) * 2 - 1
    encoder = Encoder(embedding)
    return _adversarial(generator, generator, discriminator, encoder, noise, image)


def gan2(width: int, small: int, batch: int, embedding: int, noise: int) -> Callable[[], None]:
    """Return a step of stage II at 256 pixels; `small` is the width of G of stage I."""
    first = Generator1(embedding + noise, small).requires_grad_(False)
    generator = Generator2(embedding + noise, width, 256)
    discriminator = Discriminator(embedding, width, 256)
    image = torch.rand(batch, 1, 256, 256) * 2 - 1

    def generate(r: Tensor) -> Tensor:
        with torch.no_grad():
            picture = first(r)
        return generator(r, picture)

    return _adversarial(generate, generator, discriminator, Encoder(embedding), noise, image)


def inverse(
    width: int, blocks: int, small: int, batch: int, embedding: int, noise: int
) -> Callable[[], None]:
    """Return a step of I on eq. 1; `small` is the width of G of stage I."""
    net = Inverse(embedding + noise, width, blocks)
    generator = Generator1(embedding + noise, small).requires_grad_(False)
    encoder, decoder = Encoder(embedding), Decoder(embedding, 300)
    image = torch.rand(batch, 1, 64, 64) * 2 - 1
    tokens, label = torch.randint(1, WORDS, (batch, LENGTH)), torch.randint(2, (batch,))
    optimizer = _adam(net)

    def step() -> None:
        with torch.no_grad():
            code = encoder(tokens)
            r = torch.cat([code, torch.randn(batch, noise)], 1)
            made = generator(r)
        found, back = net(image), net(made)
        first = decoder(found[:, :embedding], tokens[:, :1])[:, 0, :2]
        loss = F.cross_entropy(first, label) + F.mse_loss(generator(found), image)
        loss = loss + F.mse_loss(back[:, :embedding], code)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def arae(batch: int, embedding: int, hidden: int) -> Callable[[], None]:
    """Return a step of the autoencoder alone."""
    encoder, decoder = Encoder(embedding), Decoder(embedding, hidden)
    tokens = torch.randint(1, WORDS, (batch, LENGTH))
    before = torch.cat([tokens.new_zeros(batch, 1), tokens[:, :-1]], 1)
    optimizer = _adam(encoder, decoder)

    def step() -> None:
        logits = decoder(encoder(tokens), before)
        optimizer.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
        optimizer.step()

    return step
