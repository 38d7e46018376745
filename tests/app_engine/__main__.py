"""Kill trials and figures: `python -m tests.app_engine engine|app|figures [COUNT]`.

Imports nothing at the top, so that the engine's process starts as it does under the real app.
"""

import sys

if __name__ == "__main__":
    if sys.argv[1] == "figures":
        from tests.app_engine.figures import main as measure

        sys.exit(measure(int(sys.argv[2]) if len(sys.argv) > 2 else 20))
    from tests.app_engine.kill_trials import main

    sys.exit(main(sys.argv[1:]))
