"""The menu bar. On a Mac the roles put About, Settings, Services and Quit where they belong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QApplication, QMainWindow, QMenu

from app.controllers.settings_controller import SettingsController

Call = Callable[[], object]


@dataclass(frozen=True)
class MenuCalls:
    """What the menu entries do."""

    new_chat: Call
    open_files: Call
    open_path: Callable[[str], object]
    import_chat: Call
    export_chat: Call
    search: Call
    find_chat: Call
    settings: Call
    about: Call
    doctor: Call
    licences: Call
    show_page: Callable[[str], object]
    stop: Call
    text_size: Callable[[int], object]
    toggle_sidebar: Call
    delete_chat: Call
    undo_delete: Call


class Menus:
    """Builds the menu bar of `window`; `actions` finds an entry by its key."""

    def __init__(self, window: QMainWindow, calls: MenuCalls, settings: SettingsController) -> None:
        self._window = window
        self._calls = calls
        self._settings = settings
        self.actions: dict[str, QAction] = {}
        window.menuBar().setAccessibleName("Menu bar")
        self._build_file()
        self._build_edit()
        self._build_view()
        self._build_window()
        self._build_help()

    def add_page(self, key: str, title: str, before: str = "") -> None:
        """Put a page into the View menu, above the page `before` where that is named."""
        action = self._add(
            self._pages, f"page-{key}", title, None, lambda: self._calls.show_page(key)
        )
        follower = self.actions.get(f"page-{before}")
        if follower is not None:
            self._pages.insertAction(follower, action)

    def number_pages(self, keys: Iterable[str]) -> None:
        """Command and a digit lead to the pages in this order."""
        for number, key in enumerate(keys, 1):
            self.actions[f"page-{key}"].setShortcut(QKeySequence(f"Ctrl+{number}"))

    def add_update_check(self, call: Call) -> None:
        """An entry that asks for a newer version, beside "About"."""
        role = QAction.MenuRole.ApplicationSpecificRole
        self._add(self._help, "updates", "Check for Updates …", None, call, role)

    def _add(
        self,
        menu: QMenu,
        key: str,
        title: str,
        shortcut: str | QKeySequence.StandardKey | None,
        call: Call,
        role: QAction.MenuRole = QAction.MenuRole.NoRole,
    ) -> QAction:
        action = QAction(title, self._window)
        if shortcut is not None:
            action.setShortcut(QKeySequence(shortcut))
        action.setMenuRole(role)
        action.triggered.connect(lambda _checked=False: call())
        menu.addAction(action)
        self.actions[key] = action
        return action

    def add_to_edit(self, key: str, title: str, shortcut: str, call: Call) -> None:
        """Put a command of a page that is made later into the Edit menu."""
        self._add(self._edit, key, title, shortcut, call)

    def _build_file(self) -> None:
        menu = self._window.menuBar().addMenu("&File")
        add = self._add
        add(menu, "new", "New Chat", QKeySequence.StandardKey.New, self._calls.new_chat)
        add(menu, "open", "Open …", QKeySequence.StandardKey.Open, self._calls.open_files)
        self.recent = menu.addMenu("Open Recent")
        self.recent.aboutToShow.connect(self._fill_recent)
        menu.addSeparator()
        add(menu, "import", "Import Chat …", None, self._calls.import_chat)
        add(menu, "export", "Export Chat …", "Ctrl+Shift+E", self._calls.export_chat)
        menu.addSeparator()
        role = QAction.MenuRole.PreferencesRole
        add(menu, "settings", "Settings …", "Ctrl+,", self._calls.settings, role)
        close = QKeySequence.StandardKey.Close
        add(menu, "close", "Close Window", close, self._window.close)
        quit_role = QAction.MenuRole.QuitRole
        quit_key = QKeySequence.StandardKey.Quit
        add(menu, "quit", "Quit Facet", quit_key, QApplication.quit, quit_role)

    def _build_edit(self) -> None:
        menu = self._edit = self._window.menuBar().addMenu("&Edit")
        for key, title, standard, slot in (
            ("undo", "Undo", QKeySequence.StandardKey.Undo, "undo"),
            ("redo", "Redo", QKeySequence.StandardKey.Redo, "redo"),
            ("cut", "Cut", QKeySequence.StandardKey.Cut, "cut"),
            ("copy", "Copy", QKeySequence.StandardKey.Copy, "copy"),
            ("paste", "Paste", QKeySequence.StandardKey.Paste, "paste"),
            ("select-all", "Select All", QKeySequence.StandardKey.SelectAll, "selectAll"),
        ):
            self._add(menu, key, title, standard, lambda slot=slot: call_on_focus(slot))
        menu.addSeparator()
        self._add(menu, "find", "Find in Chats", "Ctrl+F", self._calls.search)
        self._add(menu, "jump", "Go to Chat …", "Ctrl+K", self._calls.find_chat)
        menu.addSeparator()
        self._add(menu, "delete", "Delete Chat", "Ctrl+Backspace", self._calls.delete_chat)
        self._add(menu, "undelete", "Bring Deleted Chat Back", None, self._calls.undo_delete)

    def _build_view(self) -> None:
        menu = self._window.menuBar().addMenu("&View")
        self._pages = menu
        size = self._calls.text_size
        zoom_in, zoom_out = QKeySequence.StandardKey.ZoomIn, QKeySequence.StandardKey.ZoomOut
        self._add(menu, "larger", "Larger Text", zoom_in, lambda: size(10))
        self._add(menu, "smaller", "Smaller Text", zoom_out, lambda: size(-10))
        self._add(menu, "normal", "Normal Text", "Ctrl+0", lambda: size(0))
        self._add(menu, "sidebar", "Side Bar", "Ctrl+Alt+S", self._calls.toggle_sidebar)
        self._add(menu, "stop", "Stop the Answer", "Ctrl+.", self._calls.stop)
        menu.addSeparator()

    def _build_window(self) -> None:
        menu = self._window.menuBar().addMenu("&Window")
        self._add(menu, "minimise", "Minimise", "Ctrl+M", self._window.showMinimized)
        self._add(menu, "zoom", "Zoom", None, self._toggle_zoom)

    def _build_help(self) -> None:
        menu = self._help = self._window.menuBar().addMenu("&Help")
        role = QAction.MenuRole.AboutRole
        self._add(menu, "about", "About Facet", None, self._calls.about, role)
        self._add(menu, "doctor", "Doctor", None, self._calls.doctor)
        self._add(menu, "licences", "Licences", None, self._calls.licences)

    def _toggle_zoom(self) -> None:
        if self._window.isMaximized():
            self._window.showNormal()
        else:
            self._window.showMaximized()

    def _fill_recent(self) -> None:
        self.recent.clear()
        for path in self._settings.settings.recent_files:
            name = PurePath(path).name.replace("&", "&&")
            self.recent.addAction(name, lambda path=path: self._calls.open_path(path))
        if self.recent.isEmpty():
            self.recent.addAction("Nothing yet").setEnabled(False)
            return
        self.recent.addSeparator()
        self.recent.addAction("Clear List", lambda: self._settings.set("recent_files", ()))


def call_on_focus(slot: str) -> None:
    """Run an edit command on the field that has the keyboard, where it knows it."""
    method = getattr(QApplication.focusWidget(), slot, None)
    if callable(method):
        method()
