"""Drafted tokens change nothing but the number of passes."""

import itertools

import hypothesis.strategies as st
import mlx.core as mx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from session_checks import agrees, picture

from mlx_gemma4.cache import Cache
from mlx_gemma4.constrain import Constraint
from mlx_gemma4.drafter_lookup import LookupDrafter, PromptLookup
from mlx_gemma4.errors import PromptError
from mlx_gemma4.generate import Finish, GenerateOptions, collect, stream
from mlx_gemma4.messages import Image, message
from mlx_gemma4.sampling import Sampler, SamplingOptions
from mlx_gemma4.session import ReplyOptions, Session
from mlx_gemma4.speculation import Drafts, Speculation
from mlx_gemma4.speculation_accept import Distribution, accept, accept_greedy
from mlx_gemma4.speculation_pace import Pace

ARCHITECTURES = ("e2b", "e4b", "12b", "26b", "31b")
GREEDY = SamplingOptions(greedy=True)
TEXT = "The cat sat on the mat and the dog sat on the cat. " * 3

PENALTY = SamplingOptions(greedy=True, repetition_penalty=1.3)
WORDS = Constraint.regex("([a-z]{1,3} ){40}")
HELD = {
    "penalty": {"sampling": PENALTY},
    "grammar": {"constraint": WORDS},
    "both": {"sampling": PENALTY, "constraint": WORDS},
}


class Oracle:
    """Drafts the tokens of a known reply, wrong at every ``wrong``-th place."""

    most, price = 6, 0.0

    def __init__(self, reply, wrong=0):
        self.reply, self.wrong, self.at = reply, wrong, 0

    def start(self, model, prompt, sampling):
        self.at = 0
        return self

    def feed(self, token):
        self.at += 1

    def ready(self):
        return True

    def propose(self, hidden, cache, count):
        following = list(self.reply[self.at : self.at + count])
        for i in range(len(following)):
            if self.wrong and (self.at + i) % self.wrong == 0:
                following[i] = (following[i] + 1) % 400 + 30
        return Drafts(mx.array(following, dtype=mx.int32), None) if following else None


def reply_ids(model, processor, inputs, tokens, *, sampling=GREEDY, **more):
    """Ids of a reply without stops, so that it is long, and what drafting did."""
    from mlx_gemma4.generate import Decoder
    from mlx_gemma4.prefill import prefill

    options = GenerateOptions(tokens, sampling=sampling, loop_guard=False, **more)
    decoder = Decoder(model, processor.tokenizer, options, stops=False)
    cache = model.make_cache()
    steps = prefill(model, inputs, cache)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        hidden = end.value
    ids = [step.token for step in decoder.run(hidden, cache, inputs.ids)]
    assert cache.offset == len(inputs) + len(ids)
    return ids, decoder.drafts


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("wrong", [0, 3])
def test_greedy_tokens_are_those_of_plain_decoding(arch, wrong, tiny):
    model, processor = tiny(arch)
    inputs = processor.inputs([message("user", Image(picture(1)), TEXT)])
    plain, _ = reply_ids(model, processor, inputs, 60)
    assert len(plain) == 60 > 3 * model.config.text.sliding_window
    drafted, counts = reply_ids(model, processor, inputs, 60, draft=Oracle(plain, wrong))
    assert drafted == plain
    assert counts.blocks > 3
    if not wrong:
        assert counts.accepted == counts.drafted
        assert counts.blocks <= 20
    else:
        assert 0 < counts.accepted < counts.drafted


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_prompt_lookup_gives_the_same_reply(arch, tiny):
    model, processor = tiny(arch)
    inputs = processor.inputs([message("user", TEXT)])
    plain, _ = reply_ids(model, processor, inputs, 80)
    drafted, counts = reply_ids(model, processor, inputs, 80, draft=PromptLookup(ngram=1))
    assert drafted == plain
    assert counts.blocks > 0


