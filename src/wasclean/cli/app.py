"""The command line."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Sequence

import click

from .. import __version__, compiled
from . import demo
from .show import Printer

BUILD = f"{'compiled' if compiled else 'pure'} build, Python {platform.python_version()}"


def run(arguments: Sequence[str] | None) -> int:
    """Run the program, and return its exit status."""
    try:
        status = commands.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130  # the status of a program that Ctrl-C has ended
    return status if isinstance(status, int) else 0


@click.group("wasclean", no_args_is_help=False, invoke_without_command=True)
@click.version_option(__version__, message=f"wasclean {__version__} ({BUILD})")
@click.pass_context
def commands(context: click.Context) -> None:
    """WebSockets for Python, with the JavaScript API, and closing done right."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@commands.command("demo")
@click.option(
    "--port",
    default=demo.PORT,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port of the server on localhost. If it is in use, or 0, the system assigns another one.",
)
def run_demo(port: int) -> int:
    """Produce every close code, and show the events of both sides.

    Starts a server on localhost, and runs the example of a well-known article and one scenario for each registered
    close code against it. The exit status is 0 if all events are as the registry defines them, and 1 otherwise.
    """
    os.environ["no_proxy"] = "*"  # all connections stay on this machine
    printer = Printer()
    printer.title(f"wasclean {__version__}, {BUILD}")
    try:
        ok = asyncio.run(demo.run(port, printer))
    except OSError as error:
        raise click.ClickException(f"there is no port on localhost to listen on: {error}") from error
    printer.summary(ok)
    return 0 if ok else 1
