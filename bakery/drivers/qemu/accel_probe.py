"""A boot sector that does what a kernel does first: reaches 64-bit mode with paging, and takes an interrupt.

It ends QEMU through its `isa-debug-exit` device. Less would not do: there are hosts where /dev/kvm opens, and firmware
and 16-bit code run, yet a kernel stops at its first exception. Shown as an assembler would list it (AT&T syntax),
loaded at 0x7c00; the steps are those of the Intel manual, volume 3A, section 9.8.5, "Initializing IA-32e Mode".
"""

from __future__ import annotations

EXIT_CODE = 85
"""QEMU's exit code after the sector writes 42 to its debug port: twice that, plus one."""

_LISTING = (
    ("fa", "cli"),
    ("31 c0", "xor %ax,%ax"),
    ("8e d8", "mov %ax,%ds"),
    ("8e c0", "mov %ax,%es"),
    ("8e d0", "mov %ax,%ss"),
    ("bc 00 7c", "mov $0x7c00,%sp"),
    # Page tables at 0x1000: one page of 2 MiB, where we are.
    ("66 bf 00 10 00 00", "mov $0x1000,%edi"),
    ("0f 22 df", "mov %edi,%cr3"),
    ("66 31 c0", "xor %eax,%eax"),
    ("66 b9 00 0c 00 00", "mov $0xc00,%ecx"),
    ("fc", "cld"),
    ("66 f3 ab", "rep stos %eax,%es:(%di)"),
    ("c7 06 00 10 03 20", "movw $0x2003,0x1000"),
    ("c7 06 00 20 03 30", "movw $0x3003,0x2000"),
    ("c7 06 00 30 83 00", "movw $0x83,0x3000"),
    # PAE, long mode, paging and protection, in the order that the processor demands.
    ("0f 20 e0", "mov %cr4,%eax"),
    ("0c 20", "or $0x20,%al"),
    ("0f 22 e0", "mov %eax,%cr4"),
    ("66 b9 80 00 00 c0", "mov $0xc0000080,%ecx"),
    ("0f 32", "rdmsr"),
    ("80 cc 01", "or $0x1,%ah"),
    ("0f 30", "wrmsr"),
    ("66 0f 01 16 9b 7c", "lgdtl 0x7c9b"),
    ("0f 20 c0", "mov %cr0,%eax"),
    ("66 0d 01 00 00 80", "or $0x80000001,%eax"),
    ("0f 22 c0", "mov %eax,%cr0"),
    ("ea 60 7c 08 00", "ljmp $0x8,$0x7c60"),
    # 64-bit code from here, at 0x7c60.
    ("b8 10 00 00 00", "mov $0x10,%eax"),
    ("8e d8", "mov %eax,%ds"),
    ("8e d0", "mov %eax,%ss"),
    ("31 c0", "xor %eax,%eax"),
    ("0f a2", "cpuid"),
    ("0f 20 d8", "mov %cr3,%rax"),
    ("0f 22 d8", "mov %rax,%cr3"),
    ("0f 01 1c 25 a1 7c 00 00", "lidt 0x7ca1"),
    ("cc", "int3"),
    ("b0 2a", "mov $42,%al"),
    ("e6 f4", "out %al,$0xf4"),
    ("f4", "hlt"),
    ("48 cf", "iretq: the handler of int3, at 0x7c81"),
    # Tables: segments (none, 64-bit code, data), their pointer, the interrupts' pointer, gates 0 to 2, gate 3.
    ("00 00 00 00 00 00 00 00", "at 0x7c83"),
    ("ff ff 00 00 00 9a af 00", "code"),
    ("ff ff 00 00 00 92 cf 00", "data"),
    ("17 00 83 7c 00 00", "pointer, at 0x7c9b"),
    ("3f 00 ab 7c 00 00 00 00 00 00", "pointer, at 0x7ca1"),
    ("00" * 48, "gates 0 to 2, at 0x7cab"),
    ("81 7c 08 00 00 8e 00 00 00 00 00 00 00 00 00 00", "gate 3: int3"),
)


def disk() -> bytes:
    """Return a disk that holds the sector; firmware wants more than one to call it a disk."""
    code = b"".join(bytes.fromhex(octets) for octets, _ in _LISTING)
    return (code.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")
