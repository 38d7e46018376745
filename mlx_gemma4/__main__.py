"""``python -m mlx_gemma4`` is the command ``mlx-gemma4``."""

import sys

from mlx_gemma4.cli import main

if __name__ == "__main__":
    sys.exit(main())
