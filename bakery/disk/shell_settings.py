"""ShellSettings in files of shell assignments, such as /etc/default/grub: read without a shell.

A file out of an image is never run on this host. What is understood is what such files are made of: assignments,
quotes, comments, continued lines, and `$NAME`, `${NAME:-word}`, `${NAME:+word}`, `${NAME:=word}`. Everything else
(conditions, commands, substitution of commands) is passed over, and said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ASSIGNMENT: Final = re.compile(rf"({NAME.pattern})=")
SPECIAL: Final = '"$`\\'
"""What a backslash takes its meaning from, inside of double quotes."""
OPENING: Final = frozenset({"if", "case", "for", "while", "until", "{"})
CLOSING: Final = frozenset({"fi", "esac", "done", "}"})


@dataclass
class ShellSettings:
    """Variables, and what was passed over.

    Args:
        values: by name; the last assignment wins.
        unread: `FILE:LINE: text` of what was not understood.
    """

    values: dict[str, str] = field(default_factory=dict[str, str])
    unread: list[str] = field(default_factory=list[str])

    @classmethod
    def read(cls, files: Iterable[tuple[str, str]]) -> ShellSettings:
        """Read files as one shell would, one after another.

        Args:
            files: name and text of each.
        """
        settings = cls()
        for name, text in files:
            settings._read_file(name, text)
        return settings

    def _read_file(self, name: str, text: str) -> None:
        depth, at = 0, 0
        while at < len(text):
            end = _end_of_line(text, at)
            line = text[at:end].lstrip(" \t;\n")
            words = re.findall(r"[^\s;]+", line.partition("#")[0])
            depth += sum(word in OPENING for word in words)
            after = None if depth else self._command(text, end - len(line))
            if after is None and words:
                self.unread.append(f"{name}:{text.count(chr(10), 0, end - len(line)) + 1}: {line.strip()}")
            at = after or end
            depth = max(0, depth - sum(word in CLOSING for word in words))

    def _command(self, text: str, at: int) -> int | None:
        """Read one command from `at` on; return where it ends, or None and keep nothing of one that says more."""
        reader = _Reader(text, at, dict(self.values))
        try:
            self.values |= reader.command()
        except _NotUnderstoodError:
            return None
        return reader.at


class _NotUnderstoodError(Exception):
    """It is more than an assignment."""


class _Reader:
    """Reads words as a POSIX shell does (XCU 2.2 and 2.6.2).

    Args:
        text: the file.
        at: where to begin.
        values: the variables that are set; those that `${NAME:=word}` sets are added.
    """

    def __init__(self, text: str, at: int, values: dict[str, str]) -> None:
        self.text, self.at, self.values = text, at, values
        self.assigned: dict[str, str] = {}

    def command(self) -> dict[str, str]:
        """Read up to the end of a command that does nothing but assign, and return what it assigns."""
        name = ""
        while not self.ended():
            match = ASSIGNMENT.match(self.text, self.at)
            if match and name in ("", "export"):
                self.at = match.end()
                self.assigned[match[1]] = self.values[match[1]] = self.word()
                continue
            word = self.word()
            if name == "export" and NAME.fullmatch(word):
                continue
            if name != ":" and (self.assigned or name or word not in (":", "export")):
                raise _NotUnderstoodError
            name = name or word
        return self.assigned

    def ended(self) -> bool:
        """Skip blanks, and say whether the command ends here; its end is passed."""
        while self.text[self.at : self.at + 1] in (" ", "\t") or self.text.startswith("\\\n", self.at):
            self.at += 2 if self.text[self.at] == "\\" else 1
        if self.text[self.at : self.at + 1] == "#":
            self.at = (
                max(self.at, _end_of_line(self.text, self.at) - 1) if "\n" in self.text[self.at :] else len(self.text)
            )
        if self.at >= len(self.text):
            return True
        if self.text[self.at] in "\n;":
            self.at += 1
            return True
        return False

    def word(self, stop: str = " \t\n;", *, quoted: bool = False) -> str:
        """Read up to one of these letters, with all expansions."""
        value = ""
        while self.at < len(self.text) and self.text[self.at] not in stop:
            letter = self.text[self.at]
            self.at += 1
            if letter == "'" and not quoted:
                value += self._upto("'")
            elif letter == '"':
                value += self.word('"', quoted=True)
                self._expect('"')
            elif letter == "\\":
                value += self._escaped(quoted=quoted)
            elif letter == "$":
                value += self._expansion(quoted=quoted)
            elif letter == "`" or (letter in "&|<>()" and not quoted):
                raise _NotUnderstoodError
            else:
                value += letter
        return value

    def _upto(self, end: str) -> str:
        close = self.text.find(end, self.at)
        if close < 0:
            raise _NotUnderstoodError
        part, self.at = self.text[self.at : close], close + 1
        return part

    def _expect(self, letter: str) -> None:
        if self.text[self.at : self.at + 1] != letter:
            raise _NotUnderstoodError
        self.at += 1

    def _escaped(self, *, quoted: bool) -> str:
        letter = self.text[self.at : self.at + 1]
        self.at += 1
        if letter == "\n":
            return ""
        return letter if not quoted or letter in SPECIAL else f"\\{letter}"

    def _expansion(self, *, quoted: bool) -> str:
        if self.text[self.at : self.at + 1] != "{":
            match = NAME.match(self.text, self.at)
            if match is None:
                if self.text[self.at : self.at + 1] in ("", " ", "\t", "\n", '"'):
                    return "$"
                raise _NotUnderstoodError
            self.at = match.end()
            return self.values.get(match[0], "")
        match = re.compile(rf"\{{({NAME.pattern})(:?[-+=]|(?=\}}))").match(self.text, self.at)
        if match is None:
            raise _NotUnderstoodError
        self.at = match.end()
        word = self.word("}", quoted=quoted)
        self._expect("}")
        return self._chosen(match[1], match[2], word)

    def _chosen(self, name: str, rule: str, word: str) -> str:
        value = self.values.get(name)
        is_set = bool(value) if rule.startswith(":") else value is not None
        if rule.endswith("+"):
            return word if is_set else ""
        if rule.endswith("=") and not is_set:
            self.values[name] = self.assigned[name] = word
        return value or "" if is_set or not rule else word


def _end_of_line(text: str, at: int) -> int:
    """Return where the line ends that begins at `at`, its line break included."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1
