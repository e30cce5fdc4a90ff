"""Personal data in a text: number of matches and their kinds. The data themselves are never stored.

Each kind is a pattern and, if there is one, a check of its check digits, which limits false matches. Names and postal
addresses are not detected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from codi2_datasets.media.text import plain
from codi2_datasets.operators import Operator

UNICAST = ipaddress.ip_network("2000::/3")  # all of IPv6 that has been allocated


class Kind(NamedTuple):
    name: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]


def measure(text: str) -> dict[str, float | str]:
    """`personal_data`: number of matches; `personal_data_kinds`: their kinds, sorted, separated by commas."""
    matches = list(kinds(plain(text)))
    return {"personal_data": float(len(matches)), "personal_data_kinds": ",".join(sorted(set(matches)))}


def kinds(text: str) -> Iterator[str]:
    """The kind of each match. Text matched by one kind is not matched by the kinds after it."""
    for kind in KINDS:
        spans = [match.span() for match in kind.pattern.finditer(text) if kind.holds(match[0])]
        for start, stop in spans:
            text = text[:start] + "\n" * (stop - start) + text[stop:]
            yield kind.name


def luhn(number: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1)."""
    digits = [int(character) for character in reversed(number) if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    # numbers of zeros and ones alone are other codes
    return 13 <= len(digits) <= 19 and max(digits) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def iban(number: str) -> bool:
    """The check digits of bank accounts (ISO 13616: the number, with its first four characters moved to the end, is 1
    modulo 97).
    """
    signs = number.replace(" ", "").upper()
    return 15 <= len(signs) <= 34 and int("".join(str(int(sign, 36)) for sign in signs[4:] + signs[:4])) % 97 == 1


def address(number: str) -> bool:
    """Whether it is an IP address that can identify one machine on the internet, rather than a private or reserved one."""
    try:
        ip = ipaddress.ip_address(number)
    except ValueError:
        return False
    return ip.is_global and (ip.version == 4 or ip in UNICAST)


def phone(number: str) -> bool:
    return 7 <= sum(character.isdigit() for character in number) <= 15


KINDS = (
    Kind("email", re.compile(r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}\b"), lambda _: True),
    Kind("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), iban),
    Kind("card", re.compile(r"(?<![\w.])(?:\d{13,19}|\d{4}(?:[ -]\d{4}){2}[ -]\d{1,4}(?:[ -]\d{1,3})?|\d{4}[ -]\d{6}[ -]\d{4,5})(?!\w)"), luhn),
    Kind("ip", re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})(?![\w:]|\.\d)"), address),
    # with a country code, an area code in brackets, or in North American groups: bare digits could be anything
    Kind("phone", re.compile(r"(?<![\w.])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){5,12}|\(\d{2,5}\) ?\d{2,4}[ .-]?\d{3,4}|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w])"), phone),
)  # fmt: skip

OPERATOR = Operator("personal_data", "1", "text", measure)
