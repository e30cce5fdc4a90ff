"""Templates: words, slots and demonstrations in their order."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_datasets.planning.phrasing import make_templates, write_parts
from codi2_datasets.planning.planner import ColumnError, Columns
from codi2_datasets.planning.templates import Template, TemplateError, pieces
from codi2_datasets.recipe import load_recipe
from codi2_datasets.recipe_schema import RecipeError
from codi2_datasets.steps.dry_run import check_planner
from codi2_datasets.tasks import Planner, planners
from codi2_storage.catalog.sql import literal
from tests.datasets.tasks.test_tasks import asset, planned


def test_demonstrations_are_written_out_and_numbered() -> None:
    template = Template("<demo>[demo_in] became [demo_out]. </demo>Now [query]", "So: [target]")
    found = pieces(template, demos=2)
    assert [piece.slot or piece.text for piece in found] == [
        "demo1_in", " became ", "demo1_out", ". ", "demo2_in", " became ", "demo2_out", ". Now ", "query", "So: ", "target",
    ]  # fmt: skip
    assert [p.icl_role for p in found if p.slot] == [
        "demo_input", "demo_output", "demo_input", "demo_output", "query", "target",
    ]  # fmt: skip
    assert [p.position for p in found] == list(range(11))


def test_the_loss_falls_on_the_assistant_alone() -> None:
    found = pieces(Template("Draw {caption}.", "Here: [target]", "Thanks", "[more]"))
    assert [(p.role, p.target) for p in found] == [
        ("user", False), ("assistant", True), ("assistant", True), ("user", False), ("assistant", True),
    ]  # fmt: skip


# --- names ---------------------------------------------------------------------------------------------------------

EDITS = planners()["image_editing"]
RIGHT = Template("Turn [query] into {style} style.", "[target]", kind="style")
WRONG = {
    "[qurey]": (Template("Turn [qurey] around.", "[target]"), r"\[qurey\] names no slot; did you mean \[query\]\?"),
    "{captoin}": (Template("[query] {captoin}", "[target]"), r"\{captoin\} names no word.*\{style\}"),
    "{style} as a slot": (Template("[style] [query]", "[target]"), r"\[style\] names no slot; did you mean \{style\}\?"),
    "upper case": (Template("[Query]", "[target]"), r"\[Query\] names no slot; did you mean \[query\]\?"),
    "a blank": (Template("[query ]", "[target]"), r"\[query \] names no slot"),
    "not closed": (Template("Turn [query around", "[target]"), r"\[query around names no slot"),
    "not opened": (Template("Turn query] around", "[target]"), r"\] names no slot"),
    "empty": (Template("[query] {}", "[target]"), r"\{\} names no word"),
    "doubled": (Template("[query] {{style}}", "[target]"), r"names no word"),
    "in the reply": (Template("[query]", "[tagret]"), r"\[tagret\] names no slot; did you mean \[target\]\?"),
    "a demonstration": (Template("<demo>[demo_in]</demo>[query]", "[target]"), "<demo> in a task without demonstrations"),
    "half a demonstration": (Template("<demo>[query]", "[target]"), "<demo> names no slot"),
}  # fmt: skip


@pytest.mark.parametrize("task", sorted(planners()))
def test_every_mark_of_every_planner_names_a_column(task: str) -> None:
    check_planner(planners()[task], {})


@pytest.mark.parametrize(("template", "message"), WRONG.values(), ids=WRONG)
def test_a_template_that_names_nothing_is_an_error_before_any_work(
    template: Template, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def bad() -> Planner:
        return replace(EDITS, templates=(RIGHT, template))

    with pytest.raises(TemplateError, match=f"task image_editing: template .*{message}"):
        bad()
    monkeypatch.setattr("codi2_datasets.tasks.planners", lambda: {**planners(), "image_editing": bad()})
    file = tmp_path / "recipe.yaml"
    file.write_text(json.dumps({"name": "r", "seed": 1, "corpora": [], "tasks": {"image_editing": {"train": 1}}}))
    with pytest.raises(RecipeError, match=rf"recipe\.yaml: task image_editing: .*{message}"):
        load_recipe(file)


def test_demonstrations_are_known_to_tasks_that_have_them() -> None:
    planner = planners()["audio_captioning"]
    for text in ("[demo_inn] [demo_out]", "[demo_in] [demo1_in] [demo2_in]"):
        with pytest.raises(TemplateError, match="names no slot"):
            replace(planner, templates=(Template(f"<demo>{text}</demo>[query]", "[target]"),))


ONE = "select '' as key, '' as kind, '' as balance, '' as split, '' as holdout"


@pytest.mark.parametrize(
    ("yielded", "message"),
    [
        ("'' as slot_qurey, '' as word_style", r"its SQL yields no column slot_query; did you mean slot_qurey\?"),
        ("'' as slot_query", "its SQL yields no column word_style"),
        (
            "'' as slot_query, '' as word_style, '' as word_stlye",
            r"it declares no column word_stlye; did you mean word_style\?",
        ),
        ("['a'] as slot_query, '' as word_style", r"column slot_query of its SQL is VARCHAR\[\] and must be VARCHAR"),
    ],
)
def test_sql_with_other_columns_than_the_planner_declares_is_an_error(yielded: str, message: str) -> None:
    columns = Columns(words=("style",), media=("query",), meta=())
    said = (Template("{style} [query]"),)
    check_planner(Planner("image_editing", "1", said, {"": f"{ONE}, '' as slot_query, '' as word_style"}, columns), {})
    with pytest.raises(ColumnError, match=f"task image_editing: {message}"):
        check_planner(Planner("image_editing", "1", said, {"": f"{ONE}, {yielded}"}, columns), {})


def test_a_template_whose_column_is_missing_with_these_options_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "select asset_id as key, '' as kind, '' as balance, split, holdout, asset_id as slot_query from pictures"
    columns = Columns(words=("style",), media=("query",), meta=())
    made = Planner("image_editing", "1", (Template("[query] {style}"),), {"": sql}, columns)
    monkeypatch.setattr("codi2_datasets.steps.plan.planners", lambda: {"image_editing": made})
    with pytest.raises(TemplateError, match=r"task image_editing: template '\[query\] {style}': {style} names no word"):
        planned("image_editing", [asset(n, "image", concept="x", tone=0) for n in range(3)])


def filled(templates: list[Template], **values: str | None) -> list[tuple[str | None, str | None, bool]]:
    """(text, asset, missing) of the parts that one candidate with these columns is put into."""
    connection = duckdb.connect()
    columns = ", ".join(
        f"{'null' if value is None else literal(value)}::varchar as {name}" for name, value in values.items()
    )
    connection.execute(f"create temp table chosen as select 'k' as key, '' as kind, 0 as number, 0 as demos, {columns}")
    columns = replace(Columns.of(values), meta=())
    planner = Planner("image_editing", "1", tuple(templates), {"": ""}, columns)
    make_templates(connection, planner, {"max_demos": 0})
    write_parts(connection, columns, 0)
    return connection.execute("select text, asset_id, missing from task_parts order by position").fetchall()


@pytest.mark.parametrize("mark", ["[qurey]", "{captoin}"])
def test_parts_are_not_written_with_a_mark_that_names_nothing(mark: str) -> None:
    with pytest.raises(TemplateError, match="names no"):
        filled([Template(f"See {mark}")], slot_query="a", word_caption="b")


VALUES = st.text(
    st.sampled_from("a{}[]<>/%'\"\\$ é\n") | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8
)
VALUES = VALUES | st.sampled_from(
    ["{style}", "{caption}", "[query]", "[target]", "<demo>", "{{style}}", "{style", "%s", "\\1"]
)


@settings(max_examples=40, deadline=None)
@given(VALUES, VALUES)
def test_what_a_value_holds_is_never_read_as_a_mark(caption: str, style: str) -> None:
    found = filled(
        [Template("{style}: {caption}, {style} [query] {caption}{caption}")],
        word_style=style, word_caption=caption, slot_query="picture",
    )  # fmt: skip
    assert found == [
        (f"{style}: {caption}, {style} ", None, False), (None, "picture", False), (f" {caption}{caption}", None, False)
    ]  # fmt: skip


@pytest.mark.parametrize("lacking", ["word_style", "slot_query", "text_words"])
def test_what_a_candidate_has_nothing_for_is_marked_as_missing(lacking: str) -> None:
    values: dict[str, str | None] = {"word_style": "s", "slot_query": "q", "text_words": "w", "source_words": "t"}
    template = [Template("In {style}: [query] [words]")]
    assert not any(missing for *_, missing in filled(template, **values))
    assert sum(missing for *_, missing in filled(template, **{**values, lacking: None})) == 1


def test_a_sample_with_something_missing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "select asset_id as key, '' as kind, '' as balance, split, holdout, null::varchar as word_style, asset_id as slot_query from pictures"
    columns = Columns(words=("style",), media=("query",), meta=())
    made = Planner("image_editing", "1", (Template("[query] {style}"),), {"": sql}, columns)
    monkeypatch.setattr("codi2_datasets.steps.plan.planners", lambda: {"image_editing": made})
    samples, parts = planned("image_editing", [asset(n, "image", concept="x", tone=0) for n in range(3)])
    assert samples == [] and parts == []


def test_options_are_checked_before_any_work(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    for options, message in {
        '{"kinds": ["it\'s"]}': 'unknown "it\'s"; known: style, tone',
        '{"kinds": "style"}': "kinds: expected a list",
        '{"kinds": []}': "no candidates can be made",
        '{"pairing": "closest"}': "unknown 'closest'; known: relation, task, nearest",
        '{"min_demos": 5}': "min_demos 5 and max_demos 4",
        '{"max_demos": "4"}': "max_demos: expected int",
    }.items():
        file.write_text(
            f'{{"name": "r", "seed": 1, "corpora": [], "tasks": {{"exemplar_learning": {{"options": {options}}}}}}}'
        )
        with pytest.raises(RecipeError, match=rf"tasks\.exemplar_learning\.options.*{message}"):
            load_recipe(file)
