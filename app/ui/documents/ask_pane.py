"""Questions about the document on show: what will be sent, the talk, links to cited pages."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, QUrl, Signal
from PySide6.QtGui import QAction, QActionGroup, QDesktopServices, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QMenu,
    QPlainTextEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.controllers.document_asking import AskPlan, DocumentAsking
from app.controllers.document_controller import DocumentController
from app.controllers.document_questions import Way, linked, target_of
from app.core.conversation import Message, MessageState, Role
from app.core.errors import Failure
from app.ui.chat.markdown import PAGE_SCHEME, is_safe_link
from app.ui.chat.rich_text import RichText
from app.ui.documents.progress import ProgressBar
from app.ui.documents.words import about, count
from app.ui.theme import Theme
from app.ui.widgets.announce import announce
from app.ui.widgets.buttons import IconButton, TextButton
from app.ui.widgets.labels import Card, ElidedLabel, Label

FRAME_MS = 50
WAY_WORDS = {
    Way.WHOLE: "The whole text",
    Way.CHOSEN: "The pages that match the question",
    Way.EACH: "Every page, one part after the other",
}
HINT = "Ask about the pages …"
_WORDS_PER_TOKEN = 0.75  # of European text; said while the machine's speed is not known


class QuestionEdit(QPlainTextEdit):
    """Two lines; Enter asks, Shift-Enter starts a line."""

    submitted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "field")
        self.setAccessibleName("Question about the document")
        self.setPlaceholderText(HINT)
        self.setTabChangesFocus(True)
        self.setFixedHeight(theme.px(56))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter asks."""
        plain = not event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain:
            self.submitted.emit()
        else:
            super().keyPressEvent(event)


