"""Downloads a checkpoint into the shared Hugging Face cache; can be interrupted at any moment.

huggingface_hub supplies the listing, addresses, headers and HTTP session; the transfer itself is
done here, because its own no longer resumes after the process was ended. Each file grows as
``blobs/<hash>.part``; it becomes ``blobs/<hash>`` when size and hash agree with the hub's listing,
and the snapshot folder that other programs look at appears only when every file is there. Imports
no MLX.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from mlx_gemma4.errors import HubError

log = logging.getLogger(__name__)

Reason = Literal[
    "offline", "unauthorised", "gated", "not_found", "disk_full", "network", "corrupt", "foreign",
    "busy", "cancelled",
]  # fmt: skip
READ_BYTES = 8 << 20
SPARE_BYTES = 1 << 30
"""Left free on the disk; a full system disk makes the whole Mac misbehave."""
DISK_CHECK_BYTES = 64 << 20
_WANTED = re.compile(r"(?i)[^/]*\.(json|safetensors|jinja|txt|md|model)|[^/]*LICENSE[^/]*")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class DownloadError(HubError):
    """A download that ended; ``reason`` says why in one word, the message in one sentence."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class _RetryError(Exception):
    """The connection broke in a way that may heal.

    ``after``: seconds the server asked to wait; ``reason``: what it means if it never heals.
    """

    def __init__(self, what: str, after: float = 0.0, reason: Reason = "network") -> None:
        super().__init__(what)
        self.after = after
        self.reason: Reason = reason


@dataclass(frozen=True)
class Progress:
    """How far a download is.

    Attributes:
        stage: ``listing``, ``downloading``, ``waiting`` (after a broken connection), ``checking``,
            ``done``.
        done, total: bytes over all files.
        file: the file at work.
        problem: why it waits.
    """

    stage: str
    done: int = 0
    total: int = 0
    file: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Patience:
    """Times in seconds. ``stall``: no connection may stay silent or crawl longer than this.

    ``attempts`` without a single new byte end the download; between them the wait doubles from
    ``first_wait`` to ``longest_wait``. Slower than ``crawl`` bytes a second counts as silent.
    """

    stall: float = 30.0
    attempts: int = 8
    first_wait: float = 1.0
    longest_wait: float = 60.0
    crawl: float = 1024.0


@dataclass(frozen=True)
class _File:
    name: str
    size: int
    digest: str


@dataclass
class _State:
    """What the parts of one download share."""

    repo: str
    headers: dict[str, str]
    patience: Patience
    cancelled: Callable[[], bool]
    free_bytes: Callable[[Path], int]
    report: Callable[[Progress], None]
    progress: Progress = Progress("listing")

    def update(self, **changes: Any) -> None:
        self.progress = replace(self.progress, **changes)
        self.report(self.progress)

    def check_cancelled(self) -> None:
        if self.cancelled():
            raise DownloadError("cancelled", f"The download of {self.repo} was paused.")


def download(
    repo: str,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    cancelled: Callable[[], bool] = lambda: False,
    endpoint: str | None = None,
    token: str | None = None,
    cache: Path | None = None,
    patience: Patience | None = None,
    free_bytes: Callable[[Path], int] | None = None,
) -> Path:
    """Download a Gemma 4 checkpoint, or finish a download begun earlier.

    Args:
        repo: ``owner/name``.
        on_progress: called for every piece that arrives.
        cancelled: asked between pieces; the parts already there are kept.
        endpoint: address of the hub, its public one by default.
        token: access token; the one huggingface_hub knows by default.
        cache: the cache folder, the shared one by default.
        patience: times before giving up.
        free_bytes: free space of the disk a folder lies on.

    Returns:
        The snapshot folder, complete and verified.

    Raises:
        DownloadError: with one sentence and a ``reason``.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers

    if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", repo) or ".." in repo:
        raise DownloadError(
            "not_found", f"{repo!r} is no repository name; it looks like owner/name."
        )
    state = _State(
        repo,
        {**build_hf_headers(token=token), "accept-encoding": "identity"},
        patience or Patience(),
        cancelled,
        free_bytes or (lambda folder: shutil.disk_usage(folder).free),
        on_progress,
    )
    state.update(stage="listing")
    commit, files = _listing(state, endpoint, token)
    folder = (cache or Path(constants.HF_HUB_CACHE)) / f"models--{repo.replace('/', '--')}"
    blobs = folder / "blobs"
    try:
        blobs.mkdir(parents=True, exist_ok=True)
        with _exclusive(folder / ".download-lock", repo):
            _fetch_all(state, files, blobs, commit, endpoint)
            snapshot = _publish(folder, commit, files)
    except OSError as problem:
        raise _disk_problem(problem) from problem
    state.update(stage="done", done=state.progress.total, file="")
    return snapshot


# --- what there is to get ------------------------------------------------------------------------


def _listing(state: _State, endpoint: str | None, token: str | None) -> tuple[str, list[_File]]:
    """The commit and the wanted files with size and hash, small ones first."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=token)

    def ask() -> Any:
        try:
            return api.model_info(state.repo, files_metadata=True, timeout=state.patience.stall)
        except Exception as problem:
            raise _sorted(problem, state.repo) from problem

    info = _retrying(state, ask)
    try:
        files = [_file(sibling) for sibling in info.siblings if _wanted(sibling.rfilename)]
        commit = str(info.sha)
    except (TypeError, AttributeError, ValueError) as problem:
        raise _portal(state.repo) from problem
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise _portal(state.repo)
    if not any(file.name.endswith(".safetensors") for file in files):
        raise DownloadError(
            "foreign", f"{state.repo} holds no safetensors weights; choose another."
        )
    return commit, sorted(files, key=lambda file: file.size)


