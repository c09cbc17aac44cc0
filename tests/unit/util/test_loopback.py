"""Whose program a connection on this host comes from, as the kernel's table says it."""

from __future__ import annotations

from bakery.util.loopback import owner_of

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:170D 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6841 1 0000000000000000 100
   1: 0100007F:170D 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4
   2: 0100007F:D431 0100007F:170D 01 00000000:00000000 00:00000000 00000000  1000        0 7130 1 0000000000000000 20
   3: short
"""


def test_the_connecting_program_s_own_end_says_whose_it_is() -> None:
    assert owner_of(0xD431, 0x170D, TABLE) == 1000
    assert owner_of(0x170D, 0xD431, TABLE) == 0
    assert owner_of(0xD432, 0x170D, TABLE) is None
    assert owner_of(1, 2, "") is None
