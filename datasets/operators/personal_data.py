"""Whether a text holds data of a person: how many, and of which kinds. The data themselves are never kept.

Each kind is a pattern and, where there is one, the check its numbers carry, so that little else is taken for it. Names
and addresses are not looked for.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from codi2_datasets.media.text import plain
from codi2_datasets.operators import Operator

UNICAST = ipaddress.ip_network("2000::/3")  # all of IPv6 that was ever given out


class Kind(NamedTuple):
    name: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]


def measure(text: str) -> dict[str, float | str]:
    """`personal_data`: number of finds; `personal_data_kinds`: which, sorted, with commas between."""
    found = list(kinds(plain(text)))
    return {"personal_data": float(len(found)), "personal_data_kinds": ",".join(sorted(set(found)))}


def kinds(text: str) -> Iterator[str]:
    """The kind of each find. What one kind has taken, no other finds again."""
    for kind in KINDS:
        spans = [match.span() for match in kind.pattern.finditer(text) if kind.holds(match[0])]
        for start, stop in spans:
            text = text[:start] + "\n" * (stop - start) + text[stop:]
            yield kind.name


def luhn(number: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1)."""
    digits = [int(character) for character in reversed(number) if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    # zeros and ones alone are some other code
    return 13 <= len(digits) <= 19 and max(digits) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def iban(number: str) -> bool:
    """The check digits of bank accounts (ISO 13616: the number, its first four signs last, is 1 modulo 97)."""
    signs = number.replace(" ", "").upper()
    return 15 <= len(signs) <= 34 and int("".join(str(int(sign, 36)) for sign in signs[4:] + signs[:4])) % 97 == 1


def address(number: str) -> bool:
    """An IP address that may name one machine of the internet: not one for private use, nor what looks like one."""
    try:
        found = ipaddress.ip_address(number)
    except ValueError:
        return False
    return found.is_global and (found.version == 4 or found in UNICAST)


def phone(number: str) -> bool:
    return 7 <= sum(character.isdigit() for character in number) <= 15


KINDS = (
    Kind("email", re.compile(r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}\b"), lambda _: True),
    Kind("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), iban),
    Kind("card", re.compile(r"(?<![\w.])(?:\d{13,19}|\d{4}(?:[ -]\d{4}){2}[ -]\d{1,4}(?:[ -]\d{1,3})?|\d{4}[ -]\d{6}[ -]\d{4,5})(?!\w)"), luhn),
    Kind("ip", re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})(?![\w:]|\.\d)"), address),
    # with a country code, with the area code in brackets, or in the groups of North America: bare digits are anything
    Kind("phone", re.compile(r"(?<![\w.])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){5,12}|\(\d{2,5}\) ?\d{2,4}[ .-]?\d{3,4}|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w])"), phone),
)  # fmt: skip

OPERATOR = Operator("personal_data", "1", "text", measure)
