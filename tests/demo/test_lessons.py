"""Training must tell the truth about where an answer is read from; keeping must not change it."""

import random
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from training import config, focus, lines, network, samples, shapes, tasks, train
from training.batches import Item, Kitchen, collate
from training.pantry import KEPT, Encoded, Pantry, pack, unpack
from training.tokenizer import decode, spell, token_spans, token_words


@pytest.fixture(scope="module")
def trainee() -> network.Trainee:
    return network.Trainee()


def kitchen(seed: int = 3) -> Kitchen:
    return Kitchen(tasks.Source(random.Random(seed)), 4 * 594)


def test_marked_soft_tokens_are_those_over_the_letter() -> None:
    boxes = [(0.0, 0.0, 0.1, 1.0), (0.5, 0.5, 0.75, 1.0)]
    marks = lines.marks(boxes, rows=2, columns=4).reshape(2, 2, 4)
    assert marks[0].tolist() == [[True, False, False, False]] * 2
    assert marks[1].tolist() == [[False] * 4, [False, False, True, False]]


def test_marks_of_a_page_lie_over_its_ink() -> None:
    rng = random.Random(5)
    source = tasks.Source(rng, ease=0)
    image, boxes = lines.page(rng, ["Read", "me"], (480, 480), source.fonts, strength=0)
    grey = np.asarray(image.convert("L").resize((480, 480), Image.Resampling.BICUBIC), float)
    ink = np.abs(grey - np.median(grey)) > 40
    marks = lines.marks(boxes, rows=10, columns=10).reshape(-1, 10, 10)
    cells = ink.reshape(10, 48, 10, 48).any(axis=(1, 3))
    letters = [mark for mark, char in zip(marks, "Read\nme", strict=True) if char != "\n"]
    assert all((mark & cells).any() for mark in letters)
    assert set(np.argwhere(marks[4])[:, 0]) == set(np.argwhere(marks[3])[:, 0])
    assert np.argwhere(marks[4])[:, 1].min() >= np.argwhere(marks[3])[:, 1].max()


def test_words_of_a_transcript_are_marked_in_the_order_they_are_spoken() -> None:
    turn = tasks.hearing(tasks.Source(random.Random(2)), "digits")
    heard = next(part for part in turn.parts if isinstance(part, samples.Clip))
    assert turn.marks is not None
    centres = [np.flatnonzero(mark).mean() for mark in turn.marks]
    assert centres == sorted(centres)
    assert turn.marks.shape == (len(token_words(turn.answer)), heard.tokens)


LEFT = shapes.Thing("red", "circle", (0.1, 0.1, 0.3, 0.3))
RIGHT = shapes.Thing("blue", "star", (0.15, 0.6, 0.35, 0.9))


def test_cells_tell_what_lies_over_them() -> None:
    cells = shapes.cell_labels((LEFT, RIGHT), rows=6, columns=10)
    over_left, over_right = cells[1 * 10 + 2], cells[1 * 10 + 7]
    assert over_left[:2].tolist() == [1, 1]  # red, circle
    assert over_right[2:6] == pytest.approx(RIGHT.box)
    # left of, right of; above and below are too close to call
    assert over_left[6:10].tolist() == [1, 0, -1, -1]
    assert over_right[6:10].tolist() == [0, 1, -1, -1]
    assert over_left[10] == over_right[10] == 2
    assert (over_left[11], over_right[11]) == (1, 2)
    assert np.argwhere(cells[:, 12].reshape(6, 10)).tolist() == [[1, 2], [1, 7]]
    assert not cells[5 * 10 : 6 * 10].any()


def test_each_word_of_a_description_is_read_from_the_thing_it_names() -> None:
    things = (LEFT, RIGHT, shapes.Thing("orange", "cross", (0.7, 0.2, 0.9, 0.4)))
    for count in (1, 2, 3):
        words = shapes.describe(things[:count]).lower().rstrip(".").replace(",", "").split()
        looks = shapes.describe_looks(things[:count])
        assert len(looks) == len(words)
        for word, (thing,) in zip(words, looks, strict=True):
            assert word in ("a", "an", "and", thing.colour, thing.shape)