class TalkArea(QScrollArea):
    """Tells when the room for the talk has changed."""

    resized = Signal()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The viewport has its new size now."""
        super().resizeEvent(event)
        self.resized.emit()


class TalkRow(QWidget):
    """One message of the talk."""

    linked = Signal(str)

    def __init__(self, theme: Theme, message: Message) -> None:
        super().__init__()
        self._theme = theme
        self.message_id = message.id
        self._asked = message.role is Role.USER
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.px(2))
        self.sent = Label("", "caption", wrap=True)
        self.text = RichText(theme)
        self.text.setAccessibleName("Question" if self._asked else "Answer")
        self.text.link_clicked.connect(self.linked)
        self.state = Label("", "secondary", wrap=True)
        if self._asked:
            card = Card("card")
            inner = QVBoxLayout(card)
            inner.setContentsMargins(*[theme.px(10)] * 4)
            inner.addWidget(self.text)
            inner.addWidget(self.sent)
            column.addWidget(card)
        else:
            column.addWidget(self.text)
            column.addWidget(self.state)

    def show_message(self, message: Message, names: list[tuple[str, str]], width: int) -> None:
        """The message as it is now."""
        self.text.set_width(max(80, width - (self._theme.px(20) + 2 if self._asked else 0)))
        if self._asked:
            self.text.set_plain(message.text)
            files = ", ".join(each.name.removesuffix(".md") for each in message.attachments)
            self.sent.setText(f"with {files}" if files else "")
            self.sent.setVisible(bool(files))
            return
        self.text.set_markdown(linked(message.text, names))
        self.text.setVisible(bool(message.text))
        words, role = _state_words(message)
        self.state.set_role(role)
        self.state.setText(words)
        self.state.setVisible(bool(words))


def _state_words(message: Message) -> tuple[str, str]:
    if message.state is MessageState.FAILED and message.failure is not None:
        return f"{message.failure.message} {message.failure.remedy}".strip(), "danger"
    if message.state is MessageState.STOPPED:
        return "Stopped.", "secondary"
    if message.state is not MessageState.DONE and not message.text:
        return "Reading …", "secondary"
    usage = message.usage
    if usage is not None and usage.prompt and usage.cached > usage.prompt // 2:
        return f"{usage.first_token_s:.1f} s · the text was known already", "caption"
    if usage is not None:
        return f"{usage.first_token_s:.1f} s to read, {usage.total_s:.1f} s in all", "caption"
    return "", "caption"


class AskPane(QWidget):
    """`closed`; `chat_wanted(conversation id)`: open the talk among the chats."""

    closed = Signal()
    chat_wanted = Signal(str)

    def __init__(self, theme: Theme, asking: DocumentAsking, documents: DocumentController) -> None:
        super().__init__()
        self._theme = theme
        self._asking = asking
        self._documents = documents
        self._rows: list[TalkRow] = []
        self._way: Way | None = None
        self.title = ElidedLabel("Ask", "section")
        self.more = IconButton(theme, "ellipsis", "More about these questions")
        self.more.setPopupMode(IconButton.ToolButtonPopupMode.InstantPopup)
        self._more_menu = QMenu(self)
        self._more_menu.aboutToShow.connect(self._fill_more)
        self.more.setMenu(self._more_menu)
        self.close_button = IconButton(theme, "x", "Close the questions")
        self.area = TalkArea()
        self.cost = Label("", "secondary", wrap=True)
        self.way = TextButton(theme, WAY_WORDS[Way.WHOLE], "chip", icon_name="chevron-down")
        self._way_menu = QMenu(self)
        self._way_menu.aboutToShow.connect(self._fill_ways)
        self.way.setMenu(self._way_menu)
        self.bar = ProgressBar("Going through the pages")
        self.bar.hide()
        self.edit = QuestionEdit(theme)
        self.send = TextButton(theme, "Ask", "primary")
        self.stop = TextButton(theme, "Stop", icon_name="square")
        self.stop.hide()
        self._build()
        self._frames = QTimer(self, interval=FRAME_MS, singleShot=True)
        self._frames.timeout.connect(self._show_talk)
        self._connect()

    def _build(self) -> None:
        theme = self._theme
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.more)
        head.addWidget(self.close_button)
        holder = QWidget()
        self._talk = QVBoxLayout(holder)
        self._talk.setContentsMargins(0, 0, theme.px(8), 0)
        self._talk.setSpacing(theme.px(12))
        self._talk.addStretch()
        self.area.setAccessibleName("Questions and answers")
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setWidgetResizable(True)
        self.area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setWidget(holder)
        foot = QHBoxLayout()
        foot.addWidget(self.way)
        foot.addStretch()
        foot.addWidget(self.stop)
        foot.addWidget(self.send)
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(16), theme.px(6), theme.px(12), theme.px(12))
        column.setSpacing(theme.px(8))
        column.addLayout(head)
        column.addWidget(self.area, 1)
        column.addWidget(self.bar)
        column.addWidget(self.cost)
        column.addWidget(self.edit)
        column.addLayout(foot)

    def _connect(self) -> None:
        asking = self._asking
        asking.planned.connect(self._on_plan)
        asking.changed.connect(self._frames.start)
        self.area.resized.connect(self._frames.start)
        asking.busy_changed.connect(self._on_busy)
        asking.step.connect(self._on_step)
        asking.failed.connect(self._on_failed)
        self.edit.textChanged.connect(lambda: asking.think_about(self._question(), self._way))
        self.edit.submitted.connect(self._ask)
        self.send.clicked.connect(self._ask)
        self.stop.clicked.connect(asking.stop)
        self.close_button.clicked.connect(self.closed)

    # --- what others ask -------------------------------------------------------------------------

    @property
    def scope(self) -> tuple[str, ...]:
        """The documents asked about."""
        return self._asking.scope

    def show_document(self, document_id: str) -> None:
        """Ask about this document."""
        self._asking.open(document_id)
        self._show_title()
        self._show_talk()
        self.edit.setFocus()

    def _show_title(self) -> None:
        names = [name for _, name in self._asking.names]
        more = f" and {count(len(names) - 1, 'other')}" if len(names) > 1 else ""
        self.title.setText(f"Ask about {names[0]}{more}" if names else "Ask")

    # --- asking ----------------------------------------------------------------------------------

    def _question(self) -> str:
        return self.edit.toPlainText().strip()

    def _ask(self) -> None:
        if self._question() and self._asking.plan is not None and not self._asking.busy:
            self._asking.ask(self._question())
            self.edit.clear()

    def _on_plan(self, plan: AskPlan) -> None:
        self.cost.setText(plan_words(plan))
        self.way.set_text(WAY_WORDS[plan.way])
        self.send.setEnabled(not self._asking.busy and bool(plan.pages or plan.known))

    def _on_busy(self, busy: bool) -> None:
        self.send.setEnabled(not busy)
        self.stop.setVisible(busy)
        if not busy:
            self.bar.hide()

    def _on_step(self, done: int, total: int) -> None:
        self.bar.show_share(done, total)
        self.bar.show()
        self.cost.setText(f"Part {min(done + 1, total)} of {total} is being read.")

    def _on_failed(self, failure: Failure) -> None:
        self.cost.setText(f"{failure.message} {failure.remedy}".strip())
        announce(self, failure.message)

    # --- the talk --------------------------------------------------------------------------------

    def _show_talk(self) -> None:
        messages = self._asking.messages()
        if [row.message_id for row in self._rows] != [message.id for message in messages]:
            self._rebuild(messages)
        names = self._asking.names
        for row, message in zip(self._rows, messages, strict=True):
            row.show_message(message, names, self._talk_width())
        QTimer.singleShot(0, self, self._to_end)

    def _rebuild(self, messages: list[Message]) -> None:
        for row in self._rows:
            self._talk.removeWidget(row)
            row.hide()
            row.deleteLater()
        self._rows = []
        for message in messages:
            row = TalkRow(self._theme, message)
            row.linked.connect(self._follow)
            self._talk.insertWidget(self._talk.count() - 1, row)
            self._rows.append(row)

    def _talk_width(self) -> int:
        return self.area.viewport().width() - self._theme.px(8)

    def _to_end(self) -> None:
        if self._asking.busy:
            bar = self.area.verticalScrollBar()
            bar.setValue(bar.maximum())

    def _follow(self, link: str) -> None:
        """A citation jumps to its page; any other link opens in the browser."""
        place = target_of(link, self._asking.names)
        if place is not None:
            current = self._documents.current
            if current is not None and current.id == place.document_id:
                self._documents.show_page(place.page)
            else:
                self._documents.show(place.document_id, place.page)
        elif is_safe_link(link) and not link.startswith(PAGE_SCHEME):
            QDesktopServices.openUrl(QUrl(link))

    # --- menus -----------------------------------------------------------------------------------

    def _fill_ways(self) -> None:
        self._way_menu.clear()
        plan = self._asking.plan
        if plan is None:
            return
        group = QActionGroup(self._way_menu)
        for way in plan.ways:
            action = QAction(WAY_WORDS[way], self._way_menu)
            action.setCheckable(True)
            action.setChecked(way is plan.way)
            action.triggered.connect(lambda _c=False, way=way: self._choose(way))
            group.addAction(action)
            self._way_menu.addAction(action)

    def _choose(self, way: Way) -> None:
        self._way = way
        self._asking.think_about(self._question(), way)

    def _fill_more(self) -> None:
        menu = self._more_menu
        menu.clear()
        others = menu.addMenu("Ask About Others, Too")
        scope = self._asking.scope
        for document in self._documents.documents():
            if document.done and document.id != scope[0]:
                action = others.addAction(document.record.name.replace("&", "&&"))
                action.setCheckable(True)
                action.setChecked(document.id in scope)
                action.triggered.connect(lambda _c=False, each=document.id: self._toggle(each))
        others.setEnabled(not others.isEmpty())
        menu.addAction("Begin Again", self._asking.new_talk)
        chat = menu.addAction(
            "Open in Chats",
            lambda: self.chat_wanted.emit(self._asking.chat.conversation.id),
        )
        chat.setEnabled(bool(self._asking.messages()))

    def _toggle(self, document_id: str) -> None:
        scope = self._asking.scope
        if document_id in scope:
            scope = tuple(each for each in scope if each != document_id)
        else:
            scope = (*scope, document_id)
        self._asking.set_scope(scope)
        self._show_title()


def plan_words(plan: AskPlan) -> str:
    """What sending will do and cost, before it is sent."""
    pages = count(len(plan.pages), "page")
    if not plan.pages and not plan.known:
        return "Nothing is read yet; pages can be asked about as soon as they are."
    if plan.way is Way.EACH:
        words = f"All {pages} are gone through in {count(plan.steps - 1, 'part')}"
        return f"{words}{_time(plan)}; the answer is made from the notes."
    if plan.known:
        return "The text is known already: only the question is new."
    if plan.way is Way.WHOLE:
        return f"The whole text fits: {pages}{_time(plan)}."
    chosen = "Page" if len(plan.pages) == 1 else "Pages"
    verb = "was" if len(plan.pages) == 1 else "were"
    return (
        f"Too long to read at once. {chosen} {plan.ranges} of {plan.all_pages:,} {verb} picked by "
        f"searching for the words of the question{_time(plan)}."
    )


def _time(plan: AskPlan) -> str:
    if plan.seconds:
        return f", {about(plan.seconds)} before the answer"
    words = round(plan.tokens * _WORDS_PER_TOKEN, -1) or 10
    return f", about {words:,.0f} words to read first"
