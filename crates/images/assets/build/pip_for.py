"""pip_for.py VERSION MACHINE ARGUMENT...: pip, judging requirements as another Python would.

`pip --python-version` picks the right files, but asks this machine's Python which requirements
apply (`python_version >= "3.13"`). This answers for the Python that the packages are for.
"""

import sys

from pip._vendor.packaging import markers

version, machine, *arguments = sys.argv[1:]
here = markers.default_environment
markers.default_environment = lambda: {
    **here(),
    "implementation_name": "cpython",
    "implementation_version": f"{version}.0",
    "os_name": "posix",
    "platform_machine": machine,
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": f"{version}.0",
    "python_version": version,
    "sys_platform": "linux",
}

from pip._internal.cli.main import main  # noqa: E402 (after the change above)

sys.exit(main(arguments))
