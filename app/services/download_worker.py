"""The helper process of one download: killed to pause, started again to resume. No Qt, no MLX.

Sends plain tuples: ("progress", stage, done, total, file, problem), then ("finished", path) or
("failed", reason, sentence).
"""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection

REPORT_SECONDS = 0.2


def work(connection: Connection, repo: str, endpoint: str, cache: str) -> None:
    """Entry of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The person asked for this download: it is the one place that may use the network.
    os.environ["HF_HUB_OFFLINE"] = "0"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from pathlib import Path

    from mlx_gemma4.hub_download import DownloadError, Progress, download

    last = [0.0, ""]

    def report(progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage == last[1] and now - float(last[0]) < REPORT_SECONDS:
            return
        last[:] = [now, progress.stage]
        connection.send(
            (
                "progress",
                progress.stage,
                progress.done,
                progress.total,
                progress.file,
                progress.problem,
            )
        )

    parent = os.getppid()
    try:
        folder = download(
            repo,
            on_progress=report,
            cancelled=lambda: os.getppid() != parent,
            endpoint=endpoint or None,
            cache=Path(cache) if cache else None,
        )
        connection.send(("finished", str(folder)))
    except DownloadError as problem:
        connection.send(("failed", problem.reason, str(problem)))
    except (BrokenPipeError, ConnectionResetError):
        return  # the window is gone; what came so far stays for the next time
