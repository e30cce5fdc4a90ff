"""Templates: words, slots and demonstrations in their order."""

from codi2_datasets.templates import Template, pieces


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
