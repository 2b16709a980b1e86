"""Compiles the hot modules; all else is in pyproject.toml.

Each hot module is an ordinary Python file with a ``.pxd`` of the same stem beside it (Cython's pure-Python mode).
Compiled, it shadows the ``.py``; where it could not be compiled the ``.py`` runs, and nothing but speed is lost.

Environment:
    WASCLEAN_PURE=1     compile nothing.
    REQUIRE_CYTHON=1    a compilation that fails is an error; otherwise it is a warning and gives the pure build.
    WASCLEAN_SANITIZE=1 let AddressSanitizer and UndefinedBehaviorSanitizer look on: for `make asan` and gcc only.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Lock

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Sources below src/. An entry without its .pxd is not compiled.
HOT = [
    "wasclean/dom/event.py",
    "wasclean/dom/event_target.py",
    "wasclean/wire/octets.pyx",
    "wasclean/wire/frames.py",
    "wasclean/wire/messages.py",
    "wasclean/wire/receiver.py",
    "wasclean/wire/prepared.py",
    "wasclean/wire/sender.py",
    "wasclean/closing/liveness.py",
    "wasclean/closing/handshake.py",
    "wasclean/connection.py",
    "wasclean/socket/host.py",
    "wasclean/socket/awaitables.py",
    "wasclean/socket/eager_tasks.py",
    "wasclean/socket/inbox.py",
    "wasclean/socket/session.py",
    "wasclean/socket/listeners.py",
    "wasclean/socket/websocket.py",
    "wasclean/socket/broadcast.py",
    "wasclean/aio/services.py",
    "wasclean/aio/interface.py",
    "wasclean/aio/readiness.pyx",
    "wasclean/aio/poller.py",
    "wasclean/aio/epoll.py",
    "wasclean/aio/tls.py",
    "wasclean/aio/tls_transport.py",
    "wasclean/aio/established.py",
    "wasclean/aio/draining.py",
    "wasclean/aio/driver.py",
]

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # the types are in the .pxd; "-> int" beside "cpdef int f()" would not compile
}

SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]  # all: what is found ends the process

WARNING = """\
************************************************************************************************
WARNING: wasclean could not be compiled, so this is the pure Python build: complete, but slower.
         Compiling takes a C compiler and Python's headers (Debian: gcc and python3-dev).
         REQUIRE_CYTHON=1 makes this an error, WASCLEAN_PURE=1 asks for the pure build.
         The reason: {reason}
************************************************************************************************"""


def enabled(switch: str) -> bool:
    """Whether the environment variable is set to something that means yes."""
    return os.environ.get(switch, "") not in ("", "0")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class BuildExtensions(build_ext):
    """Compiles all extensions or leaves none: they call one another's C functions, so half of them would not run."""

    def build_extensions(self) -> None:
        """Translate and compile, as many at once as there are cores; upon failure fall back to the pure build.

        Where REQUIRE_CYTHON forbids that, what failed is raised.
        """
        self.begun = count(1)
        self.translating = Lock()  # Cython translates one module at a time; it is the C compiler that takes long
        try:
            with ThreadPoolExecutor(self.parallel or cores()) as pool:
                list(pool.map(self.build_extension, self.extensions))
        except Exception as error:
            if enabled("REQUIRE_CYTHON"):
                raise
            print(WARNING.format(reason=f"{type(error).__name__}: {error}"), file=sys.stderr)
            self.discard()

    def build_extension(self, extension: Extension) -> None:
        """Say which module it is, translate it, and compile it."""
        with self.translating:
            total = str(len(self.extensions))
            print(f"[{next(self.begun):{len(total)}}/{total}] {extension.name}", flush=True)
            self.translate(extension)
        super().build_extension(extension)

    def translate(self, extension: Extension) -> None:
        """Turn the Python or Cython source into C, below build/ and never in src/."""
        from Cython.Build import cythonize

        if self.compiler.compiler_type != "msvc":
            extension.extra_compile_args = ["-O3", "-g0"]
            if enabled("WASCLEAN_SANITIZE"):
                extension.extra_compile_args = ["-O1", "-g", "-fno-omit-frame-pointer", *SANITIZERS]
                extension.extra_link_args = SANITIZERS
        (translated,) = cythonize(
            [extension],
            build_dir="build/cython",
            include_path=["src"],
            compiler_directives=DIRECTIVES,
            force=self.force,
            quiet=True,
        )
        extension.sources = translated.sources

    def discard(self) -> None:
        """Remove what was compiled, now or by an earlier build: a stale module would shadow its source."""
        for extension in self.extensions:
            filename = self.get_ext_filename(extension.name)
            for root in (self.build_lib, "src"):
                Path(root, filename).unlink(missing_ok=True)
        self.extensions = []


def hot_modules() -> list[Extension]:
    """One extension for each hot module whose .pxd exists."""
    if enabled("WASCLEAN_PURE"):
        return []
    return [
        Extension(source.rpartition(".")[0].replace("/", "."), [f"src/{source}"])
        for source in HOT
        if Path("src", source).with_suffix(".pxd").exists()
    ]


setup(ext_modules=hot_modules(), cmdclass={"build_ext": BuildExtensions})
