"""Checks, inside the image, that Synapse has all that it asks for and can be loaded."""

import sys
from importlib import import_module, metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = sys.argv[1].split(",") + ["postgres"]


def missing(name, extras, seen):
    """Names what is absent or of a wrong version, beneath the package `name`."""
    for text in metadata.requires(name) or []:
        need = Requirement(text)
        if need.marker and not any(need.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        try:
            version = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            yield f"{name} needs {need}"
            continue
        if not need.specifier.contains(version, prereleases=True):
            yield f"{name} needs {need}, but {version} is here"
        key = (canonicalize_name(need.name), tuple(sorted(need.extras)))
        if key not in seen:
            seen.add(key)
            yield from missing(need.name, [*need.extras, ""], seen)


problems = list(missing("matrix-synapse", [*EXTRAS, ""], set()))
if problems:
    sys.exit("\n".join(problems))
for module in (
    "synapse.app.homeserver",
    "synapse.app.generic_worker",
    "synapse.config.__main__",
    "authlib",
    "hiredis",
    "psycopg2",
    "txredisapi",
):
    import_module(module)
