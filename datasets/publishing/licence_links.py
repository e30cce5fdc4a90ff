"""URLs of licence texts, and which licences are share-alike."""

from __future__ import annotations

import re

from codi2_datasets.planning.licences import CREATIVE, GENERAL_PUBLIC

TEXTS = {
    "0BSD": "https://opensource.org/license/0bsd",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "BSD-2-Clause": "https://opensource.org/license/bsd-2-clause",
    "BSD-3-Clause": "https://opensource.org/license/bsd-3-clause",
    "CC-PDDC": "https://creativecommons.org/licenses/publicdomain/",
    "CC-PDM-1.0": "https://creativecommons.org/publicdomain/mark/1.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "GPL-2.0-only": "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
    "GPL-2.0-or-later": "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
    "GPL-3.0-only": "https://www.gnu.org/licenses/gpl-3.0.html",
    "GPL-3.0-or-later": "https://www.gnu.org/licenses/gpl-3.0.html",
    "ISC": "https://opensource.org/license/isc-license-txt",
    "LGPL-2.1-or-later": "https://www.gnu.org/licenses/old-licenses/lgpl-2.1.html",
    "MIT": "https://opensource.org/license/mit",
    "OFL-1.1": "https://opensource.org/license/ofl-1-1",
    "WordNet": "https://wordnet.princeton.edu/license-and-commercial-use",
}
PUBLIC_DOMAIN = "https://creativecommons.org/publicdomain/mark/1.0/"
CREATIVE_COMMONS = re.compile(r"CC-(BY(?:-[A-Z]{2})*)-(\d\.\d)")


def text_of(licence: str) -> str | None:
    """The canonical URL of the licence text, or None for an unknown name."""
    if match := CREATIVE_COMMONS.fullmatch(licence):
        return f"https://creativecommons.org/licenses/{match[1].lower()}/{match[2]}/"
    return PUBLIC_DOMAIN if "public-domain" in licence.lower() else TEXTS.get(licence)


def asks_share_alike(licence: str) -> bool:
    """Whether derived works have to keep this licence."""
    return licence in CREATIVE or licence in GENERAL_PUBLIC or bool(re.match(r"CC-BY-(NC-)?SA-|L?GPL-", licence))