@pytest.mark.parametrize("arch", ["e2b", "31b"])
def test_stopping_inside_a_block_leaves_an_exact_session(arch, tiny):
    model, processor = tiny(arch)
    session = Session(model, processor)
    chat = [message("user", TEXT)]
    session.sync(chat)
    plain, _ = reply_ids(model, processor, processor.inputs(chat), 30, **HELD["both"])

    def drafted():
        session.sync(chat)
        options = GenerateOptions(30, loop_guard=False, draft=Oracle(plain, 4), **HELD["both"])
        return session.reply(ReplyOptions(options))

    stops = range(1, len(list(drafted())), 2)
    assert len(stops) >= 4
    for stop_after in stops:
        events = drafted()
        for event in itertools.islice(events, stop_after):
            assert not isinstance(event, Finish)
        events.close()
        assert session._runner.cache.offset == session.tokens
        assert agrees(session, model)
    session.sync([*chat, message("model", "So."), message("user", "Go on.")])
    assert agrees(session, model)


def test_a_session_reports_what_drafting_did(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    session.sync([message("user", TEXT)])
    options = GenerateOptions(40, sampling=GREEDY, loop_guard=False, draft=PromptLookup(ngram=1))
    events = list(session.reply(ReplyOptions(options)))
    usage = events[-1].usage
    assert usage.draft_blocks > 0
    assert usage.drafted_tokens >= usage.accepted_tokens
    assert agrees(session, model)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("held", HELD)
def test_held_replies_are_those_of_plain_decoding(arch, held, tiny):
    """A penalty depends on every token before; a grammar says what may follow each draft."""
    model, processor = tiny(arch)
    inputs = processor.inputs([message("user", TEXT)])
    plain, _ = reply_ids(model, processor, inputs, 50, **HELD[held])
    for wrong in (0, 3):
        draft = Oracle(plain, wrong)
        drafted, counts = reply_ids(model, processor, inputs, 50, draft=draft, **HELD[held])
        assert drafted == plain
        assert counts.blocks > 3
        # What a grammar refuses is not even run; only the penalty leaves wrong drafts to refuse.
        assert counts.accepted == counts.drafted if not wrong else counts.accepted > 0


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    penalty=st.sampled_from([1.0, 0.7, 1.1, 2.5]),
    grammar=st.sampled_from([None, "[a-z ]+", "([0-9]{2}[,;])*", '("[^"]{0,9}" ?){3}x+']),
    wrong=st.integers(0, 5),
    prompt=st.text("ab c12", min_size=1, max_size=30),
)
def test_any_held_reply_is_that_of_plain_decoding(tiny, penalty, grammar, wrong, prompt):
    model, processor = tiny("e2b")
    held = {
        "sampling": SamplingOptions(greedy=True, repetition_penalty=penalty),
        "constraint": None if grammar is None else Constraint.regex(grammar),
    }
    inputs = processor.inputs([message("user", prompt)])
    plain, _ = reply_ids(model, processor, inputs, 24, **held)
    for draft in (Oracle(plain, wrong), PromptLookup(ngram=1)):
        assert reply_ids(model, processor, inputs, 24, draft=draft, **held)[0] == plain


@pytest.mark.parametrize("held", HELD)
def test_prompt_lookup_helps_held_replies_too(held, tiny):
    model, processor = tiny("e2b")
    inputs = processor.inputs([message("user", "aa ab aa ab aa ab ba bb ba bb ba")])
    plain, _ = reply_ids(model, processor, inputs, 60, **HELD[held])
    draft = PromptLookup(ngram=1)
    drafted, counts = reply_ids(model, processor, inputs, 60, draft=draft, **HELD[held])
    assert drafted == plain
    assert counts.blocks > 0


def test_thoughts_and_answer_of_a_held_reply_are_drafted_alike(tiny, monkeypatch):
    """The border between a free thought and a held answer is no place for a draft."""
    model, processor = tiny("e2b")
    tokenizer = processor.tokenizer
    said = tokenizer.encode("<|channel>thought\nfree words here\n<channel|>", control=True)
    said += tokenizer.encode("ab cd ab cd ")
    place, trim = [0], Cache.trim

    def scripted(_model, hidden):
        """Logits by which every position wants the next token of what is to be said."""
        rows = range(place[0], place[0] + hidden.shape[1])
        place[0] += hidden.shape[1]
        wanted = mx.array([[said[min(at, len(said) - 1)] for at in rows]])
        return (mx.arange(model.config.text.vocab_size) == wanted[..., None]) * 9.0

    def trimmed(cache, count):
        place[0] -= count
        return trim(cache, count)

    monkeypatch.setattr(type(model), "greedy_logits", scripted)
    monkeypatch.setattr(Cache, "trim", trimmed)
    inputs = processor.inputs([message("user", "Hi")], think=True)
    grammar = Constraint.regex("(ab|cd|ef| )+")
    for wrong in (0, 2, 3, 5):
        place[0] = 0
        held = {"constraint": grammar, "draft": Oracle(said, wrong)}
        drafted, counts = reply_ids(model, processor, inputs, len(said), **held)
        assert drafted == said
        assert counts.accepted > 0


