"""The schema sync_metadata as text, read out of the catalogs: the same for the same schema, however it came about."""

from typing import Any

_COLUMNS = """
SELECT format('column %s.%s %s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
              CASE WHEN a.attnotnull THEN ' NOT NULL' END, ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid))
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v')
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relnamespace = 'sync_metadata'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
"""
_CONSTRAINTS = """
SELECT format('constraint %s.%s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
  FROM pg_constraint WHERE connamespace = 'sync_metadata'::regnamespace AND contype IN ('p', 'u', 'f', 'c')
"""
_INDEXES = "SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'sync_metadata'"
_VIEWS = """
SELECT format('view %s %s %s', relname, reloptions, regexp_replace(pg_get_viewdef(oid), '\\s+', ' ', 'g'))
  FROM pg_class WHERE relnamespace = 'sync_metadata'::regnamespace AND relkind = 'v'
"""
_FUNCTIONS = """
SELECT format('function %s(%s) %s %s %s md5 %s', proname, pg_get_function_arguments(oid), proacl, proconfig,
              CASE WHEN prosecdef THEN 'SECURITY DEFINER' ELSE 'invoker' END, md5(prosrc))
  FROM pg_proc WHERE pronamespace = 'sync_metadata'::regnamespace
"""
_TRIGGERS = """
SELECT 'trigger ' || pg_get_triggerdef(t.oid)
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relnamespace = 'sync_metadata'::regnamespace AND NOT t.tgisinternal
"""
_POLICIES = """
SELECT format('policy %s.%s %s %s %s', tablename, policyname, cmd, roles, regexp_replace(qual, '\\s+', ' ', 'g'))
  FROM pg_policies WHERE schemaname = 'sync_metadata'
"""
_ACCESS = """
SELECT format('access %s rls=%s public=%s', relname, relrowsecurity,
              coalesce((SELECT string_agg(privilege_type, ',' ORDER BY privilege_type)
                          FROM aclexplode(relacl) WHERE grantee = 0), 'none'))
  FROM pg_class WHERE relnamespace = 'sync_metadata'::regnamespace AND relkind IN ('r', 'v', 'S')
"""


def schema_text(connection: Any) -> str:
    """One line for each thing in sync_metadata, sorted: the order of an adopted table's columns is its own."""
    lines: list[str] = []
    for query in (_COLUMNS, _CONSTRAINTS, _INDEXES, _VIEWS, _FUNCTIONS, _TRIGGERS, _POLICIES, _ACCESS):
        lines += (row[0] for row in connection.execute(query).fetchall())
    return "\n".join(sorted(lines)) + "\n"
