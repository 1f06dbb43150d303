"""Entry point of ``python -m edge_app``."""

import sys

try:
    from edge_app.cli import main
except ModuleNotFoundError as error:
    if error.name is None or error.name.split(".")[0] == "edge_app":
        raise
    # Not even 'doctor' runs without the packages that everything needs.
    print(
        f"the package {error.name} is not installed in {sys.prefix}; pip install '.[cpu]', or '.[coral]' for a TPU",
        file=sys.stderr,
    )
    sys.exit(2)

if __name__ == "__main__":
    main()
