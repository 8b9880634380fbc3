"""``python -m glassnet`` is the ``glassnet`` command."""

from glassnet.cli import main

main()
