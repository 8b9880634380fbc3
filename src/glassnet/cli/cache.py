"""The commands for the cache of decoded images."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from glassnet.cli.app import Json, cache, show, table
from glassnet.errors import DataError


@cache.command("list", epilog="Example: glassnet cache list")
def list_sources(as_json: Json = False) -> None:
    """List the data in the cache: decoded images, bytes on the disk, days since it was last used."""
    from glassnet.data.cache.folder import cache_folder
    from glassnet.data.cache_upkeep import list_cache
    from glassnet.formats import format_bytes, pluralize

    listed = list_cache()
    rows = [
        {
            "data": cached.source,
            "images": ", ".join(f"{count:,} of {size}" for size, count in cached.images.items()) or "scans alone",
            "disk": format_bytes(cached.nbytes),
            "unused": pluralize(round(cached.idle_days), "day"),
            "": "" if cached.is_there else "the data are gone",
        }
        for cached in listed
    ]
    total = f"{cache_folder()}: {format_bytes(sum(cached.nbytes for cached in listed))}."
    data = {"folder": str(cache_folder()), "sources": list(map(asdict, listed))}
    show(data, f"{table(rows)}\n{total}" if rows else total, as_json)


@cache.command(epilog="Example: glassnet cache prune --days 30")
def prune(
    days: Annotated[
        float | None, typer.Option(help="Remove also what was not used for this number of days.", min=0)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything.")] = False,
    as_json: Json = False,
) -> None:
    """Remove images from the cache: those whose data are gone, and those that another Pillow decoded.

    Images of single files that were deleted stay while their data are there. When they are more than half, the next
    training decodes all again; --all does it now.
    """
    from glassnet.data.cache_upkeep import prune_cache
    from glassnet.formats import format_bytes

    removed = prune_cache(days, everything)
    lines = [f"Removed {cached.source}: {format_bytes(cached.nbytes)}." for cached in removed]
    show({"removed": list(map(asdict, removed))}, "\n".join(lines) or "Nothing was removed.", as_json)


@cache.command(epilog="Example: glassnet cache verify")
def verify(as_json: Json = False) -> None:
    """Compare the cache with its checksums, and with the files it was decoded from, also where no time has changed.

    What differs is decoded again when it is next used. The exit code is 1 then.
    """
    from glassnet.data.cache_upkeep import verify_cache
    from glassnet.data.files.listing import name_some
    from glassnet.formats import pluralize

    verified = verify_cache()
    lines = []
    for source in verified:
        line = (
            f"{source.source}: {pluralize(source.n_images, 'decoded image')}, {source.n_damaged:,} damaged; "
            f"{pluralize(source.n_files, 'file')} read, {len(source.changed_files):,} changed"
        )
        line += f" ({name_some(source.changed_files)})" if source.changed_files else ""
        lines.append(f"{line}; {source.problem}" if source.problem else line)
    show({"sources": list(map(asdict, verified))}, "\n".join(lines) or "The cache is empty.", as_json)
    if wrong := [source.source for source in verified if not source.is_sound]:
        raise DataError(
            f"The cache must be as the files are. Got damaged or changed images of {name_some(wrong)}. They are "
            "decoded again when they are next used."
        )
