"""Statements that Django's ORM assembles once and that then run with other values.

Django spends longer on assembling a short statement than the database on running it, which matters for those that every
message needs. A statement is defined by an ordinary queryset, so what it selects is decided in one place:

    _sent = Select(lambda: Message.objects.filter(author=Given("author", User._meta.pk)).values_list("pk"))
    _sent.first(author=user.pk)

The assembled SQL depends only on the database's vendor. Querysets whose SQL depends on the values, such as `pk__in` with a
list, can't be used.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Generic, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import Expression, Field, QuerySet, sql
from django.db.models.constants import OnConflict
from django.db.models.expressions import Col

_M = TypeVar("_M", bound=models.Model)
_Assembled = tuple[str, list[Any]]
_of_thread = threading.local()


def _connection() -> Any:
    """Return the connection of this thread. Each use of Django's `connection` would look it up again."""
    return connections[DEFAULT_DB_ALIAS]


class Given(Expression):
    """Stands in a queryset for a value that is given each time the statement runs. `field` says how it is stored."""

    def __init__(self, name: str, field: "Field[Any, Any]") -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


class Columns(Generic[_M]):
    """The columns of a model in a statement, or only some of them, and how to make an instance from their values."""

    def __init__(self, model: type[_M], *, alias: str, only: Collection[str] = ()) -> None:
        self.model = model
        self.name = model._meta.db_table
        fields = [
            field
            for field in model._meta.concrete_fields
            if not only or field.primary_key or field.name in only
        ]
        self._names = [field.attname for field in fields]
        self._expressions = [Col(alias, field) for field in fields]
        self.width = len(fields)
        self.names = ", ".join(f'{alias}."{field.column}"' for field in fields)

    def make(self, values: Sequence[Any]) -> _M:
        """Return the instance with these values, which come from the database in the order of `names`."""
        row = _converted(self, self._expressions, values, connection=_connection())
        return self.model.from_db(DEFAULT_DB_ALIAS, self._names, row)


class _Statement:
    """A statement and its SQL for each vendor."""

    def __init__(self) -> None:
        self._sql: dict[str, _Assembled] = {}

    def _assembled(self, connection: Any) -> _Assembled:
        found = self._sql.get(connection.vendor)
        if found is None:
            statement, parameters = self._assemble(connection)
            found = self._sql[connection.vendor] = statement, list(parameters)
        return found

    def _assemble(self, connection: Any) -> tuple[str, Sequence[Any]]:
        raise NotImplementedError

    def _run(self, connection: Any, cursor: Any, values: dict[str, Any]) -> None:
        statement, parameters = self._assembled(connection)
        cursor.execute(
            statement,
            [
                each.output_field.get_db_prep_save(values[each.name], connection)
                if isinstance(each, Given)
                else each
                for each in parameters
            ],
        )


class Select(_Statement):
    """Reads the rows of a queryset with `values_list`."""

    def __init__(self, build: Callable[[], "QuerySet[Any, Any]"]) -> None:
        super().__init__()
        self._build = build
        self._expressions: list[Any] = []
        self.annotations: dict[str, int] = {}
        """The position of each annotation in a row, once the statement has run."""

    def _assemble(self, connection: Any) -> tuple[str, Sequence[Any]]:
        compiler = self._build().query.get_compiler(connection=connection)
        assembled = compiler.as_sql()
        self._expressions = [expression for expression, _sql, _alias in compiler.select]
        self.annotations = compiler.annotation_col_map
        return cast(tuple[str, Sequence[Any]], assembled)

    def all(self, **values: Any) -> list[list[Any]]:
        """Return all rows."""
        connection = _connection()
        with connection.cursor() as cursor:
            self._run(connection, cursor, values)
            return [
                _converted(self, self._expressions, row, connection=connection) for row in cursor.fetchall()
            ]

    def first(self, **values: Any) -> list[Any] | None:
        """Return the first row, or None if there is none."""
        connection = _connection()
        with connection.cursor() as cursor:
            self._run(connection, cursor, values)
            row = cursor.fetchone()
        return None if row is None else _converted(self, self._expressions, row, connection=connection)