def test_a_held_session_stopped_inside_a_block_is_exact(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    chat = [message("user", TEXT)]
    plain, _ = reply_ids(model, processor, processor.inputs(chat), 30, **HELD["both"])
    for stop_after in range(1, 10, 2):
        session.sync(chat)
        draft = Oracle(plain, 4)
        options = GenerateOptions(30, loop_guard=False, draft=draft, **HELD["both"])
        events = session.reply(ReplyOptions(options))
        list(itertools.islice(events, stop_after))
        events.close()
        assert session._runner.cache.offset == session.tokens
        assert agrees(session, model)


def test_a_seed_repeats_a_sampled_reply_with_drafts(tiny):
    model, processor = tiny("e2b")
    inputs = processor.inputs([message("user", TEXT)])
    sampling = SamplingOptions(seed=3, top_k=4)
    options = GenerateOptions(40, sampling=sampling, draft=PromptLookup(ngram=1))
    replies = [collect(stream(model, processor, inputs, options)) for _ in range(2)]
    assert replies[0].text == replies[1].text
    assert replies[0].usage.draft_blocks == replies[1].usage.draft_blocks > 0


# Exactness of sampling


class Chain:
    """A model whose next token depends on the last one only, so that all is known exactly."""

    def __init__(self, table):
        self.table = mx.array(np.log(table), dtype=mx.float32)
        self.language_model = self

    def embed(self, ids):
        return ids[..., None].astype(mx.float32)

    def per_layer_inputs(self, ids, hidden):
        return None

    def __call__(self, hidden, per_layer, cache):
        cache.offset += hidden.shape[1]
        return hidden

    def greedy_logits(self, hidden):
        return self.table[hidden[..., 0].astype(mx.int32)]


class Length:
    """Stands in for a KV cache where only its length matters."""

    offset = 0

    def trim(self, count):
        self.offset -= count


class Guess:
    """Drafts from another chain, drawn or always the same."""

    most, price = 3, 0.0

    def __init__(self, table, drawn, random):
        self.table, self.drawn, self.last, self.random = table, drawn, 0, random

    def feed(self, token):
        self.last = token

    def ready(self):
        return True

    def propose(self, hidden, cache, count):
        tokens, sources, last = [], [], self.last
        for _ in range(count):
            row = self.table[last]
            last = int(self.random.choice(row.size, p=row)) if self.drawn else int(row.argmax())
            tokens.append(last)
            sources.append((mx.arange(row.size), mx.array(np.log(row))))
        return Drafts(mx.array(tokens), sources if self.drawn else None)


def chained(model, drafter, sampling, length, first=0):
    """``length`` tokens of a chain after ``first``, and how many passes were made."""
    cache, passes = Length(), itertools.count()
    sampler = Sampler(sampling, vocab_size=model.table.shape[0])

    def one_ahead(token, leave):
        while True:
            hidden = model.embed(token[None])
            cache.offset += 1
            next(passes)
            following = sampler(model.greedy_logits(hidden)[0, 0])
            yield token.item()
            if leave(token.item(), None):
                return hidden, following
            token = following

    speculation = Speculation(model, drafter, sampler, sampling, cache, length)
    tokens = speculation.run(mx.array([first]), one_ahead)
    reply = list(itertools.islice(tokens, length + 1))
    tokens.close()
    assert cache.offset == length + 1
    return reply[1:], next(passes) + speculation.counts.blocks, speculation.counts


@pytest.mark.parametrize("drawn", [True, False])
def test_sampled_tokens_keep_the_models_distribution(drawn):
    random = np.random.default_rng(11)
    target = random.dirichlet(np.full(4, 0.7), 4)
    guess = 0.5 * target + 0.5 * random.dirichlet(np.full(4, 0.7), 4)
    model, length, runs, blocks = Chain(target), 4, 900, 0
    seen = np.zeros((4,) * length)
    for run in range(runs):
        sampling = SamplingOptions(top_p=1.0, top_k=0, seed=run)
        reply, _, counts = chained(model, Guess(guess, drawn, random), sampling, length)
        seen[tuple(reply)] += 1
        blocks += counts.blocks
    assert blocks > runs // 2
    expected = runs * np.einsum("a,ab,bc,cd->abcd", target[0], target, target, target)
    common = expected >= 5
    observed = np.append(seen[common], seen[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum())
    chi2 = ((observed - wanted) ** 2 / wanted).sum()
    freedom = observed.size - 1
    assert chi2 < freedom + 4 * np.sqrt(2 * freedom)  # four standard deviations


def test_a_reply_that_copies_needs_few_passes():
    circle = np.roll(np.eye(24), 1, axis=1) + 1e-9
    model = Chain(circle / circle.sum(axis=1, keepdims=True))
    drafter = LookupDrafter(PromptLookup(ngram=3, most=8), np.array([0], np.int32), frozenset())
    reply, passes, counts = chained(model, drafter, GREEDY, 240)
    assert reply == [(i + 1) % 24 for i in range(240)]
    assert counts.accepted == counts.drafted
    assert passes < 80


def test_accepting_draws_from_the_target_whatever_the_source():
    random = np.random.default_rng(5)
    p = Distribution(np.arange(6), random.dirichlet(np.full(6, 0.5)))
    q = Distribution(np.array([5, 1, 0, 9]), random.dirichlet(np.full(4, 0.5)))
    seen, runs = np.zeros(6), 20_000
    for _ in range(runs):
        draft = q.draw(random)
        kept, following = accept([draft], [q], [p, p], random)
        seen[draft if kept else following] += 1
    assert np.abs(seen / runs - p.probabilities).max() < 4 * 0.5 / np.sqrt(runs)


def test_greedy_acceptance_stops_at_the_first_difference():
    assert accept_greedy([4, 5, 6], [4, 5, 7, 8]) == (2, 7)
    assert accept_greedy([4, 5], [4, 5, 9]) == (2, 9)
    assert accept_greedy([1], [2, 3]) == (0, 2)


# When to draft


def test_drafting_rests_while_nothing_is_accepted_and_returns_when_it_is():
    pace = Pace(6, 0.0, measure=False)
    plain = blocks = 0
    for _ in range(400):
        width = pace.width()
        if width:
            blocks += 1
            pace.block(width, 0, 0.0)
        else:
            plain += 1
            pace.plain(None)
    assert blocks < 25  # a 16th of the passes are wasted at most, and fewer as time goes on
    assert pace.counts.accepted == 0
    for _ in range(300):
        width = pace.width()
        if width:
            pace.block(width, width, 0.0)
        else:
            pace.plain(None)
    assert pace.acceptance > 0.9
    assert pace.width() == 6


def test_a_pass_that_costs_too_much_ends_drafting():
    pace = Pace(4, 0.0)
    for _ in range(10):
        pace.plain(0.01)
    for _ in range(30):
        if width := pace.width():
            pace.block(width, width // 2, 0.01 * (1 + 1.2 * width))
    assert pace.width() == 0


def test_lookup_takes_the_longest_common_context():
    prompt = np.array([9, 1, 2, 3, 50, 8, 1, 2, 3, 60, 7, 1, 2, 3, 70], dtype=np.int32)
    drafter = LookupDrafter(PromptLookup(ngram=3, most=2), prompt, frozenset())
    assert not drafter.ready()
    for token in (8, 1, 2, 3):
        drafter.feed(token)
    drafts = drafter.propose(mx.zeros((1, 1, 1)), None, 2)
    assert np.array(drafts.tokens).tolist() == [60, 7]


def test_lookup_never_drafts_a_placeholder_and_survives_growth():
    drafter = LookupDrafter(PromptLookup(ngram=1), np.array([5, 6, 7], np.int32), frozenset({6}))
    drafter.feed(5)
    assert drafter.propose(mx.zeros((1, 1, 1)), None, 4) is None
    for token in range(100, 2300):
        drafter.feed(token)
    drafter.feed(100)
    drafts = drafter.propose(mx.zeros((1, 1, 1)), None, 3)
    assert np.array(drafts.tokens).tolist() == [101, 102, 103]


def test_lookup_options_are_checked():
    with pytest.raises(PromptError, match="1 to 16"):
        PromptLookup(ngram=0)