def _wanted(name: str) -> bool:
    """Files of a checkpoint, at the top of the repository only (no path can leave the folder)."""
    return bool(_WANTED.fullmatch(name)) and name not in (".", "..") and "\\" not in name


def _file(sibling: Any) -> _File:
    digest = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    size = sibling.lfs.size if sibling.lfs else sibling.size
    if not isinstance(size, int) or size < 0 or not _HASH.fullmatch(str(digest)):
        raise ValueError(f"{sibling.rfilename}: no size or hash")
    return _File(sibling.rfilename, size, digest)


# --- fetching ------------------------------------------------------------------------------------


def _fetch_all(
    state: _State, files: list[_File], blobs: Path, commit: str, endpoint: str | None
) -> None:
    for file in files:
        _drop_wrong_size(blobs / file.digest, file)
    total = sum(file.size for file in files)
    done = sum(_present(blobs, file) for file in files)
    state.update(stage="downloading", done=done, total=total)
    _check_room(state, blobs, total - done)
    for file in files:
        if not _intact(state, blobs / file.digest, file):
            _fetch_verified(state, file, blobs, commit, endpoint)
        if file.name == "config.json":
            _check_gemma(state.repo, blobs / file.digest)


def _drop_wrong_size(blob: Path, file: _File) -> None:
    """A cut file would otherwise stay damaged however often the model is downloaded."""
    if blob.is_file() and blob.stat().st_size != file.size:
        log.warning("%s has a wrong size and is downloaded again", file.name)
        blob.unlink()


def _intact(state: _State, blob: Path, file: _File) -> bool:
    """Whether the file of an earlier download is there with its hash; a damaged one is removed."""
    if not blob.is_file():
        return False
    state.update(stage="checking", file=file.name)
    try:
        if _digest(blob, file, state.check_cancelled) == file.digest:
            return True
    except OSError as problem:
        log.warning("%s cannot be read: %s", file.name, problem)
    log.warning("%s is damaged and is downloaded again", file.name)
    blob.unlink()
    state.update(stage="downloading", done=state.progress.done - file.size)
    return False


def _present(blobs: Path, file: _File) -> int:
    for name in (file.digest, f"{file.digest}.part"):
        with contextlib.suppress(FileNotFoundError):
            return min((blobs / name).stat().st_size, file.size)
    return 0


def _check_gemma(repo: str, config: Path) -> None:
    """Before gigabytes: is it Gemma 4 at all?"""
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type", "")
    except (ValueError, AttributeError):
        kind = ""
    if not str(kind).startswith("gemma4"):
        raise DownloadError("foreign", f"{repo} is not a Gemma 4 checkpoint ({kind or 'unknown'}).")