@pytest.mark.parametrize(
    "kind", ["colour", "shape", "see", "count", "relation", "colour_of", "box"]
)
def test_every_token_of_an_answer_about_a_scene_has_a_place(kind: str) -> None:
    source = tasks.Source(random.Random(4))
    turn, cells = tasks.seeing(source, (480, 320), (kind,))
    while turn.marks is None:
        assert any(str(part).startswith("What is ") for part in turn.parts)
        turn, cells = tasks.seeing(source, (480, 320), (kind,))
    assert turn.marks.shape == (len(token_words(turn.answer)), len(cells))
    assert turn.marks.any(axis=1).all()
    over_something = (cells[:, 0] > 0) | (cells[:, -4:] > 0).any(axis=1)
    assert over_something[turn.marks.any(axis=0)].all()


def test_a_number_of_a_box_is_read_from_the_side_it_tells() -> None:
    source = tasks.Source(random.Random(8))
    for _ in range(6):
        turn, cells = tasks.seeing(source, (480, 320), ("box",))
        numbers = list(re.finditer(r"\b\d+", turn.answer))
        assert len(numbers) == 4
        for side, number in enumerate(numbers):
            for marks, (start, end) in zip(turn.marks, token_spans(turn.answer), strict=True):
                if number.start() <= start and end <= number.end():
                    told = {round(1000 * (place - 1)) for place in cells[marks, -4 + side]}
                    assert int(number[0]) in told


def test_a_spoken_question_is_answered_from_the_newest_frame() -> None:
    source = tasks.Source(random.Random(6))
    turns = [tasks.live(source, (480, 320)) for _ in range(24)]
    frames = [[p for p in turn.parts if isinstance(p, samples.Picture)] for turn in turns]
    assert max(map(len, frames)) == 2
    for turn, shown in zip(turns, frames, strict=True):
        made = samples.sequence((turn,))
        [lookup] = made.lookups
        assert turn.parts[turn.marked] is shown[-1]
        assert [place for place, medium in made.media if medium is shown[-1]] == [lookup.source]
        assert lookup.marks.shape[1] == shown[-1].tokens


@pytest.mark.parametrize("task", ["crop", "hearing", "chat", "see"])
def test_kept_items_give_the_losses_of_the_whole_step(trainee: network.Trainee, task: str) -> None:
    batch = kitchen().draw(task)
    layers = trainee.model.model.language_model.layers
    with focus.watched(layers) as looks, torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        soft, _ = train.soft_features(trainee, batch)
        whole = train.decoder_lesson(trainee, looks, batch, soft)
        kept = train.decoder_lesson(trainee, looks, *pack(task, unpack(batch, soft)))
    assert kept.loss.item() == pytest.approx(whole.loss.item(), rel=2e-2)
    assert kept.heads.item() == pytest.approx(whole.heads.item(), rel=2e-2)
    assert whole.heads.item() > 0


def test_a_second_question_is_answered_from_the_picture_of_the_first() -> None:
    source = tasks.Source(random.Random(12))
    for _ in range(8):
        turns, cells = tasks.seeing_twice(source, (480, 320), ("see", "count", "relation"), None)
        made = samples.sequence(turns)
        [(place, seen)] = made.media
        assert isinstance(seen, samples.Picture)
        assert not any(isinstance(part, samples.Picture) for part in turns[1].parts)
        for lookup in made.lookups:
            assert lookup.source == place
            assert lookup.marks.shape[1] == seen.tokens == len(cells)


