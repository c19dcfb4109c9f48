"""Each workflow composes the rooms below and can be resumed. All of them find our own policies."""

import metamon_ext.wiring  # noqa: F401