def _fetch_verified(
    state: _State, file: _File, blobs: Path, commit: str, endpoint: str | None
) -> None:
    """Get one file; a wrong hash is tried once more from the beginning."""
    part = blobs / f"{file.digest}.part"
    before = state.progress.done - _present(blobs, file)
    for last in (False, True):
        _retrying(state, lambda: _transfer(state, file, part, before, commit, endpoint), part)
        state.update(stage="checking", file=file.name)
        if _digest(part, file, state.check_cancelled) == file.digest:
            part.replace(blobs / file.digest)
            return
        log.warning("%s has a wrong hash", file.name)
        part.unlink()
        state.update(stage="downloading", done=before)
        if last:
            raise DownloadError(
                "corrupt",
                f"{file.name} arrived damaged twice; try again later or on another network.",
            )


def _retrying(state: _State, work: Callable[[], Any], part: Path | None = None) -> Any:
    """Run `work` until it succeeds; waits double, new bytes in `part` start the count again."""
    attempt, size = 0, -1
    while True:
        state.check_cancelled()
        try:
            return work()
        except _RetryError as problem:
            grown = part.stat().st_size if part is not None and part.exists() else 0
            attempt = 1 if grown > size >= 0 else attempt + 1
            size = grown
            if attempt >= state.patience.attempts:
                raise DownloadError(
                    problem.reason,
                    f"The download of {state.repo} got stuck ({problem}); "
                    "check the connection and resume it.",
                ) from problem
            _wait(state, attempt, problem)


def _wait(state: _State, attempt: int, problem: _RetryError) -> None:
    patience = state.patience
    wait = min(patience.first_wait * 2 ** (attempt - 1), patience.longest_wait)
    wait = max(wait, min(problem.after, patience.longest_wait))
    state.update(stage="waiting", problem=str(problem))
    until = time.monotonic() + wait
    while (left := until - time.monotonic()) > 0:
        state.check_cancelled()
        time.sleep(min(left, 0.1))
    state.update(stage="downloading", problem="")


def _transfer(
    state: _State, file: _File, part: Path, before: int, commit: str, endpoint: str | None
) -> None:
    """Append to the part until it has its full size; _RetryError where a new try may help."""
    from huggingface_hub import get_session, hf_hub_url

    with part.open("ab") as target:
        have = target.tell()
        if have > file.size:
            target.truncate(0)
            have = 0
        if have == file.size:
            return
        url = hf_hub_url(state.repo, file.name, revision=commit, endpoint=endpoint)
        headers = dict(state.headers)
        if have:
            headers["range"] = f"bytes={have}-"
        try:
            timeout = state.patience.stall
            stream = get_session().stream("GET", url, headers=headers, timeout=timeout)
            with stream as response:
                have = _accept(state.repo, response, file, target, have)
                _append(state, response, file, target, have, before)
        except (_RetryError, DownloadError, OSError) as problem:
            raise problem
        except Exception as problem:
            raise _sorted(problem, state.repo) from problem


def _accept(repo: str, response: Any, file: _File, target: IO[bytes], have: int) -> int:
    """Check status and kind of the answer; returns where the new bytes belong."""
    status = response.status_code
    if status == 416:
        target.truncate(0)
        raise _RetryError("the server does not know this range")
    if status >= 400:
        raise _status_problem(repo, status, response.headers)
    kind = response.headers.get("content-type", "")
    if kind.startswith("text/html"):
        raise _portal(repo)
    if status == 206:
        started = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
        if not started or int(started.group(1)) != have:
            raise _RetryError("the server sent another range than asked for")
        return have
    target.truncate(0)
    return 0


def _append(
    state: _State, response: Any, file: _File, target: IO[bytes], have: int, before: int
) -> None:
    window, mark = time.monotonic(), have
    checked = have
    for chunk in response.iter_bytes():  # as they arrive: a break loses nothing
        state.check_cancelled()
        if have + len(chunk) > file.size:
            target.truncate(0)
            raise _RetryError(f"{file.name} is longer than announced")
        target.write(chunk)
        have += len(chunk)
        state.update(stage="downloading", done=before + have, file=file.name)
        if have - checked >= DISK_CHECK_BYTES:
            checked = have
            _check_room(state, Path(target.name).parent, 0)
        if (now := time.monotonic()) - window > state.patience.stall:
            if have - mark < state.patience.crawl * (now - window):
                raise _RetryError("the connection hardly moves")
            window, mark = now, have
    if have < file.size:
        raise _RetryError(f"the connection ended {file.size - have} bytes early")


