"""Every way out of a function that Python has, and the odd callables that users mark: material for tables."""

from __future__ import annotations

WAYS = {
    "an error": "raise ValueError('boom')",
    "an error whose text fails": "raise Mute()",
    "an operating system's error": "raise OSError(28, 'No space left on device')",
    "sys.exit(0)": "sys.exit(0)",
    "sys.exit()": "sys.exit()",
    "sys.exit(3)": "sys.exit(3)",
    "sys.exit of a text": "sys.exit('bye')",
    "exit()": "raise SystemExit(Mute())",
    "os.abort's cousin": "raise SystemExit(True)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "CancelledError": "raise asyncio.CancelledError",
    "a BaseException": "raise Odd",
    "a group": "raise BaseExceptionGroup('several', [KeyboardInterrupt()])",
    "pytest.skip": "pytest.skip('not here', allow_module_level=True)",
    "pytest.fail": "pytest.fail('no')",
    "pytest.exit": "pytest.exit('enough')",
    "pytest.importorskip": "pytest.importorskip('there_is_no_such_module')",
    "pytest.xfail": "pytest.xfail('known')",
    "click's Exit": "raise click.exceptions.Exit(0)",
    "click's Abort": "raise click.Abort",
    "click's UsageError": "raise click.UsageError('no such option')",
    "a click program": "program([], standalone_mode=True)",
    "argparse's --help": "argparse.ArgumentParser().parse_args(['--help'])",
    "argparse's error": "argparse.ArgumentParser().parse_args(['--nope'])",
    "an error of bakery's": "raise bakery.errors.BakeryError('told')",
    "a usage error of bakery's": "raise bakery.errors.UsageError('told')",
    "a clean-up error of bakery's": "raise bakery.errors.CleanupError('told')",
    "recursion": "deep()",
    "StopIteration": "next(iter(()))",
    "a failed assertion": "assert 1 == 2",
}
"""Each leaves the function, or the module, that it stands in."""

IN_THREADS = {
    "sys.exit in a thread": "thread = threading.Thread(target=sys.exit); thread.start(); thread.join()",
    "an error in a thread": "thread = threading.Thread(target=boom); thread.start(); thread.join()",
    "an error in a thread that nobody joins": "threading.Thread(target=slow_boom).start()",
    "an error in a thread of a thread": "thread = threading.Thread(target=spawn); thread.start(); thread.join()",
    "an error in an executor that nobody asks": "ThreadPoolExecutor().submit(boom)",
    "a map of an executor that nobody reads": "pool = ThreadPoolExecutor(); pool.map(boom_at, 'x'); pool.shutdown()",
    "a coroutine that is dropped": "work()",
    "an asyncio task that nobody asks": "asyncio.run(lost())",
    "an error in a callback of asyncio": "asyncio.run(calls_back())",
    "an asyncio future that nobody asks": "asyncio.run(hands_over())",
    "an error of a finalizer": "Dropped()",
}
"""Python itself goes on after these, or warns at most."""

HEAD = """
import argparse
import asyncio
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import click
import pytest

import bakery
from bakery.testing.folder.driver import Folder


class Odd(BaseException):
    pass


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Dropped:
    def __del__(self):
        raise ValueError("boom")


@click.command()
def program():
    pass


def deep():
    deep()


def boom():
    raise ValueError("boom")


def boom_at(_):
    boom()


def slow_boom():
    time.sleep(0.2)
    raise ValueError("boom")


def spawn():
    thread = threading.Thread(target=boom)
    thread.start()
    thread.join()


async def work():
    pass


async def fail():
    raise ValueError('boom')


async def lost():
    asyncio.create_task(fail())
    await asyncio.sleep(0)


async def calls_back():
    asyncio.get_running_loop().call_soon(boom)
    await asyncio.sleep(0)


async def hands_over():
    asyncio.get_running_loop().run_in_executor(None, boom)
    await asyncio.sleep(0.2)


"""
SOURCE = """
@bakery.source
def here():
    return Folder(cloud="cloud")


"""


def body(way: str, indent: str = "    ") -> str:
    """Return the statements of a way as lines of a function."""
    return "".join(f"{indent}{line.strip()}\n" for line in way.split(";"))
