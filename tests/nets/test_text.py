import pytest
import torch

from xrj.nets.decoding import BOS, EOS, PAD
from xrj.nets.text import CodeCritic, CodeGenerator, TextDecoder, TextEncoder

VOCABULARY, WIDTH = 20, 8


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def encoder():
    return TextEncoder(VOCABULARY, WIDTH, dropout=0.5).eval()


@pytest.fixture(params=[False, True], ids=["free", "tied"])
def decoder(request):
    return TextDecoder(VOCABULARY, WIDTH, 12, dropout=0.5, tied=request.param).eval()


def tokens(*rows):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def codes(count=4):
    return torch.nn.functional.normalize(torch.randn(count, WIDTH), dim=1)


def test_the_decoder_reads_the_code_at_its_scale(decoder):
    description, code = tokens([5, 7, EOS], [6, 9, EOS]), codes(2)
    larger = decoder(3 * code, description)
    decoder.scale = 3.0
    torch.testing.assert_close(decoder(code, description), larger)


def test_codes_lie_on_the_unit_sphere(encoder):
    code = encoder(tokens([5, 7, 8, EOS], [6, EOS], [5]))
    assert code.shape == (3, WIDTH)
    torch.testing.assert_close(code.norm(dim=1), torch.ones(3))


def test_the_encoder_ignores_padding_and_company(encoder):
    alone = encoder(tokens([6, 9, EOS]))
    padded = encoder(tokens([6, 9, EOS], [5, 7, 8, 10, 11, 12, EOS]))
    torch.testing.assert_close(alone[0], padded[0])
    assert not torch.allclose(padded[0], padded[1], atol=1e-3)


def test_the_encoder_reads_words_in_their_order(encoder):
    forwards, backwards = encoder(tokens([6, 9, 10, EOS], [6, 10, 9, EOS]))
    assert not torch.allclose(forwards, backwards, atol=1e-5)


def test_the_label_is_the_last_word_that_the_encoder_reads(encoder):
    steps = []
    encoder.lstm.register_forward_pre_hook(lambda _, inputs: steps.append(inputs[0].detach()))
    encoder(tokens([6, 9, 10, EOS]))
    assert torch.equal(steps[0][0], encoder.words(torch.tensor([EOS, 10, 9, 6])))


def test_greedy_decoding_is_teacher_forcing_with_its_own_words(decoder):
    code = codes()
    decoded = decoder.decode(code, 7)
    assert decoded.shape == (4, 7)
    logits = decoder(code, decoded)
    assert logits.shape == (4, 7, VOCABULARY)
    ended = (decoded == EOS).cumsum(dim=1) - (decoded == EOS).long() > 0
    assert torch.equal(decoded[~ended], logits.argmax(dim=2)[~ended])
    assert (decoded[ended] == PAD).all()


def test_nothing_follows_the_end(decoder):
    with torch.no_grad():
        decoder.output.bias.zero_()[EOS] = 100.0
    decoded = decoder.decode(codes(2), 5)
    assert decoded.tolist() == [[EOS, PAD, PAD, PAD, PAD]] * 2


def test_the_first_token_can_be_held_to_the_labels(decoder):
    with torch.no_grad():
        decoder.output.bias.zero_()[9] = 100.0
    code, labels = codes(), torch.tensor([5, 6])
    assert (decoder.decode(code, 3)[:, 0] == 9).all()
    first = decoder.decode(code, 3, labels)[:, 0]
    assert torch.equal(first, labels[decoder.first_logits(code)[:, labels].argmax(dim=1)])


def test_the_first_logits_are_those_of_teacher_forcing(decoder):
    code = codes()
    expected = decoder(code, torch.randint(5, VOCABULARY, (4, 3)))[:, 0]
    torch.testing.assert_close(decoder.first_logits(code), expected)


def test_teacher_forcing_sees_only_earlier_words(decoder):
    code = codes(1)
    first, second = tokens([5, 7, 8, 9]), tokens([5, 7, 12, 9])
    same = decoder(code, first) == decoder(code, second)
    assert same[0, :3].all()
    assert not same[0, 3].all()


def test_gradients_flow_in_evaluation_mode(encoder, decoder):
    code = codes().requires_grad_()
    decoder.first_logits(code).sum().backward()
    assert code.grad.abs().sum() > 0
    encoder(tokens([5, 7, EOS]))[0, 0].backward()
    assert encoder.words.weight.grad[7].abs().sum() > 0


def test_lstms_stay_in_the_precision_of_their_weights_on_a_cpu(encoder, decoder):
    words = tokens([5, 7, 8, EOS], [6, 9, EOS])
    code, states = encoder(words), []
    decoder.lstm.register_forward_hook(lambda _net, _inputs, outputs: states.append(outputs[0]))
    decoder(code, words)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(encoder(words), code, rtol=0, atol=0)
        decoder(code.bfloat16(), words)
    assert states[1].dtype == torch.float32
    torch.testing.assert_close(states[1], states[0], rtol=0, atol=1e-3)  # the code was rounded


def test_tied_weights_are_one_tensor_and_learn_as_one():
    decoder = TextDecoder(VOCABULARY, WIDTH, 12, dropout=0.0, tied=True)
    assert decoder.output.weight is decoder.words.weight
    again = TextDecoder(VOCABULARY, WIDTH, 12, dropout=0.0, tied=True)
    again.load_state_dict(decoder.state_dict())
    assert again.output.weight is again.words.weight
    code, words = codes(2), tokens([5, 7], [6, 8])
    torch.testing.assert_close(again(code, words), decoder(code, words))


def test_bos_is_fed_first(decoder):
    fed = []
    decoder.words.register_forward_pre_hook(lambda _, inputs: fed.append(inputs[0]))
    decoder(codes(1), tokens([5, 7, EOS]))
    assert fed[0].tolist() == [[BOS, 5, 7]]


def test_latent_generator_and_critic():
    noise = torch.randn(6, 3)
    codes = CodeGenerator(3, WIDTH)(noise)
    critic = CodeCritic(WIDTH)
    scores = critic(codes)
    assert codes.shape == (6, WIDTH)
    assert scores.shape == (6,)
    torch.testing.assert_close(scores[:2], critic(codes[:2]))  # each sample's own