def _digest(path: Path, file: _File, check_cancelled: Callable[[], None]) -> str:
    """sha256 of large files, git's blob hash of small ones, as the hub lists them."""
    if len(file.digest) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as source:
        while chunk := source.read(READ_BYTES):
            check_cancelled()
            digest.update(chunk)
    return digest.hexdigest()


def _publish(folder: Path, commit: str, files: list[_File]) -> Path:
    """Make the snapshot in the layout huggingface_hub reads; it appears complete or not at all.

    One that exists is mended link by link: other programs may have put more files into it.
    """
    snapshot = folder / "snapshots" / commit
    making = folder / "snapshots" / f"{commit}.making"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for file in files:
        (making / file.name).symlink_to(Path("../../blobs") / file.digest)
    if snapshot.is_dir():
        for link in list(making.iterdir()):
            link.replace(snapshot / link.name)
        making.rmdir()
    else:
        making.rename(snapshot)
    _refer(folder, commit)
    return snapshot


def _refer(folder: Path, commit: str) -> None:
    """Let ``refs/main`` name the commit; a reader sees the old or the new one, never half."""
    reference = folder / "refs" / "main"
    reference.parent.mkdir(exist_ok=True)
    making = folder / ".main.making"
    making.write_text(commit, encoding="utf-8")
    making.replace(reference)


@contextlib.contextmanager
def _exclusive(path: Path, repo: str) -> Iterator[None]:
    """One download of a repository at a time, over all processes; freed when a process dies."""
    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise DownloadError("busy", f"{repo} is being downloaded already.") from problem
        yield


# --- words for what went wrong -------------------------------------------------------------------


def _check_room(state: _State, folder: Path, needed: int) -> None:
    free = state.free_bytes(folder)
    if free < needed + SPARE_BYTES:
        missing = needed + SPARE_BYTES - free
        raise DownloadError(
            "disk_full",
            f"The disk has {free / 1e9:.1f} GB free; free {max(missing / 1e9, 0.1):.1f} GB more "
            "and resume the download.",
        )


def _disk_problem(problem: OSError) -> DownloadError:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadError("disk_full", "The disk is full; free some space and resume.")
    name = os.fspath(problem.filename) if problem.filename else "The cache folder"
    return DownloadError("disk_full", f"{name} cannot be written ({problem.strerror}).")


def _portal(repo: str) -> DownloadError:
    return DownloadError(
        "network",
        f"A web page came instead of {repo}; sign in to this network (hotel, office) and resume.",
    )


def _status_problem(repo: str, status: int, headers: Any) -> Exception:
    """The words for an HTTP status, or _RetryError where it may pass."""
    if status in _TRANSIENT:
        after = str(headers.get("retry-after", ""))
        return _RetryError(
            f"the server answered {status}", float(after) if after.isdigit() else 0.0
        )
    page = f"huggingface.co/{repo}"
    if headers.get("x-error-code") == "GatedRepo":
        return DownloadError(
            "gated", f"{repo} asks you to accept its licence; do that at {page}, then resume."
        )
    if status == 401:
        return DownloadError(
            "unauthorised",
            f"{repo} does not exist or needs a Hugging Face sign-in; check the name at {page}.",
        )
    if status == 403:
        return DownloadError(
            "unauthorised", f"Your Hugging Face account may not download {repo}; ask at {page}."
        )
    if status == 404:
        return DownloadError("not_found", f"{repo} was not found; check the name at {page}.")
    return DownloadError(
        "network", f"The server refused {repo} (status {status}); try again later."
    )


def _sorted(problem: Exception, repo: str) -> Exception:
    """What huggingface_hub or its HTTP library raised, as one of ours; unknown ones unchanged."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(problem, (DownloadError, _RetryError)):
        return problem
    if isinstance(problem, OfflineModeIsEnabled):
        return DownloadError("offline", "Hugging Face is switched to offline mode on this machine.")
    response = getattr(problem, "response", None)
    if isinstance(problem, HfHubHTTPError) and response is not None:
        return _status_problem(repo, response.status_code, response.headers)
    names = {kind.__name__ for kind in type(problem).__mro__}
    if "ConnectError" in names:
        return _RetryError("no connection to the server", reason="offline")
    if names & {"TimeoutException", "NetworkError", "RemoteProtocolError", "TransportError"}:
        return _RetryError(f"the connection broke: {type(problem).__name__}")
    if isinstance(problem, ValueError):  # JSON expected, something else came
        return _portal(repo)
    return problem
