"""Note in `sources.lock` what the sources are now: `vignette refresh`, or `vignette refresh <key>` for one of them.

For sources on the web a refresh means that the next crawl fetches them anew.
"""

import argparse
import datetime
import sys
from typing import Any

from pipelines.shared.crawl_settings import SourceEntry
from pipelines.shared.lock import LOCK_FILE, lock_entry, read_lock, write_lock
from pipelines.shared.params import entry, load_params, plugin_config, split_settings
from pipelines.shared.stage import one_line_errors


def refresh(key: str | None = None) -> tuple[str, ...]:
    """Rewrite `sources.lock` for all sources of `params.yaml`, or for one.

    Returns:
        The sources whose entries have changed.

    Raises:
        ValueError: There is no such source, or it cannot be read.
    """
    params = load_params()
    before = read_lock()
    names = tuple(params.get("sources") or {}) if key is None else (key,)
    noted = {name: _entry(params, name) for name in names}
    write_lock(noted if key is None else before | noted)
    return tuple(name for name in names if noted[name] != before.get(name))


def _entry(params: dict[str, Any], name: str) -> dict[str, Any]:
    where = f"sources.{name}"
    own, rest = split_settings(SourceEntry, entry(params, "sources", name), where)
    module, config = plugin_config("pipelines.sources", rest, where)
    source = module.Source(config)
    return lock_entry(own.serve or source.serves(), source.files(), datetime.datetime.now(datetime.UTC).date())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="vignette refresh", description="Note what the sources are now.")
    parser.add_argument("key", nargs="?", help="a source of params.yaml; all of them when it is left out")
    arguments = parser.parse_args()
    with one_line_errors("refresh"):
        changed = refresh(arguments.key)
        sys.stdout.write(f"{LOCK_FILE}: {'changed: ' + ', '.join(changed) if changed else 'nothing has changed'}\n")


if __name__ == "__main__":
    main()
