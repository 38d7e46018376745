"""Runs the kill trials: `python -m tests.app_engine engine|app COUNT`.

Imports nothing at the top, so that the engine's process starts as it does under the real app.
"""

import sys

if __name__ == "__main__":
    from tests.app_engine.kill_trials import main

    sys.exit(main(sys.argv[1:]))
