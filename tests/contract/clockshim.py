"""A library that lets the clock on the wall be off in one process, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SHIM = r"""
long syscall(long number, ...);
int open(const char *path, int flags, ...);
long read(int file, void *to, unsigned long size);
int close(int file);
char *getenv(const char *name);
long strtol(const char *text, char **end, int base);

#ifdef __aarch64__
#define CLOCK_GETTIME 113
#else
#define CLOCK_GETTIME 228
#endif

int clock_gettime(int id, long *time)
{
    char text[32];
    int result = syscall(CLOCK_GETTIME, id, time), file;
    char *path = getenv("BAKERY_TEST_CLOCK");
    if (id != 0 || result || !path || (file = open(path, 0)) < 0)
        return result;
    long size = read(file, text, sizeof text - 1);
    close(file);
    text[size > 0 ? size : 0] = 0;
    time[0] += strtol(text, 0, 10);
    return result;
}
"""
"""Stands in front of the C library: only the clock on the wall is off, by what a file says at this moment."""
COMPILER = shutil.which("tcc") or shutil.which("gcc")


def compiled(folder: Path) -> Path:
    """Compile it, and return the library."""
    (folder / "clock.c").write_text(SHIM)
    subprocess.run(
        [str(COMPILER), "-shared", "-fPIC", "-nostdlib", "-o", "clock.so", "clock.c"], cwd=folder, check=True
    )
    return folder / "clock.so"


def environment(library: Path, clock: Path) -> dict[str, str]:
    """Return the environment of a process whose clock is off by as many seconds as a file says at this moment."""
    return {"LD_PRELOAD": str(library), "BAKERY_TEST_CLOCK": str(clock)}
