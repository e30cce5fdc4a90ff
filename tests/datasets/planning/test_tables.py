"""Tables that one step hands to the next have the columns of their schema."""

from __future__ import annotations

import duckdb
import pytest

from codi2_datasets.planning.tables import OF_PLAN, OF_SELECT, TableError, check_tables, create_tables


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rename column holdout to holdouts", r"spoken lacks the column holdout; did you mean holdouts\?"),
        ("add column nearby varchar", r"spoken has an unknown column nearby; did you mean near\?"),
        ("alter column near type varchar", r"spoken: column near is string and must be list<item: string>"),
    ],
)
def test_a_step_is_refused_tables_with_other_columns(change: str, message: str) -> None:
    with duckdb.connect() as connection:
        create_tables(connection, *dict.fromkeys((*OF_SELECT, *OF_PLAN)))
        check_tables(connection, *OF_SELECT, *OF_PLAN)
        connection.execute(f"alter table spoken {change}")
        with pytest.raises(TableError, match=f"table {message}"):
            check_tables(connection, *OF_SELECT)
