#!/usr/local/bin/python
"""Starts Synapse: `run` (the default), `generate` or `migrate_config`."""

import glob
import os
import sys
from pathlib import Path

PYTHON = "/usr/local/bin/python"


def fail(text):
    print(f"start.py: {text}", file=sys.stderr, flush=True)
    raise SystemExit(2)


def needed(name):
    value = os.environ.get(name)
    if not value:
        fail(f"set the environment variable {name}")
    return value


def config_paths():
    directory = os.environ.get("SYNAPSE_CONFIG_DIR", "/data")
    return directory, os.environ.get("SYNAPSE_CONFIG_PATH", f"{directory}/homeserver.yaml")


def drop_root(paths):
    """As root: hands `paths` to the wanted user and becomes that user."""
    if os.getuid() != 0:
        return
    uid, gid = int(os.environ.get("UID", 991)), int(os.environ.get("GID", 991))
    for top in paths:
        for path in [top, *(os.path.join(at, name) for at, ds, fs in os.walk(top) for name in ds + fs)]:
            if os.path.lexists(path) and (os.lstat(path).st_uid, os.lstat(path).st_gid) != (uid, gid):
                os.lchown(path, uid, gid)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def execute(arguments):
    allocator = glob.glob("/usr/lib/*/libjemalloc.so.2")
    if allocator and "LD_PRELOAD" not in os.environ:
        os.environ["LD_PRELOAD"] = allocator[0]
    os.execv(PYTHON, [PYTHON, *arguments])


def run(arguments):
    if "-m" not in arguments:
        arguments = ["-m", os.environ.get("SYNAPSE_WORKER", "synapse.app.homeserver"), *arguments]
    directory, config = config_paths()
    if not any(argument.startswith(("--config-path", "-c")) for argument in arguments):
        if not Path(config).exists():
            fail(
                f"there is no configuration at {config}; mount one there, or make one with the argument"
                " `generate` and the variables SYNAPSE_SERVER_NAME and SYNAPSE_REPORT_STATS"
            )
        arguments = [*arguments, "--config-path", config]
    drop_root([directory])
    execute(arguments)


def generate():
    """Has Synapse write a configuration, or the files that an existing one lacks."""
    server_name, report_stats = needed("SYNAPSE_SERVER_NAME"), needed("SYNAPSE_REPORT_STATS")
    directory, config = config_paths()
    data = os.environ.get("SYNAPSE_DATA_DIR", "/data")
    os.makedirs(directory, exist_ok=True)
    drop_root([directory, data])
    # Synapse leaves files in the directory that it runs in.
    os.chdir(data)
    execute(
        [
            *("-m", "synapse.app.homeserver"),
            *("--server-name", server_name),
            *("--report-stats", report_stats),
            *("--config-path", config),
            *("--config-directory", directory),
            *("--data-directory", data),
            *("--generate-config", "--open-private-ports"),
        ]
    )


def main():
    mode, *arguments = sys.argv[1:] or ["run"]
    if mode == "run":
        run(arguments)
    elif mode in ("generate", "migrate_config"):
        generate()
    else:
        fail(f"unknown mode `{mode}`; there are run, generate and migrate_config")


main()
