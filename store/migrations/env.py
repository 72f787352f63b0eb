"""Run by Alembic for each upgrade, on the connection that the program opened.

Nothing is read from files of settings and no logging is set up: both belong to the program.
"""

from alembic import context
from sqlalchemy import Connection

connection = context.config.attributes["connection"]
assert isinstance(connection, Connection)
# SQLite alters little in place; batch mode lets later migrations rebuild a table.
context.configure(connection=connection, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
