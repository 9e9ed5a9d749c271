"""Entry point of ``python -m cosmo_core_cli``, the same as `cosmo`."""

from __future__ import annotations

from cosmo_core_cli.app import main

if __name__ == "__main__":
    main()
