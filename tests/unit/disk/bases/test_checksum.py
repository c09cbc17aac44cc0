"""Checksum texts and checksum lists."""

import pytest

from bakery.disk.bases.checksum import Checksum, find, is_address, parse
from bakery.errors import PreflightError

A, B = "a" * 64, "b" * 64
LONG = "c" * 128


def test_a_checksum_is_read_whatever_its_case() -> None:
    assert parse(f"SHA256:{A.upper()}") == Checksum("sha256", A)
    assert parse(f"sha512:{LONG}") == Checksum("sha512", LONG)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (A, f"the algorithm is missing in front: sha256:{A}"),
        ("md5:" + "a" * 32, "md5 can be forged; use sha256 or sha512"),
        ("sha256:abc", "sha256 has 64 digits, here are 3"),
        ("nonsense", ""),
    ],
)
def test_a_bad_checksum_says_what_to_write(text: str, why: str) -> None:
    with pytest.raises(PreflightError) as caught:
        parse(text)
    assert caught.value.why == why
    assert "checksum=" in caught.value.hint


@pytest.mark.parametrize(
    "listing",
    [
        f"{A}  disk.qcow2\n{B}  other.qcow2\n",
        f"{A} *disk.qcow2\n",
        f"{A}  ./images/disk.qcow2\n",
        f"SHA256 (disk.qcow2) = {A}\nSHA256 (other.qcow2) = {B}\n",
        f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# disk.qcow2: 3 bytes\nSHA256 (disk.qcow2) = {A}\n",
        f"{A}\n",
        f"{'d' * 32}  disk.qcow2\n{A}  disk.qcow2\n",
    ],
    ids=["text", "binary", "path", "bsd", "pgp", "bare", "with-md5"],
)
def test_an_entry_is_found_by_its_file_name(listing: str) -> None:
    assert find(listing, ["/bookworm/disk.qcow2"], address="x") == Checksum("sha256", A)


FEDORA = f"""-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

# Fedora-Cloud-Base-AmazonEC2-44-1.7.x86_64.raw.xz: 541542268 bytes
SHA256 (Fedora-Cloud-Base-AmazonEC2-44-1.7.x86_64.raw.xz) = {B}
# Fedora-Cloud-Base-Generic-44-1.7.x86_64.qcow2: 532217856 bytes
SHA256 (Fedora-Cloud-Base-Generic-44-1.7.x86_64.qcow2) = {A}
"""
"""The form that projects which read Fedora's list have in their tests; the digests are ours."""


@pytest.mark.parametrize(
    ("listing", "name"),
    [
        (FEDORA, "Fedora-Cloud-Base-Generic-44-1.7.x86_64.qcow2"),
        (f"{A}  Arch-Linux-x86_64-cloudimg.qcow2\n", "Arch-Linux-x86_64-cloudimg.qcow2"),
    ],
)
def test_lists_in_the_form_of_a_publishers_own_are_read(listing: str, name: str) -> None:
    assert find(listing, [name], address="x") == Checksum("sha256", A)


def test_the_strongest_algorithm_wins() -> None:
    assert find(f"{A}  disk\n{LONG}  disk\n", ["disk"], address="x") == Checksum("sha512", LONG)


def test_entries_that_disagree_are_an_error_that_shows_them() -> None:
    with pytest.raises(PreflightError, match="several entries for disk") as caught:
        find(f"{A}  one/disk\n{B}  two/disk\n", ["disk"], address="https://x/SUMS")
    assert A in caught.value.why


def test_a_missing_entry_is_an_error_that_shows_what_there_is() -> None:
    with pytest.raises(PreflightError, match=r"https://x/SUMS has no entry for disk\.qcow2") as caught:
        find(f"{A}  other.qcow2\n", ["disk.qcow2"], address="https://x/SUMS")
    assert "it lists other.qcow2" in caught.value.why


def test_a_web_page_is_no_list() -> None:
    with pytest.raises(PreflightError) as caught:
        find("<html>log in</html>", ["disk"], address="x")
    assert "does not look like a list" in caught.value.why


def test_addresses_and_checksums_are_told_apart() -> None:
    assert is_address("https://x/SHA256SUMS")
    assert is_address("/srv/SHA256SUMS")
    assert not is_address(f"sha256:{A}")