class SelectInstances(Generic[_M]):
    """Reads the instances of a queryset, with its annotations but without related objects."""

    def __init__(self, model: type[_M], build: Callable[[], "QuerySet[_M]"]) -> None:
        self._select = Select(build)
        self._model = model

    def all(self, **values: Any) -> list[_M]:
        """Return all instances."""
        return [self._make(row) for row in self._select.all(**values)]

    def first(self, **values: Any) -> _M | None:
        """Return the first instance, or None if there is none."""
        row = self._select.first(**values)
        return None if row is None else self._make(row)

    def _make(self, row: list[Any]) -> _M:
        names = [field.attname for field in self._model._meta.concrete_fields]
        instance = self._model.from_db(DEFAULT_DB_ALIAS, names, row[: len(names)])
        for name, index in self._select.annotations.items():
            setattr(instance, name, row[index])
        return instance


class Update(_Statement):
    """Changes the rows of a queryset. Returns their number."""

    def __init__(self, build: Callable[[], "QuerySet[Any, Any]"], **changes: Any) -> None:
        super().__init__()
        self._build = build
        self._changes = changes

    def _assemble(self, connection: Any) -> tuple[str, Sequence[Any]]:
        query: Any = self._build().query.chain(sql.UpdateQuery)
        query.add_update_values(self._changes)
        return cast(tuple[str, Sequence[Any]], query.get_compiler(connection=connection).as_sql())

    def __call__(self, **values: Any) -> int:
        connection = _connection()
        with connection.cursor() as cursor:
            self._run(connection, cursor, values)
            return int(cursor.rowcount)


class Delete(_Statement):
    """Deletes the rows of a queryset, whose model must have nothing that depends on it."""

    def __init__(self, build: Callable[[], "QuerySet[Any, Any]"]) -> None:
        super().__init__()
        self._build = build

    def _assemble(self, connection: Any) -> tuple[str, Sequence[Any]]:
        query = self._build().query.chain(sql.DeleteQuery)
        return cast(tuple[str, Sequence[Any]], query.get_compiler(connection=connection).as_sql())

    def __call__(self, **values: Any) -> None:
        connection = _connection()
        with connection.cursor() as cursor:
            self._run(connection, cursor, values)


class _Insertion(_Statement, Generic[_M]):
    """Inserts rows of a model."""

    on_conflict: OnConflict | None = None

    def __init__(self, model: type[_M]) -> None:
        super().__init__()
        self._model = model
        self._key = model._meta.pk
        self._fields = [field for field in model._meta.local_concrete_fields if field is not self._key]

    def _assemble(self, connection: Any) -> tuple[str, Sequence[Any]]:
        query = sql.InsertQuery(self._model, on_conflict=self.on_conflict)
        query.insert_values(self._fields, [self._model()], raw=True)
        compiler: Any = query.get_compiler(connection=connection)
        if self.on_conflict is None:
            compiler.returning_fields = [self._key]
        [(statement, _values)] = compiler.as_sql()
        return statement, []


class Insert(_Insertion[_M]):
    """Inserts a new instance of a model and sets its primary key. Sends no signals."""

    def __call__(self, instance: _M) -> _M:
        connection = _connection()
        statement, _none = self._assembled(connection)
        values = [
            field.get_db_prep_save(field.pre_save(instance, add=True), connection) for field in self._fields
        ]
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            [instance.pk] = cursor.fetchone()
        instance._state.adding = False
        instance._state.db = DEFAULT_DB_ALIAS
        return instance


class InsertMissing(_Insertion[_M]):
    """Inserts rows of a model, except those that exist already. Takes any objects with the model's attributes."""

    on_conflict = OnConflict.IGNORE

    def __call__(self, rows: Iterable[object]) -> None:
        connection = _connection()
        statement, _none = self._assembled(connection)
        values = [
            [field.get_db_prep_save(getattr(row, field.attname), connection) for field in self._fields]
            for row in rows
        ]
        with connection.cursor() as cursor:
            cursor.executemany(statement, values)


def _converted(
    owner: object, expressions: Sequence[Any], row: Sequence[Any], *, connection: Any
) -> list[Any]:
    """Return the values of a row as the ORM would. The converters belong to the connection of this thread."""
    known: dict[Any, list[tuple[int, Any, list[Any]]]] = _of_thread.__dict__.setdefault("converters", {})
    key = owner, connection.vendor
    converters = known.get(key)
    if converters is None:
        found = [
            (
                index,
                expression,
                [
                    *connection.ops.get_db_converters(expression),
                    *expression.get_db_converters(connection),
                ],
            )
            for index, expression in enumerate(expressions)
        ]
        converters = known[key] = [each for each in found if each[2]]
    values = list(row)
    for index, expression, convert in converters:
        for each in convert:
            values[index] = each(values[index], expression, connection)
    return values
