"""The cards of an empty chat offer only what the loaded model can really do."""

from pathlib import Path

from app.core.events import Capabilities
from app.core.paths import assets_dir
from app.ui.chat.empty_chat import suggestions


def test_cards_follow_what_the_model_takes_in(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(b"x")
    sees = suggestions(Capabilities(image=True), tmp_path)
    assert [card.title for card in sees[:2]] == ["Look at a picture", "Read a page"]
    assert sees[1].sample.endswith("page.png")
    assert not any(card.sample for card in suggestions(Capabilities(), tmp_path))
    assert len(suggestions(None, tmp_path)) == 3


def test_the_demo_is_not_sent_to_tasks_it_fails() -> None:
    samples = assets_dir() / "samples"
    cards = suggestions(Capabilities(image=True, audio=True, video=True), samples, demo=True)
    asked = [card.prompt for card in cards]
    assert asked == ["What do you see?", "Read the text.", "What is said?"]
    assert [Path(card.sample).is_file() for card in cards] == [True, True, True]
