"""The migrations lead from nothing to the schema that the code uses, and read no settings."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, create_engine, inspect, text

from coatcheck.store import SchemaError
from coatcheck.store.migrate import migrate
from coatcheck.store.schema import index_metadata, prompts_metadata

HISTORIES = [("index", index_metadata), ("prompts", prompts_metadata)]


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize(("history", "metadata"), HISTORIES)
def test_from_empty_to_the_schema(connection: Connection, history: str, metadata: MetaData) -> None:
    with connection.begin():
        migrate(connection, history)
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize(("history", "metadata"), HISTORIES)
def test_checks_and_keys_are_the_schemas(
    connection: Connection, history: str, metadata: MetaData
) -> None:
    """Also what the comparison above leaves out."""
    with connection.begin():
        migrate(connection, history)
    engine = create_engine("sqlite://")
    with engine.connect() as other:
        metadata.create_all(other)
        for table in metadata.tables:
            migrated, made = inspect(connection), inspect(other)
            assert migrated.get_check_constraints(table) == made.get_check_constraints(table)
            assert migrated.get_foreign_keys(table) == made.get_foreign_keys(table)
            assert migrated.get_pk_constraint(table) == made.get_pk_constraint(table)
    engine.dispose()


@pytest.mark.parametrize(("history", "metadata"), HISTORIES)
def test_again_changes_nothing(connection: Connection, history: str, metadata: MetaData) -> None:
    for _ in range(2):
        with connection.begin():
            migrate(connection, history)
    assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_a_newer_schema_is_refused(connection: Connection) -> None:
    with connection.begin():
        migrate(connection, "index")
        connection.execute(text("UPDATE alembic_version SET version_num = 'from the future'"))
    with connection.begin(), pytest.raises(SchemaError, match="schema"):
        migrate(connection, "index")


def test_one_history_does_not_touch_the_others_database(connection: Connection) -> None:
    with connection.begin():
        migrate(connection, "prompts")
    with connection.begin(), pytest.raises(SchemaError):
        migrate(connection, "index")


def test_settings_and_logging_of_the_program_are_left_alone(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = nowhere\n[loggers]\n")
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with connection.begin():
        migrate(connection, "index")
    assert (root.handlers, root.level) == (handlers, level)
    assert not logging.getLogger("coatcheck").disabled
