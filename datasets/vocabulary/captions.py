"""Media that people put into words several times: COCO's photographs, Clotho's sounds."""

from __future__ import annotations

MORE = """from_json(attributes -> '$.more', '["varchar"]')"""


def captioned_rows(table: str) -> str:
    """SQL in brackets: the captioned rows of a table, once for each caption: their own (said_key is the asset's id), and
    those of the attribute `more`, where said_key names which."""
    return f"""(
        select *, asset_id as said_key from {table} where caption <> ''
        union all by name
        select * exclude (words, nth) replace (words as caption), asset_id || '/' || nth as said_key
        from (select *, unnest({MORE}) as words, generate_subscripts({MORE}, 1) as nth
              from {table} where caption <> '' and contains(attributes, '"more": '))
        where words <> '')"""
