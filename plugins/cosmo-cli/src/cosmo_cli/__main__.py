"""``python -m cosmo_cli`` is `cosmo`."""

from __future__ import annotations

from cosmo_cli.app import main

if __name__ == "__main__":
    main()