@pytest.mark.parametrize("grid", [None, (3, 4)])
def test_the_first_or_last_colour_of_a_video_is_read_from_its_frame(
    grid: tuple[int, int] | None,
) -> None:
    source = tasks.Source(random.Random(9))
    turns = [tasks.video(source, grid) for _ in range(12)]
    told = [turn for turn in turns if turn.marks is not None]
    assert len(told) > 4
    for turn in told:
        [lookup] = samples.sequence((turn,)).lookups
        frames = [part for part in turn.parts if isinstance(part, samples.Picture)]
        colour = shapes.COLOURS[turn.answer.lower().rstrip(".")]
        shown = frames[turn.marked].patches.reshape(-1, 3).mean(axis=0)
        assert shown == pytest.approx(colour, abs=14)
        assert lookup.marks.shape[1] == frames[turn.marked].tokens
        others = frames[: turn.marked] if "first" in turn.parts[-1] else frames[turn.marked + 2 :]
        assert all(frame.patches.mean() < 40 for frame in others)


@pytest.mark.parametrize(("task", "least"), [(tasks.chat, 5), (tasks.echo, 40)])
def test_an_echo_is_read_from_the_words_it_repeats(task: Callable, least: int) -> None:
    source = tasks.Source(random.Random(3))
    echoes = [turn for _ in range(40) for turn in task(source) if turn.marks is not None]
    assert len(echoes) >= least
    for turn in echoes:
        [lookup] = samples.sequence((turn,)).lookups
        ids = samples.sequence((turn,)).ids
        for place, marks in enumerate(lookup.marks):
            said = decode([ids[lookup.answer + place]]).strip()
            repeated = [decode([ids[lookup.source + at]]) for at in np.flatnonzero(marks)]
            assert len(repeated) == 1
            assert said in repeated[0]


def test_looking_at_the_right_place_costs_nothing() -> None:
    marks = torch.zeros(1, focus.KINDS, 6, 6, dtype=torch.bool)
    marks[0, focus.READ, 3, 1] = marks[0, focus.READ, 4, 2] = True
    marks[0, focus.NAMED, 2, 0] = marks[0, focus.ASKED, 3, 2] = True
    looks = focus.Looks()
    looks.weights = {layer: torch.zeros(1, 4, 6, 6) for layer in focus.LAYERS}
    for lesson in focus.LESSONS:
        for layer in lesson.layers:
            goal = marks[0, lesson.kind].roll(int(lesson.here), dims=0)
            looks.weights[layer][0, lesson.head] = goal.float()
    assert looks.loss(marks).item() < 1e-3
    for kind in range(focus.KINDS):
        wrong = marks.clone()
        wrong[0, kind] = marks[0, kind].roll(1, dims=1)
        assert looks.loss(wrong).item() > 2


def test_the_pantry_forgets_the_oldest() -> None:
    pantry = Pantry(random.Random(0), tokens=64)
    size = KEPT + 10
    empty = torch.zeros(0, dtype=torch.long)
    ids = torch.arange(1, 9)
    shelf = [Encoded(ids + n, ids, empty, torch.zeros(0, 0), None) for n in range(size)]
    pantry.shelves["chat"] = shelf
    pantry.add(collate("chat", [kitchen_item()]), [])
    assert len(pantry.shelves["chat"]) == KEPT
    assert pantry.shelves["chat"][0].ids[0] == size + 1 - KEPT + 1
    drawn = pantry.draw("chat")
    assert drawn is not None
    assert drawn[0].ids.shape[0] <= 9
    assert pantry.draw("line") is None


def kitchen_item() -> Item:
    source = tasks.Source(random.Random(1))
    return Item(samples.sequence(tasks.chat(source)))


def test_the_taught_layers_exist() -> None:
    assert focus.LAYERS[-1] < config.text_config().num_hidden_layers
    assert max(lesson.head for lesson in focus.LESSONS) < config.text_config().num_attention_heads


