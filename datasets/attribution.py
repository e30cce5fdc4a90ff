"""ATTRIBUTION: whose works a build shows, under which licence, and where they come from."""

from __future__ import annotations

import duckdb

LICENCES = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "MIT": "https://opensource.org/license/mit",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "GPL-2.0-or-later": "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
    "GPL-3.0-or-later": "https://www.gnu.org/licenses/gpl-3.0.html",
}
# works that samples show, and those of which the shown ones were made
SHOWN = """
    with shown as (select distinct asset_id from planned_parts where asset_id is not null),
    everything as (select asset_id from shown
                   union select unnest(inputs) from derived where asset_id in (select asset_id from shown))
    select s.corpus, c.source, c.version, r.licence, r.author, count(*) as works
    from everything e join selected s using (asset_id) join source_rows r on r.source_row_id = s.source_row_id
    join corpora c on c.corpus = r.corpus and c.revision = r.revision
    group by all order by all"""


def attribution(connection: duckdb.DuckDBPyConnection) -> str:
    """The text, from the tables that a build is made on (see `steps.plan`)."""
    rows = connection.execute(SHOWN).fetchall()
    lines = ["This dataset shows works of others. Each stays under its own licence; media made of several works carry",
             "the licence that all of them allow. The catalog names the source of every single one.", ""]  # fmt: skip
    last = None
    for corpus, source, version, licence, author, works in rows:
        if corpus != last:
            lines += ["", f"{corpus}: {source}, version {version}"]
            last = corpus
        lines.append(f"  {works:>6,} by {author}, {licence}")
    used = sorted({row[3] for row in rows})
    lines += ["", "", "Licences", ""] + [f"  {name}: {LICENCES.get(name, 'see its source')}" for name in used]
    return "\n".join(lines) + "\n"
