"""`python -m steer` is `steer`."""

from ._cli import main

main()