def test_a_word_of_the_question_is_taught_the_thing_it_names() -> None:
    source = tasks.Source(random.Random(8))
    seen = 0
    for _ in range(20):
        turn, cells = tasks.seeing(source, (480, 320), ("colour_of", "relation"))
        item = Item(samples.sequence((turn,)))
        looks = collate("see", [item]).focus
        if looks is None:  # "What is left of the star?"
            continue
        [lookup] = item.sequence.lookups
        [asked] = np.argwhere(looks[0, focus.ASKED, lookup.answer - 1].numpy()).T
        shape = decode([item.sequence.ids[place] for place in asked]).strip().rstrip("?")
        assert shape in turn.parts[1 if isinstance(turn.parts[1], str) else 0]
        over = looks[0, focus.NAMED, asked[0], lookup.source : lookup.source + len(cells)].numpy()
        if isinstance(turn.parts[0], samples.Picture):
            seen += 1
            assert {shapes.SHAPES[int(n) - 1] for n in cells[over, 1]} == {shape}
        else:
            assert not over.any()  # what comes later cannot be looked at
    assert seen > 5


def test_corners_are_told_apart() -> None:
    reader = network.CellReader()
    cells = torch.from_numpy(shapes.cell_labels((LEFT,), rows=6, columns=10))[None]
    soft = torch.zeros(1, 60, reader.corners.in_features)

    def cost(box: tuple[float, ...]) -> float:
        with torch.no_grad():
            scores = reader.corners.bias.view(4, network.BINS).zero_()
            for side, place in zip(scores, box, strict=True):
                side[int(place * network.BINS)] = 20
        return reader.loss(soft, cells).item()

    elsewhere = (LEFT.box[0] + 2 / network.BINS, *LEFT.box[1:])
    assert cost(elsewhere) - cost(LEFT.box) == pytest.approx(20 / 4, abs=0.01)


@pytest.mark.parametrize(
    ("budget", "grid"), [(b, grid) for b, grids in tasks.PAGE_GRIDS.items() for grid in grids]
)
def test_a_page_fills_its_budget(budget: int, grid: tuple[int, int]) -> None:
    source = tasks.Source(random.Random(1))
    turn, (over_patches, over_tokens), numbers = tasks.page(source, grid, 8)
    seen = next(part for part in turn.parts if isinstance(part, samples.Picture))
    assert (seen.rows // 3, seen.tokens) == (grid[0], grid[0] * grid[1])
    assert budget / 2 < seen.tokens <= budget
    assert len(over_tokens) == grid[0] == len(over_patches) // 3
    assert len(turn.answer.splitlines()) == 8
    by_row = numbers.reshape(grid).max(axis=1)
    assert by_row[by_row > 0].tolist() == sorted(by_row[by_row > 0])
    assert by_row.max() == 8


def test_letters_of_a_page_are_told_row_by_row() -> None:
    boxes = [(0.0, 0.05, 0.5, 0.2), (0.5, 0.05, 0.6, 0.2), (0.5, 0.6, 1.0, 0.9)]
    labels = lines.letter_labels("a\nb", boxes, rows=6, columns=10)
    a, b = spell("ab")
    assert labels.tolist() == [
        [0, a, a, a, 0, 0, 0, 0, 0, 0],
        *[[0] * 10] * 3,
        [0, 0, 0, 0, 0, 0, b, b, b, 0],
        [0] * 10,
    ]


@pytest.mark.parametrize("task", ["card", "page"])
def test_heads_are_told_the_letters_of_pages(trainee: network.Trainee, task: str) -> None:
    batch = kitchen().draw(task)
    assert batch.letters is not None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        _, extra = train.soft_features(trainee, batch)
    assert extra.item() > 0
    over_patches, over_tokens = batch.letters
    assert over_patches.shape[1] == 3 * over_tokens.shape[1]
    last_line = decode(batch.ids[0].tolist()).splitlines()[-1]
    assert set(spell(last_line)) & set(over_tokens[0].unique().tolist())
