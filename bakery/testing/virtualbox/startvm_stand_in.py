"""The command VBoxManage of tests: the real one, but for what needs a running guest, which QEMU plays.

Real: every verb, with its answers, refusals and files. Played: `startvm`, `controlvm`, the `VMState` of `showvminfo`,
`list runningvms`. While a machine runs, its lock is really taken, by a process that holds a session of VirtualBox's
API, so that all other verbs are refused by VirtualBox itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from bakery.drivers.virtualbox.api.answers import MachineInfo, extra_data, machine_info, machines
from bakery.drivers.virtualbox.api.answers import media as media_of
from bakery.drivers.virtualbox.credentials import keys
from bakery.testing.virtualbox.guest import PlayedGuest
from bakery.testing.virtualbox.root import ROOT, words

NO_GUEST = 1


def main(arguments: list[str]) -> int:
    """Run one verb; returns its exit code."""
    match arguments:
        case ["startvm", *rest]:
            return start(next(word for word in rest if not word.startswith("-")))
        case ["controlvm", name, *rest]:
            return control(name, rest)
        case ["showvminfo", name, "--machinereadable"]:
            return show(name)
        case ["list", "runningvms"]:
            return running()
    return hand_on(arguments)


def real(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the real VBoxManage, through Debian's wrapper, and return what it wrote."""
    return subprocess.run(
        words(Path(os.environ[ROOT]), "/usr/bin/VBoxManage", *arguments), capture_output=True, text=True, check=False
    )


def hand_on(arguments: list[str]) -> int:
    """Become the real VBoxManage."""
    line = words(Path(os.environ[ROOT]), "/usr/bin/VBoxManage", *arguments)
    os.execvp(line[0], line)  # noqa: S606  there is no user's text that a shell could read


def tell(done: subprocess.CompletedProcess[str], stdout: str | None = None) -> int:
    """Write what the real one wrote; returns its exit code."""
    sys.stdout.write(done.stdout if stdout is None else stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def look(name: str) -> tuple[subprocess.CompletedProcess[str], MachineInfo | None]:
    """Ask the real one for a machine."""
    done = real(["showvminfo", name, "--machinereadable"])
    return done, machine_info(done.stdout) if done.returncode == 0 else None


def guest_of(machine: MachineInfo) -> PlayedGuest:
    """Return the guest of a machine, whether it runs or not."""
    folder = Path(os.environ["VBOX_USER_HOME"]) / "startvm-stand-in" / machine.uuid
    return PlayedGuest(folder, machine, chain_of, lambda: oem_strings_of(machine))


def oem_strings_of(machine: MachineInfo) -> list[str]:
    """Return what a machine's extra data put into its firmware's table, as the real one has noted it."""
    extra = extra_data(real(["getextradata", machine.uuid, "enumerate"]).stdout)
    return [extra[key] for key in keys(machine.values["firmware"]) if key in extra]


def chain_of(disk: Path) -> list[Path]:
    """Return the files of a disk, the uppermost first."""
    media = {medium.uuid: medium for medium in media_of(real(["list", "hdds"]).stdout)}
    chain = [next(medium for medium in media.values() if medium.location == disk)]
    while chain[-1].parent:
        chain.append(media[chain[-1].parent])
    return [medium.location for medium in chain]


def show(name: str) -> int:
    """Show a machine, with the state of its guest."""
    done, machine = look(name)
    if machine is None:
        return tell(done)
    guest = guest_of(machine)
    guest.settle()
    if machine.state == "poweroff" and (state := guest.state):
        return tell(done, re.sub(r'^VMState="poweroff"', f'VMState="{state}"', done.stdout, flags=re.MULTILINE))
    return tell(done)


def running() -> int:
    """List the machines whose guests run, without a look at each of them: the real one opens no session for it."""
    done = real(["list", "vms"])
    for known in machines(done.stdout):
        machine = MachineInfo(name=known.name, uuid=known.uuid, state="", config=Path())
        if guest_of(machine).state in ("running", "paused"):
            sys.stdout.write(f'"{known.name}" {{{known.uuid}}}\n')
    return done.returncode


def start(name: str) -> int:
    """Boot a machine's disk in QEMU."""
    done, machine = look(name)
    if machine is None:
        return tell(done)
    guest = guest_of(machine)
    guest.settle()
    if guest.state in ("running", "paused") or machine.state == "saved":
        return hand_on(["startvm", name, "--type=headless"])  # refused by VirtualBox itself
    sys.stdout.write(f'Waiting for VM "{machine.name}" to power on...\n')
    try:
        guest.start()
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"VBoxManage: error: {error}\n")
        return 1
    sys.stdout.write(f'VM "{machine.name}" has been successfully started.\n')
    return 0


def control(name: str, words: list[str]) -> int:
    """Do something to a guest."""
    done, machine = look(name)
    if machine is None:
        return tell(done)
    guest = guest_of(machine)
    guest.settle()
    if guest.state not in ("running", "paused"):
        sys.stderr.write(f"VBoxManage: error: Machine '{name}' is not currently running.\n")
        return NO_GUEST
    match words:
        case ["acpipowerbutton"]:
            guest.ask("system_powerdown")
        case ["poweroff"]:
            guest.end()
            sys.stdout.write("0%...10%...20%...30%...40%...50%...60%...70%...80%...90%...100%\n")
        case ["pause"]:
            guest.pause()
        case ["resume"]:
            guest.resume()
        case ["reset"]:
            guest.ask("system_reset")
        case ["screenshotpng", path]:
            guest.ask("screendump", filename=path, format="png")
        case _:
            sys.stderr.write(f"VBoxManage: error: the stand-in for startvm does not know `controlvm {words[0]}`\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
