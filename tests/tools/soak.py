"""`./run soak NAME [ARGUMENTS]`: trials that take minutes to hours, in full numbers."""

import sys

from tests.tools.figures import run

SOAKS = {
    "kill-engine": ["tests.app_engine", "engine", "50"],
    "kill-app": ["tests.app_engine", "app", "50"],
    "documents-engine": ["tests.documents.kill_trials", "engine", "20"],
    "documents-app": ["tests.documents.kill_trials", "app", "20"],
    "live": ["tests.live.figures"],
}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in SOAKS:
        sys.stderr.write(f"soak: name one of {', '.join(SOAKS)}\n")
        return 2
    return run([*SOAKS[arguments[0]], *arguments[1:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
