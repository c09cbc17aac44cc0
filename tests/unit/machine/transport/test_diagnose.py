"""What a console says is what the user is told."""

from __future__ import annotations

import pytest

from bakery.machine.transport.diagnose import clean, diagnose
from bakery.machine.transport.stages import HANGS_UP, Stage

PANIC = """\
[    1.914027] VFS: Cannot open root device "vda1" or unknown-block(0,0): error -6
[    1.915412] Please append a correct "root=" boot option; here are the available partitions:
[    1.917280] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
[    1.918544] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0-26-amd64 #1  Debian 6.1.112-1
"""
PANIC_INIT = "[    3.3] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n"
SEABIOS = (
    "SeaBIOS (version 1.16.2-debian-1.16.2-1)\r\n\r\nBooting from Hard Disk...\r\n"
    "Boot failed: not a bootable disk\r\n\r\nNo bootable device.\r\n"
)
OVMF = (
    '\x1b[2J\x1b[01;01HBdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x3,0x0): Not Found\r\n'
    "BdsDxe: No bootable option or device was found.\r\nBdsDxe: Press any key to enter the Boot Manager Menu.\r\n"
)
GRUB = (
    "GRUB loading.\r\nWelcome to GRUB!\r\n\r\nerror: no such device: 3f5a7c1e-4b7e-4f0e.\r\n"
    "Entering rescue mode...\r\ngrub rescue> "
)
INITRAMFS = (
    "Begin: Waiting for root file system ... Begin: Running /scripts/local-block ... done.\n"
    "Gave up waiting for root file system device.  Common problems:\n"
    " - Boot args (cat /proc/cmdline)\n"
    "ALERT!  UUID=0f0f0f0f-1111 does not exist.  Dropping to a shell!\n\n"
    "BusyBox v1.35.0 (Debian 1:1.35.0-4+b3) built-in shell (ash)\n(initramfs) "
)
EMERGENCY = (
    "[\x1b[0;1;31mFAILED\x1b[0m] Failed to mount \x1b[0;1;39mdata.mount\x1b[0m - /data.\n"
    'You are in emergency mode. After logging in, type "journalctl -xb" to view\nsystem logs.\n'
)
DHCP = (
    "[    9.8] dhclient[412]: DHCPDISCOVER on ens3 to 255.255.255.255 port 67 interval 14\n"
    "[   70.1] dhclient[412]: No DHCPOFFERS received.\n"
    "[   70.2] dhclient[412]: No working leases in persistent database\n"
    "\nDebian GNU/Linux 12 debian ttyS0\n\ndebian login: "
)
UDHCPC = "udhcpc: started, v1.35.0\nudhcpc: broadcasting discover\nudhcpc: no lease, failing\n"
NETWORKING = (
    "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mnetworking.servic…e\x1b[0m - Raise network interfaces.\n"
)
SSHD = "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell server.\n"
HOSTKEYS = "ssh.service: sshd: no hostkeys available -- exiting.\n"
OOM = "[   44.1] Out of memory: Killed process 612 (apt-get) total-vm:123456kB, anon-rss:99999kB\n"
LOGIN = "\r\nDebian GNU/Linux 12 debian ttyS0\r\n\r\ndebian login: "
BOOTING = (
    "[    4.1] systemd[1]: Detected virtualization qemu.\n         Starting \x1b[0;1;39mcloud-init.service\x1b[0m...\n"
)


@pytest.mark.parametrize(
    ("console", "stage", "verdict"),
    [
        (PANIC, "banner", "kernel panic: the kernel did not find its root disk"),
        (PANIC_INIT, "port", "kernel panic (console: "),
        (SEABIOS, "banner", "no bootable device"),
        (OVMF, "banner", "no bootable device"),
        (GRUB, "banner", "GRUB shell"),
        (INITRAMFS, "banner", "initramfs did not find the root disk"),
        (EMERGENCY, "port", "emergency mode"),
        (DHCP, "address", "no DHCP lease"),
        (UDHCPC, "banner", "no DHCP lease"),
        (NETWORKING, "port", "the network did not come up"),
        (SSHD, "port", "sshd failed to start"),
        (HOSTKEYS, "banner", "sshd has no host key"),
        (OOM, "session", "ran out of memory"),
        (LOGIN, "port", "though the system is up"),
        (BOOTING, "port", "still booting: last line 'Starting cloud-init.service...'"),
        ("", "port", "the console is silent"),
    ],
)
def test_a_console_explains_the_failure(console: str, stage: Stage, verdict: str) -> None:
    found = diagnose(console, stage, "refused")
    assert verdict in found.verdict
    assert found.hint


def test_a_refused_key_is_said_to_be_refused_whatever_the_console_shows() -> None:
    found = diagnose(OOM, "authentication", "refused our key for root")
    assert found.verdict == "sshd refused the key: refused our key for root"


def test_an_image_that_lets_root_not_in_or_listens_elsewhere_is_told_how_its_tests_log_in() -> None:
    refused = diagnose(LOGIN, "authentication", "refused our key for root").hint
    assert [word for word in ("PermitRootLogin", "AllowUsers", "bakery.Login(user=") if word not in refused] == []
    assert "bakery.Login(port=" in diagnose(LOGIN, "port", "connection refused").hint
    assert "bakery.Login" not in diagnose(OOM, "port", "connection refused").hint


def test_another_host_key_is_called_a_possible_interception() -> None:
    found = diagnose(LOGIN, "host key", "presented SHA256:a, wanted SHA256:b")
    assert found.verdict.startswith("sshd presented another host key: presented SHA256:a")
    assert "possible interception" in found.hint
    assert "kept its old key" in found.hint


def test_a_panic_before_the_last_restart_explains_nothing() -> None:
    first = "[    0.000000] Linux version 6.1.0\n" + PANIC
    second = "[    0.000000] Linux version 6.1.0\n[    2.0] systemd[1]: Hello\n"
    assert "still booting" in diagnose(first + second, "port", "refused").verdict


def test_a_missing_lease_does_not_explain_a_session_that_ends() -> None:
    assert "DHCP" not in diagnose(UDHCPC, "session", "no command runs").verdict


def test_the_evidence_is_quoted() -> None:
    assert "does not exist" in diagnose(INITRAMFS.replace("Gave up", "Give up"), "banner", "").verdict


def test_terminal_control_is_taken_out() -> None:
    assert clean("\x1b[2J\x1b[01;01Hone\r\ntwo\x1b[0m") == "one\ntwo"


def test_a_silent_console_does_not_explain_a_machine_that_lets_us_in() -> None:
    found = diagnose("", "session", "logged in, but no command runs")
    assert found.verdict == "logged in, but no command runs"
    assert "boot loader" not in found.hint
    assert "boot loader" in diagnose("", "banner", "no SSH server answers").hint


def test_a_server_that_hangs_up_is_one_that_answers() -> None:
    found = diagnose("[FAILED] Failed to start ssh.service\n", "banner", f"127.0.0.1 port 22: {HANGS_UP} (SSH-2.0-x)")
    assert "HostKeyAlgorithms" in found.hint
    assert "no SSH server" not in found.verdict
