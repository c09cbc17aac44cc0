"""VirtualBox's refusals become errors that say what, why and what next."""

from __future__ import annotations

import pytest

from bakery.drivers.virtualbox.api.errors import (
    MachineLockedError,
    ServiceUnreachableError,
    VirtualBoxError,
    VirtualBoxRetryableError,
    refusal,
)
from tests.unit.drivers.virtualbox.recorded import ANSWERS

LOCKED = """\
VBoxManage: error: The machine 'web' is already locked for a session (or being unlocked)
VBoxManage: error: Details: code VBOX_E_INVALID_OBJECT_STATE (0x80bb0007), component MachineWrap, interface IMachine
"""


def of(name: str) -> VirtualBoxError:
    answer = ANSWERS[name]
    return refusal("do it", answer.stderr, answer.exit)


def test_the_message_and_the_code_are_kept_and_the_rest_is_not() -> None:
    error = of("info_none")
    assert error.code == "VBOX_E_OBJECT_NOT_FOUND"
    assert error.why == "Could not find a registered machine named 'nosuch' (VBOX_E_OBJECT_NOT_FOUND)"
    assert "Context" not in str(error)


def test_a_missing_kernel_module_leads_to_doctor() -> None:
    assert "bake doctor" in of("no_module").hint


def test_a_word_of_modifyvm_that_there_is_not_leads_to_the_list_of_them() -> None:
    error = refusal("change the machine's settings", "VBoxManage: error: Unknown option: --frobnicate=on\n", 2)
    assert "--frobnicate" in error.why
    assert "VBoxManage modifyvm --help" in error.hint


def test_a_taken_name_says_so() -> None:
    error = of("name_taken")
    assert "already exists" in error.why
    assert "list vms" in error.hint


def test_a_wrong_word_is_no_reason_to_ask_again() -> None:
    error = of("too_few_words")
    assert "Too few parameters" in error.why
    assert not isinstance(error, VirtualBoxRetryableError)


@pytest.mark.parametrize(
    "text",
    [
        LOCKED,
        LOCKED.replace("is already locked for a session (or being unlocked)", "is already locked by a session"),
        "VBoxManage: error: Cannot unregister the machine 'web' while it is locked\n",
        "VBoxManage: error: Medium '/m/r.vdi' is locked for reading by another task\n",
        "VBoxManage: error: The object is not ready\nVBoxManage: error: The session is not locked\n",
    ],
)
def test_a_locked_machine_is_asked_for_again(text: str) -> None:
    assert isinstance(refusal("change it", text, 1), MachineLockedError)


@pytest.mark.parametrize("code", ["NS_ERROR_CALL_FAILED", "NS_ERROR_ABORT"])
def test_a_service_that_ended_is_said_as_that(code: str) -> None:
    text = f"VBoxManage: error: Details: code {code} (0x800706be), component x\n"
    error = refusal("list", text, 1)
    assert type(error) is VirtualBoxRetryableError
    assert "VBoxSVC" in error.hint


def test_a_service_that_cannot_be_had_is_said_as_that() -> None:
    text = """\
VBoxManage: error: Failed to create the VirtualBox object!
VBoxManage: error: Code NS_BASE_STREAM_WOULD_BLOCK (0x80470007) - Stream operation would block
VBoxManage: error: Most likely, the VirtualBox COM server is not running or failed to start.
"""
    error = refusal("list", text, 1)
    assert type(error) is ServiceUnreachableError
    assert error.code == "NS_BASE_STREAM_WOULD_BLOCK"
    assert "VBoxSVC" in error.hint


def test_a_saved_machine_that_cannot_be_changed_is_not_waited_for() -> None:
    text = """\
VBoxManage: error: The machine is not mutable (state is Saved)
VBoxManage: error: Details: code VBOX_E_INVALID_VM_STATE (0x80bb0002), component SessionMachine, interface IMachine
"""
    assert not isinstance(refusal("change it", text, 1), VirtualBoxRetryableError)


def test_a_full_disk_says_where_to_make_room() -> None:
    text = """\
VBoxManage: error: Appliance write failed
VBoxManage: error: Could not create the exported medium 'web-disk001.vmdk'.
VBoxManage: error: VMDK: cannot write compressed data block in './web-disk001.vmdk' (VERR_DISK_FULL)
VBoxManage: error: Details: code VBOX_E_FILE_ERROR (0x80bb0004), component MediumWrap, interface IMedium
"""
    error = refusal("export it", text, 1)
    assert "VERR_DISK_FULL" in error.why
    assert "free some space" in error.hint


def test_a_manifest_that_does_not_fit_says_what_that_means() -> None:
    error = refusal("import it", ANSWERS["import_damaged"].stderr, ANSWERS["import_damaged"].exit)
    assert "Digest mismatch" in error.why
    assert "damaged or changed" in error.hint


def test_only_an_import_looks_at_the_manifest() -> None:
    """Which is why a look beforehand is not asked for: `--dry-run` finds nothing wrong with the same file."""
    assert (ANSWERS["appliance_damaged"].exit, ANSWERS["import_damaged"].exit) == (0, 1)


def test_silence_is_said_as_well() -> None:
    assert refusal("list", "", 139).why == "VBoxManage ended with exit code 139 and no word"
